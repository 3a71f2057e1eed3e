"""crossing: an ablation over folds: each holds out another part of the data, and is one itself."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.autopilot.ablation import PLAN, Plan, fold_of, read_plan, write
from shoestring.autopilot.cells import Work
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.listener import Listener
from shoestring.engine import store

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt

FOLD, TEST_SHARE = "fold", "test_share"  # the options of a task that can deal its data
MOST_FOLDS = 20


def planned(plan: Plan, folds: int, listener: Listener) -> Plan:
    """The plan over so many folds. UserError for data that cannot be dealt, or whose own test
    split would be opened by that."""
    if not 2 <= folds <= MOST_FOLDS:
        raise UserError(f"folds is a number from 2 to {MOST_FOLDS}, not {folds}")
    recipe, task = plan.recipe, plugins.task(plan.recipe.task)
    if not {FOLD, TEST_SHARE} <= {option.name for option in fields(task.options)}:
        able = [name for name in plugins.task_names() if _deals(name)]
        raise UserError(f"{task.name} has no folds, but {' and '.join(able)}; leave --folds out")
    if recipe.options.get(FOLD):
        raise UserError(f"--fold {recipe.options[FOLD]} names one fold, --folds takes all; say one")
    try:
        own = replace(recipe, options={**recipe.options, TEST_SHARE: 0.0})
        task.load(own, listener.stage).test()
    except DataError:
        return replace(plan, folds=folds)
    raise UserError(
        f"{recipe.source} has a test split of its own, which folds would deal out; leave --folds "
        "out: gains are then measured on validation"
    )


def _deals(name: str) -> bool:
    return {FOLD, TEST_SHARE} <= {option.name for option in fields(plugins.task(name).options)}


@dataclass
class Crossed:
    """One ablation over folds in progress: those of its folds, one after the other."""

    home: Path
    plan: Plan
    clock: Budget
    listener: Listener
    resumed: bool

    def done(self, stop: Interrupt) -> None:
        """Trains what is not trained yet."""
        write(self.home, self.plan)
        for number in range(self.plan.folds):
            work = self._fold(number)
            try:
                work.done(stop)
            except (UserError, KeyboardInterrupt):
                work.left()
                raise
            self._written()

    def left(self) -> None:
        """What is kept when the work ends early: nothing, where it began here and no fit was
        finished."""
        if any(self.home.rglob(store.RUN)):
            self._written()
        elif not self.resumed:
            store.remove(self.home)

    def _written(self) -> None:
        self.plan = replace(self.plan, used_seconds=self.clock.elapsed())
        write(self.home, self.plan)

    def _fold(self, number: int) -> Work:
        """The ablation that holds out one fold, with its part of what is left of the seconds."""
        home, count = fold_of(self.home, number), self.plan.folds
        resumed = (home / PLAN).is_file()
        if resumed:
            plan = read_plan(home)
        else:
            options = {**self.plan.recipe.options, FOLD: f"{number}/{count}"}
            recipe = replace(self.plan.recipe, options=options)
            plan = replace(self.plan, recipe=recipe, folds=0, held_out=True, used_seconds=0.0)
            if home.exists():  # it was killed before it began
                store.remove(home)
            store.create(home)
        used, limit = plan.used_seconds, None
        if self.clock.seconds is not None:
            limit = used + max(0.1, self.clock.remaining() / (count - number))
        plan = replace(plan, limit_seconds=limit)
        clock = Budget(limit, spent=used)
        return Work(home, plan, clock, self.listener, resumed, parts=count)
