"""train: one fit on Ray Train: the same weights as by processes of this machine, and workers that
come and go."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import shoestring
from shoestring.cluster.session import Session
from shoestring.cluster.shelf import Shelf, ShelfTeller, packed
from shoestring.cluster.train import Workers
from shoestring.core.errors import UserError
from shoestring.engine import store
from shoestring.engine.spread.parallel_job import pass_on
from shoestring.techniques.distribute import Distribute
from tests import tiny
from tests.cluster.conftest import Ring, eventually

SHORT = {
    "network": "compact:width=4",
    "batch_size": 16,
    "precision": "float32",
    "threads": 1,
}


def test_workers_are_one_number_or_two() -> None:
    assert Workers.parsed("3") == Workers(3, 3)
    assert Workers.parsed("2-8") == Workers(2, 8)
    assert Distribute(workers="2-8").layout.workers == 8
    with pytest.raises(ValueError, match="have the whole model each"):
        Distribute(workers="2-8", strategy="tensor")


def test_workers_that_come_and_go_take_a_cluster() -> None:
    with pytest.raises(UserError, match="--cluster auto"):
        Distribute(workers="2-8").ready()


def test_the_shelf_keeps_files_and_words(tmp_path: Path) -> None:
    class Near:
        """An actor that is in this process."""

        def __init__(self, method: object) -> None:
            self.remote = method

    shelf = Shelf(str(tmp_path))
    shelf.keep({store.CHECKPOINT: b"2", "a": b"1"})
    assert shelf.files() == {store.CHECKPOINT: b"2", "a": b"1"}
    shelf.end("first")
    shelf.end("second")
    assert shelf.ended() == "first"
    assert not shelf.asked()
    shelf.ask()
    assert shelf.asked()

    class Handle:
        tell = Near(shelf.tell)

    class Heard(tiny.Quiet):
        text = ""

        def say(self, text: str) -> None:
            self.text = text

    ShelfTeller(Handle()).say("hello")
    heard = Heard()
    for line in shelf.said():
        assert pass_on(line, heard) is None
    assert heard.text == "hello"
    assert not shelf.said()


def test_the_shelf_holds_parts_until_others_count(tmp_path: Path) -> None:
    """Each worker brings its own; the lead's word of the folder makes them count."""
    shelf, pointer = Shelf(str(tmp_path)), store.pointer(Path(store.CHECKPOINT)).name
    stem = Path(store.CHECKPOINT).stem

    def brought(token: str) -> None:
        for part in ("1", "2"):
            own = tmp_path / "host" / part / f"{stem}-{token}"
            own.mkdir(parents=True)
            (own / f"{part}.safetensors").write_bytes(token.encode())
            shelf.keep(packed(own))
            shutil.rmtree(tmp_path / "host")
        shelf.keep({pointer: json.dumps({"folder": f"{stem}-{token}"}).encode()})

    brought("7")
    assert {f"{stem}-7/1.safetensors", f"{stem}-7/2.safetensors", pointer} == set(shelf.files())
    brought("8")
    assert {f"{stem}-8/1.safetensors", f"{stem}-8/2.safetensors", pointer} == set(shelf.files())
    shelf.keep({store.CHECKPOINT: b"whole"})
    assert shelf.files() == {store.CHECKPOINT: b"whole"}


def test_more_workers_than_there_are_is_said_before_anything_is_trained(
    here: Session, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"9 workers of 1 cpu were asked for"):
        shoestring.train(
            source, out=tmp_path / "a", steps=4, techniques=["distribute:workers=9"], **SHORT
        )


@pytest.mark.slow
def test_a_fit_on_the_cluster_is_the_fit_of_this_process(
    here: Session, source: Path, tmp_path: Path
) -> None:
    alone = shoestring.train(source, out=tmp_path / "alone", steps=20, **SHORT)
    there = shoestring.train(
        source, out=tmp_path / "there", steps=20, techniques=["distribute:workers=1"], **SHORT
    )
    losses = [[look["validation_loss"] for look in run.curve] for run in (alone, there)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


CUT = {**SHORT, "network": "classic:dropout=0.0"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "tensor", "pipeline"])
def test_weights_that_are_cut_are_fitted_on_the_cluster(
    ring: Ring, here: Session, source: Path, tmp_path: Path, strategy: str
) -> None:
    node = ring.add()
    eventually(lambda: here.size(1) >= 2)
    words = f"distribute:workers=2,strategy={strategy}"
    there = shoestring.train(source, out=tmp_path / "there", steps=8, techniques=[words], **CUT)
    ring.kill(node)
    alone = shoestring.train(
        source, out=tmp_path / "alone", steps=8, techniques=["distribute:workers=1"], **CUT
    )
    losses = [[look["validation_loss"] for look in run.curve] for run in (alone, there)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_a_fit_of_cut_weights_that_was_stopped_goes_on_by_one_process_of_this_machine(
    ring: Ring, source: Path, tmp_path: Path
) -> None:
    node, out = ring.add(), tmp_path / "a"
    words = [sys.executable, "-m", "shoestring", "train", str(source), "--out", str(out)]
    words += ["--steps", "1500", "--network", "classic", "--batch-size", "16"]
    words += ["--precision", "float32", "--threads", "1"]
    words += ["--with", "distribute:workers=2,strategy=fsdp"]
    words += ["--cluster", ring.address, "--cluster-wait", "60s", "--quiet"]
    checkpoint = out / store.CHECKPOINT
    with subprocess.Popen(words) as driver:
        eventually(lambda: store.stands(checkpoint) or driver.poll() is not None, 300)
        driver.send_signal(signal.SIGINT)
        assert driver.wait(300) == 130
    ring.kill(node)
    parts = store.parts(checkpoint)
    assert parts is not None
    assert len(list(parts.glob("*.safetensors"))) == 2
    run = shoestring.train(out=out, resume=True, techniques=["distribute:workers=1"])
    assert run.recipe.total_steps == 1500


@pytest.mark.slow
def test_workers_shrink_and_grow_and_no_example_is_left_out_or_taken_twice(
    ring: Ring, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, out = ring.add(), tmp_path / "a"
    words = [sys.executable, "-m", "shoestring", "train", str(source), "--out", str(out)]
    words += ["--steps", "1500", "--network", "compact:width=4", "--batch-size", "16"]
    words += ["--precision", "float32", "--threads", "1", "--with", "distribute:workers=1-2"]
    words += ["--cluster", ring.address, "--cluster-wait", "60s", "--quiet"]
    with subprocess.Popen(words) as driver:
        eventually(lambda: (out / store.CHECKPOINT).exists() or driver.poll() is not None, 300)
        ring.kill(node)
        node = ring.add()
        assert driver.wait(600) == 0
    ring.kill(node)
    run = store.read(out)
    assert run.recipe.total_steps == 1500
