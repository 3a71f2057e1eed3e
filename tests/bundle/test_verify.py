"""verify: hashes, unlisted files, golden vectors."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import shoestring
from shoestring.bundle.bundle import golden_bytes, load
from shoestring.bundle.verify import read_golden, verify
from shoestring.core.errors import BundleError
from tests.bundle.making import made, with_file

GOLDEN_V1 = Path(__file__).parent / "golden_v1"


@pytest.mark.parametrize(("resize", "channels"), [(False, 1), (True, 1), (False, 3), (True, 3)])
def test_a_fresh_bundle_verifies(tmp_path: Path, resize: bool, channels: int) -> None:
    found = verify(made(tmp_path / "bundle", resize, channels))
    assert found["ok"] is True
    assert found["files"] == ["README.md", "golden.npz", "model.onnx"]
    assert found["golden"]["max_difference"] <= found["golden"]["tolerance"] == 1e-4
    assert found["golden"]["inputs"] == (8 if resize else 4)
    assert found["size_bytes"] > found["model_bytes"]


def test_a_file_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    for allowed in ("openings.jsonl", "receipt.json", "receipt.html"):
        (folder / allowed).write_text("")
    verify(folder)
    (folder / "run.py").write_text("print()")
    with pytest.raises(BundleError, match=r"run\.py is not listed in bundle\.json"):
        verify(folder)


def test_other_answers_than_when_it_was_made_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    inputs, outputs = read_golden((folder / "golden.npz").read_bytes())
    for name, change in (("golden", 2e-4), ("nan", np.nan)):
        other = {key: values + change for key, values in outputs.items()}
        with_file(folder, "golden.npz", golden_bytes((inputs, other)))
        with pytest.raises(BundleError, match=r"answers its golden inputs differently"):
            verify(folder)
        assert name
    near = {key: values + 5e-5 for key, values in outputs.items()}
    with_file(folder, "golden.npz", golden_bytes((inputs, near)))
    assert verify(folder)["golden"]["max_difference"] == pytest.approx(5e-5, abs=1e-6)


def packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input.a.npy", bytes(300 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no zip", r"golden\.npz cannot be read"),
        (packed(a=np.zeros(1)), r"'a', neither input nor output"),
        (packed(**{"input.a": np.zeros(1)}), r"no inputs or no outputs"),
        (packed(**{"input.a": np.array([{}], object)}), r"golden\.npz cannot be read"),
        (
            packed(**{"input.a": np.zeros((1, 8, 8, 1)), "output.a": np.zeros((1, 3))}),
            r"golden input 'a' is not uint8",
        ),
        (
            packed(**{"input.a": np.zeros((1, 8, 8, 1), np.uint8), "output.b": np.zeros((1, 3))}),
            r"has outputs \['b'\], not \['a'\]",
        ),
        (
            packed(**{"input.a": np.zeros((1, 8, 8, 1), np.uint8), "output.a": np.zeros((2, 3))}),
            r"has shape \(1, 3\), not \(2, 3\)",
        ),
        (bomb(), r"unpacks to 314,572,800 bytes"),
    ],
    ids=["no zip", "name", "no outputs", "pickle", "floats", "names", "shape", "bomb"],
)
def test_golden_vectors_that_make_no_sense_are_refused(tmp_path: Path, data, words) -> None:
    folder = made(tmp_path / "bundle")
    with_file(folder, "golden.npz", data)
    with pytest.raises(BundleError, match=words):
        verify(folder)


def test_a_bundle_of_version_1_loads_for_ever() -> None:
    found = verify(GOLDEN_V1)
    assert found["version"] == 1
    answers = load(GOLDEN_V1).predict(
        [np.full((12, 12), level, np.uint8) for level in (0, 128, 255)], {"top": 3}
    )
    assert [answer["label"] for answer in answers] == ["dark", "middling", "bright"]
    assert all(len(answer["top"]) == 3 for answer in answers)


def test_the_verb_is_public(tmp_path: Path) -> None:
    assert shoestring.verify(made(tmp_path / "bundle"))["ok"]
