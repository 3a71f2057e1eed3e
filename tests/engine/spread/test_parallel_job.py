"""What workers are given and what they tell arrives as it was."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Look, Quiet
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.engine.spread import launched
from shoestring.engine.spread.parallel_job import Job, Teller, pass_on, plain_error


class Keeps(Quiet):
    def __init__(self) -> None:
        self.kept: list[object] = []

    def stage(self, what: str, done: int, total: int) -> None:
        self.kept.append((what, done, total))

    def evaluation(self, look: Look) -> None:
        self.kept.append(look)

    def say(self, text: str) -> None:
        self.kept.append(text)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path, "images", Recipe("images", "photos"))
    job = Job(run, Layout(data=2, tensor=2), 60.0, 10.0, log_every=5)
    job.write(tmp_path)
    assert Job.read(tmp_path) == job
    assert 49 < job.budget().remaining() <= 50


def test_words_arrive_in_order() -> None:
    stream, keeps = io.BytesIO(), Keeps()
    teller, look = Teller(stream), Look(1, 2, 0.5, 0.25, "accuracy", 0.9, 0.3)
    teller.stage("reading", 1, 2)
    teller.evaluation(look)
    teller.say("a sentence")
    for line in stream.getvalue().splitlines():
        assert pass_on(line, keeps) is None
    assert keeps.kept == [("reading", 1, 2), look, "a sentence"]


@pytest.mark.parametrize("error", [RunError("a"), Interrupted("b"), UserError("c")])
def test_errors_keep_their_kind(error: UserError) -> None:
    line = json.dumps(["error", plain_error(error)]).encode()
    back = pass_on(line, Quiet())
    assert (type(back), str(back)) == (type(error), str(error))


def test_a_checkpoint_in_parts_stands_until_it_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / store.CHECKPOINT
    assert not store.stands(path)
    store.pointer(path).write_text("{}")
    for name in ("checkpoint-1", "checkpoint-2"):
        (tmp_path / name).mkdir()
    assert store.stands(path)
    store.drop_parts(path, but="checkpoint-2")
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.json", "checkpoint-2"}
    store.drop(path)
    assert not list(tmp_path.iterdir())


def test_who_follows_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in launched.NAMES:
        monkeypatch.delenv(name, raising=False)
    assert launched.count() is None
    assert not launched.follows()
    for name, value in zip(launched.NAMES, ("1", "4", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched.count() == 4
    assert launched.follows()
    monkeypatch.setenv("RANK", "0")
    assert not launched.follows()
