"""The plan: how it maps steps to progress, and what it does to the learning rate."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.core.run import PlanChange
from shoestring.engine import schedule

PLAN = (PlanChange(0, 100, "first"), PlanChange(40, 60, "slower"))


def test_progress_runs_from_zero_to_one() -> None:
    assert schedule.progress(PLAN[:1], 0) == 0
    assert schedule.progress(PLAN[:1], 50) == 0.5
    assert schedule.progress(PLAN[:1], 100) == 1


def test_a_shorter_plan_keeps_the_progress_of_its_own_step_and_ends_at_one() -> None:
    assert schedule.progress(PLAN, 40) == pytest.approx(0.4)
    assert schedule.progress(PLAN, 50) == pytest.approx(0.7)
    assert schedule.progress(PLAN, 60) == pytest.approx(1)


def test_a_change_has_no_effect_before_its_step() -> None:
    assert schedule.progress(PLAN, 39) == schedule.progress(PLAN[:1], 39)
    assert schedule.total_steps(PLAN, 39) == 100
    assert schedule.total_steps(PLAN, 40) == 60


@st.composite
def plans(draw: st.DrawFn) -> tuple[PlanChange, ...]:
    total = draw(st.integers(1, 500))
    plan = [PlanChange(0, total, "")]
    at = 0
    for _ in range(draw(st.integers(0, 4))):
        if at + 1 >= total:
            break
        at = draw(st.integers(at, total - 1))
        total = draw(st.integers(at + 1, total))
        plan.append(PlanChange(at, total, ""))
    return tuple(plan)


@given(plans())
def test_progress_never_falls_and_reaches_one_at_the_last_step(
    plan: tuple[PlanChange, ...],
) -> None:
    last = plan[-1].total_steps
    values = [schedule.progress(plan, step) for step in range(last + 1)]
    assert all(a <= b + 1e-12 for a, b in pairwise(values))
    assert values[-1] == pytest.approx(1)
    assert 0 <= values[0] <= 1


def test_rate_factors_multiply_from_their_step_on() -> None:
    plan = (PlanChange(0, 9, ""), PlanChange(3, 9, "", 0.5), PlanChange(3, 9, "", 0.5))
    assert schedule.rate_factor(plan, 2) == 1
    assert schedule.rate_factor(plan, 3) == 0.25


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "linear"])
def test_a_schedule_ends_at_zero_and_never_exceeds_one(name: str) -> None:
    values = [schedule.shape(name, i / 100) for i in range(101)]
    assert values[-1] == pytest.approx(0)
    assert max(values) <= 1 + 1e-9
    assert min(values) >= -1e-12


def test_a_constant_schedule_stays_and_an_unknown_one_is_named() -> None:
    assert schedule.shape("constant", 0.9) == 1
    with pytest.raises(UserError, match="one_cycle, linear, cosine, constant"):
        schedule.shape("zigzag", 0.1)
