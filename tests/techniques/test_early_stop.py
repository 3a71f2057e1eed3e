"""When a fit ends early, what ships then, and what that saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shoestring import plugins
from shoestring.core.budget import Cost
from shoestring.core.errors import UserError
from shoestring.engine import remarks
from shoestring.techniques.early_stop import EarlyStop
from tests import tiny


def curve(*qualities: float) -> list[dict[str, Any]]:
    return [{"quality": quality} for quality in qualities]


@pytest.mark.parametrize(
    ("qualities", "stops"),
    [
        ((0.1, 0.2, 0.3), False),
        ((0.3, 0.2, 0.2), True),
        ((0.3, 0.3, 0.3), True),  # as good is no gain
        ((0.3, 0.2, 0.32), False),
        ((0.3, 0.2, 0.32, 0.3, 0.3), True),
        ((0.3, 0.305, 0.308), True),  # less than the least gain
        ((0.3, 0.305, 0.312), False),  # but it adds up
        ((0.3, 0.2), False),
        ((), False),
    ],
)
def test_it_stops_after_so_many_looks_without_a_gain(
    qualities: tuple[float, ...], stops: bool
) -> None:
    technique = EarlyStop(patience=2, minimum_gain=0.01)
    assert technique.should_stop(curve(*qualities), {"progress": 0.5}) is stops


def test_it_does_not_stop_while_the_rate_climbs() -> None:
    flat = curve(0.1, 0.1, 0.1, 0.1)
    assert not EarlyStop(patience=2).should_stop(flat, {"progress": 0.15})
    assert EarlyStop(patience=2).should_stop(flat, {"progress": 0.25})
    assert EarlyStop(patience=2, after=0.0).should_stop(flat, {"progress": 0.01})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("patience=0", "patience is a number of evaluations from 1, not 0; to train to the end"),
        ("minimum_gain=-1", "minimum_gain is a number from 0"),
        ("after=1", "after is a share of the fit"),
    ],
)
def test_values_that_are_none_are_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plugins.technique(f"early_stop:{words}")


def test_a_fit_ends_with_a_cool_down_and_the_best_weights(tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz")
    hooks = ("early_stop:patience=2,minimum_gain=1.0",)  # nothing is gain enough
    settings: dict[str, Any] = {"steps": 100, "evaluate_every": 10, "hooks": hooks}
    run, _ = tiny.fitted(*tiny.prepared(tmp_path / "run", source, **settings))
    stop = run.recipe.plan[1]
    assert (stop.reason, stop.at_step, stop.total_steps) == ("should_stop", 30, 40)
    assert run.curve[-1]["step"] == 40
    said = remarks.stopped_early(run.recipe.plan, Cost(wall_seconds=20.0, steps=40))
    assert said == "stopped after 40 of 100 steps, 10 of them a cool-down: about 30.0 s were saved"


def test_a_fit_that_is_nearly_over_goes_on_to_its_end(tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz")
    hooks = ("early_stop:patience=1,minimum_gain=1.0,after=0.9",)
    settings: dict[str, Any] = {"steps": 100, "evaluate_every": 45, "hooks": hooks}
    run, _ = tiny.fitted(*tiny.prepared(tmp_path / "run", source, **settings))
    assert [change.reason for change in run.recipe.plan] == ["as asked"]
    assert run.curve[-1]["step"] == 100
    assert remarks.stopped_early(run.recipe.plan, Cost(wall_seconds=20.0, steps=100)) == ""
