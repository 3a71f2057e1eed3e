"""study: trials that are kept in a journal, whoever ends in the middle of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shoestring.core.errors import RunError
from shoestring.core.space import Range
from shoestring.engine.search import study
from shoestring.engine.search.study import DEFAULTS, JOURNAL, RUNGS, Stop, Study

RANGES = (Range("x", 0.0, 1.0), Range("y", choices=(1, 2, 4)), Range("z", choices=("a", "b")))


def opened(folder: Path, most: int = 40, stop: Stop = "halving", seed: int = 0) -> Study:
    return Study(folder, RANGES, seed, stop, most)


def climbed(tried: Study, trial: Any, quality: float) -> None:
    """A trial of this quality."""
    for units in RUNGS:
        noted = {"quality": quality, "loss": 1 - quality, "steps": 10 * units}
        trial.set_user_attr(f"rung {units}", noted)
        if not tried.worth_more(trial, units, quality):
            break
    tried.ended(trial)


def searched(tried: Study, count: int) -> list[tuple[int, float]]:
    """The best x is 0.3; returns what was drawn."""
    found = []
    for _ in range(count):
        trial = tried.ask(0)
        if trial is None:
            break
        x = tried.values(trial)["x"]
        climbed(tried, trial, 1 - abs(x - 0.3))
        found.append((trial.number, x))
    return found


def test_it_finds_what_matters_and_where_the_best_lies(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    assert len(searched(tried, 60)) == 40
    lines = tried.lines()
    best = max((line for line in lines if line.ending == "finished"), key=lambda x: x.quality or 0)
    assert abs(best.values["x"] - 0.3) < 0.05
    assert best.values["y"] in (1, 2, 4)
    assert best.values["z"] in ("a", "b")
    assert sum(line.ending == "stopped early" for line in lines) > 20
    importance = tried.importance()
    assert next(iter(importance)) == "x"
    assert sum(importance.values()) == pytest.approx(1, abs=0.01)


def test_the_defaults_go_all_the_way_and_are_compared_with(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    tried.enqueue({"x": 0.9, "y": 1, "z": "a"}, DEFAULTS)
    tried.enqueue({"x": 0.9, "y": 1, "z": "a"}, DEFAULTS)
    searched(tried, 6)
    first = tried.lines()[0]
    assert first.origin == DEFAULTS
    assert first.values == {"x": 0.9, "y": 2, "z": "a"}
    assert first.ending == "finished"
    assert (first.part, first.steps) == (1.0, 90)
    assert all(line.origin == "" for line in tried.lines()[1:])


def test_a_seed_draws_alike_also_where_it_goes_on(tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = searched(opened(tmp_path / "whole"), 14)
    parts = searched(opened(tmp_path / "parts"), 5)
    again = opened(tmp_path / "parts")
    assert again.taken_over() == 5
    assert parts + searched(again, 9) == whole
    (tmp_path / "other").mkdir()
    assert searched(opened(tmp_path / "other", seed=1), 3) != whole[:3]


def test_defaults_outside_of_the_ranges_say_nothing_of_them(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    really = {"x": 7.0, "y": 3, "z": "c"}
    tried.enqueue({}, DEFAULTS, really)
    tried.enqueue({}, DEFAULTS, really)
    found = []
    for number in range(40):
        trial = tried.ask(0)
        assert trial is not None
        x = tried.values(trial)["x"]
        climbed(tried, trial, 2.0 if number == 0 else 1 - abs(x - 0.3))
        found.append(x)
    first = tried.lines()[0]
    assert (first.origin, first.values, first.ending) == (DEFAULTS, really, "finished")
    assert all(0 <= x <= 1 for x in found[1:])
    assert min(abs(x - 0.3) for x in found[1:]) < 0.05  # the others are learned from
    assert next(iter(tried.importance())) == "x"


def test_defaults_outside_are_tried_again_after_a_kill(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    tried.enqueue({}, DEFAULTS, {"x": 7.0})
    assert tried.ask(0) is not None
    again = opened(tmp_path)
    again.taken_over()
    trial = again.ask(0)
    assert trial is not None
    assert again.values(trial) == {"x": 7.0}
    assert not trial.params


@pytest.mark.parametrize("stop", ["halving", "hyperband", "none"])
def test_poor_trials_are_ended_where_that_was_asked(tmp_path: Path, stop: Stop) -> None:
    tried = opened(tmp_path, 18, stop)
    searched(tried, 18)
    stopped = [line for line in tried.lines() if line.ending == "stopped early"]
    assert bool(stopped) == (stop != "none")
    assert all(line.part < 1 for line in stopped)


def test_what_a_killed_process_leaves_is_mended(tmp_path: Path) -> None:
    tried = opened(tmp_path, 6)
    searched(tried, 3)
    before = tried.lines()
    half = tried.ask(0)
    assert half is not None
    left = tried.values(half)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 6, "wor')
    study.repaired(tmp_path)
    again = opened(tmp_path, 6)
    assert again.taken_over() == 3
    assert again.lines()[:3] == before
    given_up = again.lines()[3]
    assert given_up.ending == "failed"
    assert "tried again" in given_up.reason
    retried = again.ask(0)
    assert retried is not None
    assert again.values(retried) == left
    climbed(again, retried, 0.5)
    assert len(searched(again, 9)) == 2  # six, and the one that was tried again
    assert not study.hopeless(again.lines())


def test_a_journal_that_is_broken_inside_is_told_by_its_line(tmp_path: Path) -> None:
    searched(opened(tmp_path), 2)
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    lines[2] = lines[2][:5]
    (tmp_path / JOURNAL).write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="line 3 is damaged, so the search cannot go on"):
        study.repaired(tmp_path)
    study.repaired(tmp_path / "none")


def test_trials_that_all_fail_end_it_with_their_reason(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    for number in range(10):
        trial = tried.ask(0)
        if trial is None:
            break
        tried.gave_up(trial, f"the loss was not finite {number}")
    assert number == study.FAILURES
    assert study.hopeless(tried.lines()) == (
        "all 5 trials failed; the first: the loss was not finite 0"
    )
    assert tried.importance() == {}


def test_a_worker_that_is_gone_leaves_a_failed_trial(tmp_path: Path) -> None:
    tried = opened(tmp_path)
    mine, other = tried.ask(0), tried.ask(1)
    assert mine is not None
    assert other is not None
    tried.left_by(1, "its process was killed by signal 9")
    (line,) = tried.lines()
    assert (line.number, line.ending) == (other.number, "failed")
    assert line.reason == "its process was killed by signal 9"
    climbed(tried, mine, 0.4)


def test_its_journal_is_lines_of_json(tmp_path: Path) -> None:
    searched(opened(tmp_path), 1)
    assert all(json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines())
