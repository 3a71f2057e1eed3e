"""Quality under shift: rows for each condition, paired gains, whole examples resampled."""

from __future__ import annotations

import numpy as np
import pytest

import shoestring
from shoestring import plugins
from shoestring.core.protocols import Statistics
from shoestring.core.run import Run
from shoestring.engine import shift
from tests import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("shift")
    return shoestring.train(
        tiny.write_npz(folder / "bars.npz"),
        steps=30,
        network="compact:width=4",
        batch_size=16,
        precision="float32",
        threads=1,
        device="cpu",
        out=folder / "run",
    )


def test_evaluate_tells_of_every_kind_and_severity(run: Run) -> None:
    scores = shoestring.evaluate(run.path, run.recipe.source, shift=True)
    rows = scores.details["shift"]
    kinds = plugins.task(run.task).shifts
    wanted = {(kind, severity) for kind in kinds for severity in shift.SEVERITIES}
    assert {(row["kind"], row["severity"]) for row in rows} == {*wanted, ("as it is", 0)}
    assert rows[0]["quality"] == scores.quality
    mean = np.mean([row["quality"] for row in rows[1:]])
    assert scores.details["shifted_accuracy"] == pytest.approx(mean)
    bounds = scores.details["shift_interval"]
    assert bounds["low"] <= mean <= bounds["high"]
    for row in rows[1:]:
        assert row["change"]["value"] == pytest.approx(row["quality"] - scores.quality)


def test_without_asking_nothing_is_spoilt(run: Run) -> None:
    assert "shift" not in shoestring.evaluate(run.path, run.recipe.source).details


def test_a_run_against_itself_gains_nothing(run: Run) -> None:
    opened = shoestring.load(run.path)
    task = plugins.task(run.task)
    validation = task.load(run.recipe, lambda *_: None).validation
    found = shift.shifted(opened, validation, severities=(3,), most=20)
    assert len(found.hashes) == 20
    gain = shift.gain(found, found)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    fewer = shift.shifted(opened, validation, severities=(3,), most=10)
    with pytest.raises(ValueError, match="same examples"):
        shift.gain(found, fewer)


def test_the_mean_of_conditions_is_the_mean_of_their_metrics() -> None:
    task = plugins.task("images")
    right = [np.array([True, True, False, False]), np.array([True, False, False, False])]
    each = [shift.statistics(task, {"right": one}) for one in right]
    found = shift.side_by_side(each)
    assert isinstance(found, Statistics)
    assert found.rows_BS.shape == (4, 4)
    assert float(found.metric(found.rows_BS.sum(axis=0)[None])[0]) == pytest.approx(0.375)
