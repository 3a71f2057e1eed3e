"""pacing: turns a budget in seconds into a recorded number of steps, and keeps to it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import torch

from shoestring.core.budget import Budget
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset, Placement
from shoestring.core.run import PlanChange, Run
from shoestring.engine import schedule, store
from shoestring.engine.device import PRECISIONS, default_threads
from shoestring.engine.loop import Loop

# Between checkpoints on disk, at the least. Tests of killed processes want one at every look.
CHECKPOINT_SECONDS = float(os.environ.get("SHOESTRING_CHECKPOINT_SECONDS", "10"))
TRIAL_STEPS = 3  # thrown away before timing: first calls choose kernels and allocate
TRIAL_SHARE = 0.02  # of the budget, for each precision tried
TRIAL_SECONDS = 1.0  # and at most this long
EVALUATION_SHARE = 0.04  # of a fit, spent on looking at the validation split
MARGIN = 0.02  # of the fit's seconds, kept back against noise
AFTER_SECONDS = 2.5  # export, and the process that grades: start, graphs, latency, card
AFTER_EVALUATIONS = 4.0  # looks' worth of float32 passes over validation after the fit
MAX_EPOCHS = 300.0  # a budget that gives more gives the rest back: nothing is left to learn
DEFAULT_EPOCHS = 10  # where neither steps nor epochs nor a budget was said
FEW_STEPS = 50  # below it nothing much is learnt
FASTER = 1.05  # by how much a lower precision must win


def planned(
    run: Run, dataset: Dataset, budget: Budget, placement: Placement, listener: Listener
) -> Run:
    """The run with precision, steps and evaluations decided and the plan's first line written.

    Steps that were asked for are taken; epochs are counted in batches; a budget is divided by
    the rate of steps that are thrown away.
    """
    recipe = run.recipe
    asked_threads = recipe.threads
    recipe = replace(recipe, threads=asked_threads or default_threads())
    step_seconds = evaluation_seconds = 0.0
    measured = recipe.precision is None or budget.seconds is not None
    if measured:
        listener.say("measuring the rate on throw-away steps")
        trial = _fastest(replace(run, recipe=recipe), dataset, budget, placement, asked_threads)
        loop, step_seconds = trial.loop, trial.step_seconds
        recipe = replace(recipe, precision=trial.precision, threads=trial.threads)
        if budget.seconds is not None:
            began = time.perf_counter()
            loop.evaluate()
            evaluation_seconds = time.perf_counter() - began
    else:
        loop = Loop(replace(run, recipe=recipe), dataset, placement)
    per_epoch = len(loop.train.order(recipe.batch_size or 1, recipe.seed, 0))
    asked = recipe.steps
    if asked is None and recipe.epochs is not None:
        asked = max(1, round(recipe.epochs * per_epoch))
    steps, reason = asked or DEFAULT_EPOCHS * per_epoch, "as asked"
    looks = min(20.0, max(1.0, steps / per_epoch))  # one an epoch
    if asked is None:
        reason = f"{DEFAULT_EPOCHS} epochs, for want of a budget"
    if budget.seconds is not None:
        left = fit_seconds(budget, evaluation_seconds)
        looks = max(1.0, EVALUATION_SHARE * left / max(evaluation_seconds, 1e-3), left / 60)
        looks = min(looks, 50.0)
        affordable = int((left - looks * evaluation_seconds) * (1 - MARGIN) / step_seconds)
        wanted, reason = (
            (asked, "as asked")
            if asked
            else (
                round(MAX_EPOCHS * per_epoch),
                f"{MAX_EPOCHS:.0f} epochs are enough",
            )
        )
        steps = min(wanted, affordable)
        if affordable < wanted:
            reason = f"{left:.1f} s for the fit at {1 / step_seconds:.1f} steps a second"
    steps = max(1, steps)
    if steps < FEW_STEPS and steps < (asked or FEW_STEPS):
        listener.say(
            f"the budget gives {steps} steps, {steps / per_epoch:.2f} of an epoch: expect little"
        )
    every = recipe.evaluate_every or max(1, -(-steps // round(looks)))
    recipe = replace(recipe, evaluate_every=every, plan=(PlanChange(0, steps, reason),))
    return replace(run, recipe=recipe)


@dataclass(frozen=True)
class Trial:
    """What some steps that are thrown away showed."""

    loop: Loop
    precision: str
    threads: int
    step_seconds: float


def _fastest(
    run: Run, dataset: Dataset, budget: Budget, placement: Placement, threads: int | None
) -> Trial:
    """The fastest precision, and one thread where that is faster still: beside other work, threads
    that wait for each other at every operation can be many times slower than one."""

    def tried(precision: str, threads: int) -> Trial:
        torch.set_num_threads(threads)
        loop = Loop(run.with_recipe(precision=precision, threads=threads), dataset, placement)
        return Trial(loop, precision, threads, seconds_a_step(loop, budget))

    all_threads = run.recipe.threads or 1
    if run.recipe.precision is not None:
        best = tried(run.recipe.precision, all_threads)
    else:
        trials = [tried(precision, all_threads) for precision in PRECISIONS]
        best = min(
            trials, key=lambda t: t.step_seconds * (1 if t.precision == "float32" else FASTER)
        )
    if threads is None and all_threads > 1 and placement.device == "cpu":
        single = tried(best.precision, 1)
        if single.step_seconds < best.step_seconds:
            best = single
    torch.set_num_threads(best.threads)
    return best


def fit_seconds(budget: Budget, evaluation_seconds: float) -> float:
    """What of the budget's rest the fit may use; the rest is for what comes after it."""
    after = AFTER_SECONDS + AFTER_EVALUATIONS * evaluation_seconds
    return max(0.0, budget.remaining() - after)


def seconds_a_step(loop: Loop, budget: Budget) -> float:
    """Seconds a step of a loop that is thrown away afterwards."""
    limit = min(TRIAL_SECONDS, max(0.0, budget.remaining()) * TRIAL_SHARE)
    began = time.perf_counter()
    for _ in range(TRIAL_STEPS):
        loop.step(0.0, 0.0)
        if time.perf_counter() - began > limit:
            break
    _wait(loop.placement.device)
    began, steps = time.perf_counter(), 0
    while steps < 1 or time.perf_counter() - began < limit:
        loop.step(0.0, 0.0)
        steps += 1
    _wait(loop.placement.device)
    return (time.perf_counter() - began) / steps


class Pace:
    """Watches the clock during a fit and shortens the plan, in writing, before it would overrun."""

    def __init__(self, run: Run, budget: Budget) -> None:
        self.plan = run.recipe.plan
        self._budget = budget
        self._step_seconds = 0.0
        self._evaluation_seconds = 0.0
        self._every = run.recipe.evaluate_every or 0
        self._checked = time.monotonic()

    def stepped(self, seconds: float) -> None:
        """Notes the seconds of a step: a mean that forgets over about 30 steps."""
        old = self._step_seconds or seconds
        self._step_seconds = old + (seconds - old) / 30

    def evaluated(self, seconds: float) -> None:
        self._evaluation_seconds = seconds

    def seconds_left(self, step: int) -> float:
        """What the rest of the fit will take at the present rate."""
        left = schedule.total_steps(self.plan, step) - step
        looks = -(-left // self._every) if self._every else 0
        return left * self._step_seconds + looks * self._evaluation_seconds

    def kept(self, run: Run, step: int) -> Run:
        """The run, with a shorter plan where the present rate would overrun the budget."""
        if self._budget.seconds is None or self._step_seconds == 0.0:
            return run
        now = time.monotonic()
        if now - self._checked < 0.5 and self._budget.remaining() > 2 * self._step_seconds:
            return run
        self._checked = now
        left = fit_seconds(self._budget, self._evaluation_seconds)
        if self.seconds_left(step) <= left:
            return run
        looks = left / max(1e-9, self._every * self._step_seconds + self._evaluation_seconds)
        affordable = (left - min(looks, 1.0) * self._evaluation_seconds) / self._step_seconds
        rest = schedule.total_steps(self.plan, step) - step
        last = step + max(1, min(rest, int(affordable * self._pure())))
        if last >= step + rest:
            return run
        reason = f"{left:.1f} s left at {1 / self._step_seconds:.1f} steps a second"
        return self.change(run, PlanChange(step, last, reason))

    def _pure(self) -> float:
        """The share of a fit's seconds that goes into steps, the rest into looks."""
        steps = self._every * self._step_seconds
        return steps / (steps + self._evaluation_seconds) if steps else 1.0

    def change(self, run: Run, change: PlanChange) -> Run:
        """Writes a change of the plan down, and only then lets it take effect."""
        plan = (*(c for c in run.recipe.plan if c.at_step <= change.at_step), change)
        run = run.with_recipe(plan=plan)
        store.write_started(run)
        self.plan = plan
        return run


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
