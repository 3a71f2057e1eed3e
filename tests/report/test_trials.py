"""trials: a search as a table, and read from the folder of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shoestring.core.errors import RunError
from shoestring.core.plain import to_plain
from shoestring.core.trials import TrialLine, Trials, counted_endings
from shoestring.engine import store
from shoestring.report import text, trials
from tests.report import sheets

FOUND = Trials(
    metric="accuracy",
    examples=60,
    asked=5,
    lines=(
        TrialLine(0, "finished", {"learning_rate": 0.01}, 0.93, 0.2, 90, 1.0, 2.0, "", "defaults"),
        TrialLine(1, "finished", {"learning_rate": 0.02}, 0.95, 0.1, 90, 1.0, 2.5, "", "runs/b"),
        TrialLine(2, "stopped early", {"learning_rate": 0.001}, 0.99, 0.9, 10, 1 / 9, 0.3),
        TrialLine(3, "failed", {"learning_rate": 3.0}, reason="the loss was not finite"),
    ),
    best=1,
    importance={"learning_rate": 0.82, "clip": 0.18},
    importance_of="PED-ANOVA of short fits",
    ranges={"learning_rate": "0.001 to 3 (log)"},
)


def test_the_best_stands_first_and_failures_with_their_reason_last() -> None:
    shown = text.plain(trials.table(FOUND), 100).splitlines()
    assert shown[0].split() == ["trial", "accuracy", "steps", "time", "values"]
    assert shown[1].split()[:3] == ["*1", "95.00%", "90"]
    assert "runs/b: learning_rate 0.02" in shown[1]
    assert "defaults: learning_rate 0.01" in shown[2]
    assert "learning_rate 0.001; stopped early" in shown[3]
    assert "learning_rate 3; failed: the loss was not finite" in shown[4]
    assert any("82%  learning_rate, 0.001 to 3 (log)" in line for line in shown)
    assert shown[-1] == "importance: PED-ANOVA of short fits"


def test_a_receipt_shows_them_among_its_details() -> None:
    sheet = replace(sheets.SHEET, trials=FOUND)
    assert sheet.has_details
    assert "\nTrials\n" in text.plain(text.receipt(sheet, details=True))
    assert "\nTrials\n" not in text.plain(text.receipt(sheet))


def test_they_are_read_from_the_run_or_from_the_training_in_it(tmp_path: Path) -> None:
    assert store.read_trials(tmp_path) is None
    first = tmp_path / "steps" / "0-train"
    first.mkdir(parents=True)
    (first / store.TRIALS).write_text(json.dumps(to_plain(FOUND)))
    assert store.read_trials(tmp_path) == FOUND
    (tmp_path / store.TRIALS).write_text("{")
    with pytest.raises(RunError, match=r"trials\.json cannot be read"):
        store.read_trials(tmp_path)


def test_endings_are_counted() -> None:
    assert counted_endings(FOUND.lines) == {
        "finished": 2,
        "stopped early": 1,
        "cut off": 0,
        "failed": 1,
    }
