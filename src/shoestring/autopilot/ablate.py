"""ablate: trains with and without each technique, over seeds, and says what each one buys."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.autopilot import asking, crossing, searching, statements
from shoestring.autopilot.ablation import Ablation, Plan, read_plan
from shoestring.autopilot.beside import can_share
from shoestring.autopilot.cells import Work
from shoestring.autopilot.design import Design
from shoestring.autopilot.train import (
    clock_of,
    equipped,
    free_folder,
    seconds_of,
)
from shoestring.core import jobs
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.machine import cores
from shoestring.core.run import Recipe, name_of
from shoestring.core.techniques import Technique
from shoestring.engine import alone, store
from shoestring.engine.effects import FEWEST_SEEDS

MOST_PROCESSES = 64


def ablate(
    source: str | os.PathLike[str] | None = None,
    *,
    techniques: Sequence[Technique | str] = (),
    seeds: int = 3,
    factorial: bool = False,
    folds: int | None = None,
    processes: int = 1,
    task: str | None = None,
    without: Sequence[str] = (),
    budget: Budget | str | float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    network: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Ablation:
    """Trains the recipe without any of the techniques, with each of them, with all, and with all
    but each; or, `factorial`, all combinations. Every recipe is trained with every seed, each fit
    for the same part of the budget (or for the steps or epochs that were asked for).

    A third of the validation split is what the fits decide on; gains are measured on the rest,
    and again on corrupted examples. The test split stays closed. With `folds`, so many equal
    parts of the data are held out in turn, and gains are measured on all of them together.
    `processes` fits are made side by side, each with its share of the threads. With `resume`,
    `out` (or `source`) is an unfinished ablation, and nothing else but `budget` counts.

    Raises UserError where the budget is too small, and says what it would need; Interrupted, with
    all finished fits kept, when asked to stop.
    """
    from shoestring.engine import interrupt

    listener = listener or Quiet()
    equipped()
    with interrupt.listening() as stop:
        if resume:
            home = Path(out or source or "")
            plan = read_plan(home)
            limit = seconds_of(budget) or plan.limit_seconds
            clock = clock_of(budget, limit, plan.used_seconds)
            plan = replace(plan, limit_seconds=limit)
        else:
            said = {"network": network, "seed": seed, "device": device, "threads": threads}
            lengths = {"steps": steps, "epochs": epochs, "budget_seconds": seconds_of(budget)}
            words = tuple(
                plugins.words(plugins.technique(t) if isinstance(t, str) else t) for t in techniques
            )
            base = asking.asked(
                asking.base_recipe(source, task, recipe),
                True,
                without,
                options or {},
                said,
                lengths,
                again=[name_of(one) for one in words],
            )
            plan = _planned(base, words, factorial, seeds)
            where = jobs.pool()
            if where is not None:
                processes = min(MOST_PROCESSES, where.size(threads or 1))
            plan = _side_by_side(plan, processes)
            if folds is not None:
                plan = crossing.planned(plan, folds, listener)
            clock = clock_of(budget, base.budget_seconds)
            plan = replace(plan, limit_seconds=clock.seconds)
            home = Path(out) if out is not None else free_folder(base.source, "ablation")
            store.create(home)
        made = crossing.Crossed if plan.folds else Work
        work = made(home, plan, clock, listener, resume)
        try:
            with alone.working_in(home):
                work.done(stop)
        except (UserError, KeyboardInterrupt) as error:
            work.left()
            if isinstance(error, Interrupted):
                raise Interrupted(
                    f"stopped; the fits that were finished are kept; go on with: "
                    f"shoestring ablate --resume {home}"
                ) from error
            raise
    return statements.read(home)


def _planned(base: Recipe, techniques: tuple[str, ...], factorial: bool, seeds: int) -> Plan:
    """What is to be trained. UserError for what nothing could come of."""
    if seeds < 1:
        raise UserError(f"seeds is a number of trainings of each recipe from 1, not {seeds}")
    searching.refused((*techniques, *base.hooks))
    design = Design(techniques, factorial)
    if factorial and seeds == 1:
        raise UserError(
            "--factorial speaks of techniques, and one seed says nothing of these; give "
            f"--seeds {FEWEST_SEEDS}, or leave --factorial out"
        )
    cells = tuple(cell.name for cell in design.cells())
    recipe = replace(base, open_test=False, plan=(), evaluate_every=None)
    return Plan(recipe, techniques, factorial, seeds, cells)


def _side_by_side(plan: Plan, processes: int) -> Plan:
    """The plan with so many processes, and the threads of each where none were said."""
    if not 1 <= processes <= MOST_PROCESSES:
        raise UserError(f"processes is a number from 1 to {MOST_PROCESSES}, not {processes}")
    if processes == 1:
        return plan
    if not can_share():
        raise UserError("processes side by side need a system with file locks; leave them out")
    threads = plan.recipe.threads or max(1, cores() // processes)
    return replace(plan, processes=processes, recipe=replace(plan.recipe, threads=threads))
