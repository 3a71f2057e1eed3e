"""reserving: what is kept of a build's seconds, and when they are too few."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shoestring.autopilot.build_record import Chosen, Record
from shoestring.autopilot.knowledge import Result
from shoestring.autopilot.reserving import Reserve
from shoestring.core.budget import Budget
from shoestring.core.decisions import Step
from shoestring.core.errors import UserError
from shoestring.core.limits import Limits
from shoestring.core.run import Recipe
from shoestring.core.sizing import Gauge, Weight

GAUGE = Gauge("float32", 1, 0.5, 1_000, 10.0, 2.0)  # an epoch takes 500 s
CHOSEN = Chosen({"kind": "k"}, "", 20.0, Weight(10, 40, 10), GAUGE)


def reserve(left: float, *results: Result, **changes: Any) -> Reserve:
    record = Record(Recipe("images", "x"), Limits(), 60.0, chosen=CHOSEN, results=results)
    clock = Budget(60.0, clock=lambda: 0.0, started=left - 60.0)
    return replace(Reserve(record, clock, 0.0, tested=200, validated=100), **changes)


def fit(**figures: Any) -> Result:
    usual = {"quality": 0.9, "fit_seconds": 10.0, "ships": True, "epochs": 2.0, **figures}
    return Result(Step("main fit", "fit", 20.0, 0.5, ""), 20.0, **usual)


def test_a_budget_that_holds_some_steps_but_no_epoch_is_not_refused() -> None:
    reserve(11.0).refuse_too_small(CHOSEN)
    with pytest.raises(UserError, match=r"60 s are too few.*some steps, export.*--budget 93s"):
        reserve(8.0).refuse_too_small(CHOSEN)


def test_a_bundle_goes_before_the_test_split() -> None:
    assert reserve(40.0).kept() == pytest.approx(1.5 + 9.6)
    assert reserve(27.0).kept() == pytest.approx(1.5)  # training would have fewer than these 8
    asked = Record(Recipe("images", "x"), Limits(size_bytes=5_000), 60.0, chosen=CHOSEN)
    large = replace(CHOSEN, weight=Weight(10, 9_000, 3_000))
    tail = replace(reserve(40.0), record=replace(asked, chosen=large))
    assert tail.rounding(large) == 13.0 and tail.kept() == pytest.approx(1.5)
    assert reserve(20.0, fit()).kept() == pytest.approx(1.5 + 9.6)  # there is one


def test_opening_the_test_split_is_expected_to_take_what_grading_took() -> None:
    assert reserve(40.0, tested=0).for_test() == 0.0
    assert reserve(40.0, fit(grade_seconds=20.0)).for_test() == pytest.approx(22.0)
    assert reserve(40.0, fit(grade_seconds=1.0)).for_test() == pytest.approx(8.0)


def test_rates_are_those_of_the_last_fit() -> None:
    assert (reserve(40.0).epoch(CHOSEN), reserve(40.0).after(CHOSEN)) == (500.0, 10.0)
    done = reserve(40.0, fit())
    assert (done.epoch(CHOSEN), done.after(CHOSEN)) == (5.0, 10.0)
    failed = reserve(40.0, fit(failure="it broke", epochs=0.0))
    assert (failed.epoch(CHOSEN), failed.after(CHOSEN)) == (500.0, 10.0)
