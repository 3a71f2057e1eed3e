"""batches: one answer for each input, in shards, whatever happens to workers; and gone on with."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shoestring
from shoestring.cluster import batches
from shoestring.cluster.session import Session
from shoestring.core.errors import DataError, UserError
from tests import tiny
from tests.cluster.conftest import eventually, process_of

INPUTS = 30


@pytest.fixture(scope="module")
def bundle(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    shoestring.train(source, out=out, steps=10, network="compact:width=4", threads=1)
    return out / "bundle"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    for number in range(INPUTS - 1):
        pixels = draws.integers(0, 255, (tiny.SIDE, tiny.SIDE), dtype=np.uint8)
        (folder / str(number % 2)).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / str(number % 2) / f"{number}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def lines(folder: Path) -> list[dict[str, object]]:
    files = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_the_cluster_answers_what_this_process_does(
    session: Session, bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    here = batches.answered(bundle, pictures, tmp_path / "here", shard=7)
    far = batches.answered(bundle, pictures, tmp_path / "far", shard=7, session=session)
    assert (here.inputs, here.errors, here.shards) == (INPUTS, 1, 5)
    assert (far.inputs, far.errors, far.shards) == (INPUTS, 1, 5)
    found = lines(far.folder)
    assert [line["number"] for line in found] == list(range(INPUTS))
    assert len({line["file"] for line in found}) == INPUTS
    for one, other in zip(found, lines(here.folder), strict=True):
        assert one["file"] == other["file"]
        assert one.get("label") == other.get("label")
    (broken,) = [line for line in found if "error" in line]
    assert str(broken["file"]).endswith("broken.png")


def test_what_was_answered_is_not_answered_again(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    first = batches.answered(bundle, pictures, tmp_path / "a", shard=7)
    whole = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    (first.folder / "part-00003.jsonl").unlink()
    kept = (first.folder / "part-00001.jsonl").stat().st_mtime_ns
    again = batches.answered(bundle, pictures, tmp_path / "a", shard=7)
    assert again.before == 4
    assert (first.folder / "part-00001.jsonl").stat().st_mtime_ns == kept
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == whole


def test_answers_of_something_else_are_not_mixed(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    batches.answered(bundle, pictures, tmp_path / "a", shard=7)
    with pytest.raises(UserError, match="another shard"):
        batches.answered(bundle, pictures, tmp_path / "a", shard=8)
    with pytest.raises(UserError, match="another options"):
        batches.answered(bundle, pictures, tmp_path / "a", shard=7, options={"top": 2})
    with pytest.raises(UserError, match="not empty"):
        batches.answered(bundle, pictures, pictures)
    with pytest.raises(DataError, match="no file or folder"):
        batches.answered(bundle, pictures / "none", tmp_path / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write answers"):
        batches.answered(bundle, pictures, tmp_path / "file" / "below")


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_no_answer_and_doubles_none(
    session: Session,
    bundle: Path,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "a"

    def kill() -> None:
        eventually(lambda: list(out.glob("part-*.jsonl")))
        os.kill(eventually(lambda: process_of("MapBatches")), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    batches.answered(bundle, pictures, out, shard=1, session=session)
    killer.join()
    assert [line["number"] for line in lines(out)] == list(range(INPUTS))
    assert not capfd.readouterr().out  # Ray speaks of it there, where `--json` answers
