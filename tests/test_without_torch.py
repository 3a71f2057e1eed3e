"""Without torch the answers are the same: the wheel, in a fresh environment, without extras."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shoestring
from scripts import environment
from tests import tiny

pytestmark = pytest.mark.slow

EXTRAS = ("torch", "onnx", "safetensors", "tomli_w")  # of [train]: none may be needed here
VERBS = {
    "predict": "predict bundle pictures/test/0 pictures/test/2 nothing.png --top 3 --json",
    "predict a run": "predict run pictures/test/1 --reject 0.9",
    "evaluate": "evaluate bundle pictures:test --json",
    "evaluate a run": "evaluate run pictures:validation --details --quiet",
    "verify": "verify bundle --json",
    "receipt": "receipt run --details",
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The Python of a fresh environment with the wheel of this checkout, without extras."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "env", with_pip=True)
    python = environment.python_of(folder / "env")
    pip = [str(python), "-m", "pip", "--quiet"]
    wheels = ["wheel", "--no-deps", "--wheel-dir", str(folder), str(root)]
    assert environment.run([*pip, *wheels], dict(os.environ))
    (wheel,) = folder.glob("*.whl")
    target = ["-c", str(environment.CONSTRAINTS), str(wheel)]
    uv = environment.find_uv(python)
    if uv is not None:
        told = environment.uv_settings(environment.pip_settings(python), os.environ)
        command = [uv, "pip", "install", "--quiet", "--python", str(python), *target]
        if environment.run(command, {**os.environ, **told}):
            return python
    assert environment.run([*pip, "install", *target], dict(os.environ))
    return python


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders with the same pictures, run and bundle: one for each environment."""
    first = tmp_path_factory.mktemp("full")
    with np.load(tiny.write_npz(first / "bars.npz", 150)) as bars:
        for i, (pixels, label) in enumerate(zip(bars["x"], bars["y"], strict=True)):
            split = ("train", "train", "train", "validation", "test")[i // 3 % 5]
            path = first / "pictures" / split / str(label) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    run = shoestring.train(
        first / "pictures",
        out=first / "run",
        steps=30,
        network="compact:width=4",
        batch_size=16,
        precision="float32",
        threads=1,
        options={"size": 16},  # not their own, so that the graph that resizes is in it
    )
    shoestring.export(run.path, first / "bundle")
    second = tmp_path_factory.mktemp("other") / "place"
    shutil.copytree(first, second)
    return {"full": first, "bare": second}


def said(python: Path | str, words: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Of a process in that folder, which sees neither this checkout nor the other's cache."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(python), *words],
        cwd=place,
        env={**kept, "SHOESTRING_CACHE": str(place / "cache"), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_has_no_torch_and_is_no_checkout(bare: Path, tmp_path: Path) -> None:
    for name in EXTRAS:
        done = said(bare, ["-c", f"import {name}"], tmp_path)
        assert done.returncode == 1
        assert f"No module named '{name}'" in done.stderr
    home = said(bare, ["-c", "import shoestring; print(shoestring.__file__)"], tmp_path)
    assert Path(home.stdout.strip()).is_relative_to(bare.parent.parent)


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS.keys())
def test_a_verb_says_the_same_without_torch(
    bare: Path, places: dict[str, Path], words: str
) -> None:
    with_torch = said(sys.executable, ["-m", "shoestring", *words.split()], places["full"])
    without = said(bare, ["-m", "shoestring", *words.split()], places["bare"])
    assert without.stdout == with_torch.stdout
    assert without.returncode == with_torch.returncode, without.stderr
    assert without.stdout.strip()
    assert "Traceback" not in without.stderr


def test_the_command_is_installed(bare: Path, tmp_path: Path) -> None:
    done = said(bare.with_name("shoestring"), ["--version"], tmp_path)
    assert done.stdout.split()[-1] == shoestring.__version__


def test_training_says_which_install_it_needs(bare: Path, places: dict[str, Path]) -> None:
    train = ["-m", "shoestring", "train", "pictures", "--steps", "1", "--out", "new"]
    done = said(bare, train, places["bare"])
    assert done.returncode == 6
    assert "shoestring[train]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (places["bare"] / "new").exists()
