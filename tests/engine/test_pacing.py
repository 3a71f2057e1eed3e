"""A plan follows the clock, in few words and with each written down before it takes effect."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shoestring.core.budget import Budget
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.engine import pacing, schedule, store
from shoestring.engine.pacing import Looks, Pace
from shoestring.engine.placement import Local

STEP_SECONDS, LOOK_SECONDS, LOOK_SHARE = 0.2, 0.4, 0.25
Slowness = Callable[[float], float]


class Drive:
    """A fit without any work in it: a clock that steps and looks move, as slow as is said."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, slowness: Slowness
    ) -> None:
        self.now, self.step, self.slowness = 0.0, 0, slowness
        self.written: list[int] = []  # the step at which each change was
        monkeypatch.setattr(pacing.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(store, "write_started", lambda run: self.written.append(self.step))
        self.budget = Budget(seconds, clock=lambda: self.now)
        self.looks = Looks(LOOK_SECONDS, pacing.AFTER_EVALUATIONS / LOOK_SHARE)
        left = self.budget.remaining() - self.looks.after()
        steps = int((left - 10 * LOOK_SECONDS) * (1 - pacing.MARGIN) / STEP_SECONDS)
        plan = (PlanChange(0, steps, "measured"),)
        recipe = Recipe("images", "x", plan=plan, evaluate_every=steps // 10)
        self.run = Run(folder, "images", recipe)
        self.pace = Pace(self.run, self.budget, self.looks, Local("cpu"))

    def through(self) -> Drive:
        every = self.run.recipe.evaluate_every or 1
        while self.step < schedule.total_steps(self.pace.plan, self.step):
            self.run = self.pace.kept(self.run, self.step)
            self.now += STEP_SECONDS * self.slowness(self.now)
            self.step += 1
            self.pace.stepped()
            if self.step % every == 0:
                seconds = LOOK_SECONDS * self.slowness(self.now)
                self.now += seconds
                self.pace.evaluated(seconds, LOOK_SHARE)
        return self

    @property
    def changes(self) -> tuple[PlanChange, ...]:
        return self.run.recipe.plan[1:]


def loaded(seconds: float) -> Slowness:
    """Another program takes half of the machine for spells of so many seconds."""
    draws = random.Random(0)
    spells = [draws.choice((1.0, 2.0)) * draws.uniform(0.9, 1.1) for _ in range(5_000)]
    return lambda now: spells[int(now / seconds)]


def test_a_machine_as_fast_as_measured_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 1.0).through()
    assert drive.changes == ()
    assert drive.written == []


@pytest.mark.parametrize("seconds", [60.0, 600.0])
@pytest.mark.parametrize("spell", [1.0, 5.0])
def test_load_that_comes_and_goes_is_followed_in_a_few_large_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, spell: float
) -> None:
    drive = Drive(tmp_path, monkeypatch, seconds, loaded(spell)).through()
    assert 0 < len(drive.changes) <= 12
    assert drive.budget.remaining() > pacing.AFTER_SECONDS  # the rest is for what follows
    before = drive.run.recipe.plan[0].total_steps
    for change in drive.changes:
        left = before - change.at_step
        changed = abs(change.total_steps - before)
        assert changed >= 0.04 * left or left * STEP_SECONDS < pacing.LAST_SECONDS
        before = change.total_steps


def test_what_is_too_little_to_change_a_plan_for_is_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is faster than it was measured, by three in a hundred."""
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 0.97).through()
    (change,) = drive.changes
    assert pacing.LAST_CALL <= change.at_step / drive.run.recipe.plan[0].total_steps < 0.75
    assert 0.98 * 600 <= drive.now + drive.looks.after() <= 600


def test_each_change_is_written_at_its_own_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(tmp_path, monkeypatch, 120.0, lambda now: 1.0 + now / 60).through()
    assert drive.written == [change.at_step for change in drive.changes] != []
    assert drive.step == drive.pace.plan[-1].total_steps


def test_one_slow_look_does_not_shorten_a_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 1.0)
    drive.pace.evaluated(3 * LOOK_SECONDS, LOOK_SHARE)
    assert drive.through().changes == ()


def test_a_look_in_a_stall_counts_as_a_slow_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the fit is many looks: forty times one stall would leave nothing of it."""
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 1.0)
    first = drive.pace.plan[0].total_steps
    drive.now += 40 * LOOK_SECONDS
    drive.pace.evaluated(40 * LOOK_SECONDS, LOOK_SHARE)
    assert drive.through().step >= 0.9 * first


def test_a_stall_of_half_a_minute_costs_a_fit_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other work takes nearly all of the machine once, early in the fit."""
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 30.0 if 100 <= now < 135 else 1.0)
    first = drive.pace.plan[0].total_steps
    drive.through()
    assert any("no more is cut at once" in change.reason for change in drive.changes)
    assert drive.step >= 0.9 * first
    assert 570 <= drive.now + drive.looks.after() <= 600


def test_a_machine_that_stays_slow_is_met_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty times slower from a fifth of the budget on: the fit still ends within it."""
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 20.0 if now >= 120 else 1.0)
    drive.through()
    steps = [change.total_steps for change in drive.changes]
    assert len(steps) >= 4 and steps == sorted(steps, reverse=True)
    after = pacing.AFTER_SECONDS + drive.pace._looks.passes * drive.pace._looks.seconds
    assert drive.now + after <= 1.05 * 600


def test_a_resumed_fit_waits_for_a_look_before_it_takes_more_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 0.5)
    drive.pace = Pace(drive.run, drive.budget, Looks(), Local("cpu"))
    first = drive.run.recipe.evaluate_every or 0
    drive.through()
    assert drive.changes[0].at_step > first
    assert drive.changes[0].total_steps > drive.run.recipe.plan[0].total_steps


def test_what_comes_after_the_fit_is_known_from_the_first_look_of_a_resumed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(tmp_path, monkeypatch, 600.0, lambda now: 1.0)
    drive.pace = Pace(drive.run, drive.budget, Looks(), Local("cpu"))
    drive.pace.evaluated(LOOK_SECONDS, LOOK_SHARE)
    assert drive.pace._looks == drive.looks


def test_a_fit_leaves_room_for_the_bundles_that_follow_it(tmp_path: Path) -> None:
    """Two techniques after the fit export and grade as well, which takes longer here than the
    share of the budget that lies behind the fit's clock."""
    recipe = Recipe("images", "x", network={"kind": "compact"}, budget_seconds=60.0)
    budget = Budget(50.0)
    alone = pacing.Looks.of(Run(tmp_path, "images", recipe), budget)
    followed = Run(tmp_path, "images", replace(recipe, then=("prune", "quantize")))
    looks = pacing.Looks.of(followed, budget)
    own = pacing.AFTER_SECONDS + pacing.AFTER_EVALUATIONS * 2.0
    assert replace(alone, seconds=2.0).after() == pytest.approx(own)
    assert replace(looks, seconds=2.0).after() == pytest.approx(own + 2 * own - 10.0, abs=0.1)
    most = own + pacing.BUNDLES_SHARE * budget.remaining()  # something is left to train in
    assert replace(looks, seconds=2.0, bundles=9).after() == pytest.approx(most, abs=0.1)
    assert replace(looks, seconds=0.0).after() == pytest.approx(pacing.AFTER_SECONDS)


def test_steps_are_timed_where_all_learns_that_ever_does() -> None:
    """A fit that thaws its parts one after the other has dear steps, and cheap ones before."""

    class Thawing:
        placement, asked = Local("cpu"), list[float]()

        def step(self, progress: float, factor: float) -> None:
            self.asked.append(progress)

    loop = Thawing()
    pacing.seconds_a_step(loop, Budget(1.0))  # type: ignore[arg-type]  # as much of a loop as it takes
    assert set(loop.asked) == {1.0}
