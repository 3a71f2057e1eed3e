"""The budget of an ablation: the same seconds for every fit, and an end when it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoestring.autopilot import cell_seconds, statements
from shoestring.autopilot.ablation import Plan, read_plan
from shoestring.autopilot.cells import Work
from shoestring.autopilot.design import Design
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.listener import Quiet
from shoestring.core.run import Recipe, Run
from shoestring.engine import pool, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.pool import Rates
from tests import tiny
from tests.autopilot.test_ablate import Faked

TECHNIQUES = ("regularize:dropout=0.1", "early_stop")


def plan_of(**changes: Any) -> Plan:
    cells = tuple(cell.name for cell in Design(TECHNIQUES, False).cells())
    return replace(Plan(Recipe("images", "x"), TECHNIQUES, seeds=3, cells=cells), **changes)


def clock(seconds: float, used: float = 0.0) -> Budget:
    return Budget(seconds, spent=used, clock=lambda: 0.0)


def test_every_fit_has_the_same_seconds_whatever_judging_it_takes() -> None:
    networks = {"none": "small", "a": "small", "b": "large", "all": "large"}
    rates = {"small": Rates(0.01, 1.0, 0.5), "large": Rates(0.05, 9.0, 2.0)}
    plan = cell_seconds.shared(plan_of(), networks, rates, clock(300.0), 1)
    assert plan.judging == {"none": 1.0, "a": 1.0, "b": 9.0, "all": 9.0}
    assert plan.idle == {"none": 0.5, "a": 0.5, "b": 2.0, "all": 2.0}
    # 12 fits, and two networks whose precision is measured: training, judging, the end.
    assert plan.fit_seconds is not None
    rounds = 12 + 2 * cell_seconds.SETTLING
    assert rounds * (plan.fit_seconds + 5.0) + cell_seconds.END_SECONDS == pytest.approx(300.0)
    left = [name for name in networks for _ in range(3)]
    assert cell_seconds.each(plan, left, clock(300.0)) >= plan.fit_seconds
    assert cell_seconds.each(plan, left, clock(300.0, used=245.0)) < 0  # judging alone takes 60 s
    assert cell_seconds.of_fit(plan, "b", 1.5, 0.5) == pytest.approx(1.0 + 2.0)
    assert cell_seconds.of_fit(plan, "b", 1e9, 4.0) == pytest.approx(plan.fit_seconds - 4.0 + 2.0)


def test_too_few_seconds_are_told_by_the_dearest_network() -> None:
    networks = {"none": "small", "a": "large"}
    rates = {"small": Rates(0.01, 1.0, 0.0), "large": Rates(1.0, 9.0, 0.0)}
    # 50 steps of a second each, 2 s to settle, 5 s of judging in the mean, 6 fits and a quarter.
    with pytest.raises(UserError, match=r"2 recipes with 3 seeds each are 6 fits; .* about 357 s"):
        cell_seconds.shared(plan_of(), networks, rates, clock(300.0), 1)


@pytest.mark.parametrize("slower", [1.0, 1.8])
def test_it_ends_when_the_budget_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slower: float
) -> None:
    """Fits that take longer than they may: the last ones are left out, and that is said."""
    now, fake, seen = [0.0], Faked(), list[float]()

    def fitted(work: pool.Pool, run: Run, seconds: float | None) -> Run:
        assert seconds is not None
        seen.append(seconds)
        now[0] += slower * (seconds + 2.0)
        return fake(work, run, seconds)

    monkeypatch.setattr(pool.Pool, "fitted", fitted)
    monkeypatch.setattr(pool.Pool, "rates", lambda work, run: Rates(0.01, 2.0, 0.0))
    monkeypatch.setattr(pool.Pool, "settled", lambda work, run, seconds: run.recipe)
    source = tiny.write_npz(tmp_path / "bars.npz")
    options = {"validation_share": 0.3}
    recipe = Recipe("images", str(source), options=options, network={"kind": "compact", "width": 4})
    home = tmp_path / "a"
    store.create(home)
    budget = Budget(120.0, clock=lambda: now[0])
    work = Work(home, plan_of(recipe=replace(recipe, threads=1)), budget, Quiet(), False)
    work.done(Interrupt())
    assert now[0] <= 120.0 + slower * 4.0
    told = [note for note in read_plan(home).notes if "the budget was over" in note]
    made = sum(len(result.qualities) for result in statements.read(home).results)
    if slower == 1.0:
        assert made == 12 and not told and min(seen) == pytest.approx(max(seen), rel=0.02)
    else:
        assert made < 12 and f"after {made} of 12 fits" in told[0]
