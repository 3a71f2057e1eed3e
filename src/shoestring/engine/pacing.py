"""pacing: turns a budget in seconds into a recorded number of steps, and keeps to it."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import torch

from shoestring.core.budget import Budget
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset, Placement
from shoestring.core.run import PlanChange, Run
from shoestring.engine import schedule, store
from shoestring.engine.device import PRECISIONS
from shoestring.engine.loop import Loop

# Between checkpoints on disk, at the least. Tests of killed processes want one at every look.
CHECKPOINT_SECONDS = float(os.environ.get("SHOESTRING_CHECKPOINT_SECONDS", "10"))
TRIAL_STEPS = 3  # thrown away before timing: first calls choose kernels and allocate
TRIAL_SHARE = 0.03  # of the budget, for each precision tried
TRIAL_SECONDS = 1.0  # and at most this long
EVALUATION_SHARE = 0.04  # of a fit, spent on looking at the validation split
MARGIN = 0.02  # of the fit's seconds, kept back against noise
AFTER_SECONDS = 2.0  # export, and the process that grades: start, graphs, latency, card
AFTER_EVALUATIONS = 4.0  # forward passes of validation after the fit: float32, bundle, golden
MAX_EPOCHS = 300.0  # a budget that gives more gives the rest back: nothing is left to learn
FASTER = 1.05  # by how much a lower precision must win


def planned(
    run: Run, dataset: Dataset, budget: Budget, placement: Placement, listener: Listener
) -> Run:
    """The run with precision, steps and evaluations decided and the plan's first line written.

    Steps that were asked for are taken; epochs are counted in batches; a budget is divided by
    the rate of steps that are thrown away.
    """
    recipe = run.recipe
    needs_rate = recipe.precision is None or (
        recipe.steps is None and (budget.seconds is not None or recipe.epochs is None)
    )
    step_seconds = evaluation_seconds = 0.0
    if needs_rate:
        listener.say("measuring the rate on throw-away steps")
        candidates = PRECISIONS if recipe.precision is None else (recipe.precision,)
        rates: dict[str, float] = {}
        for precision in candidates:
            loop = Loop(run.with_recipe(precision=precision), dataset, placement)
            rates[precision] = seconds_a_step(loop, budget)
        fastest = min(rates, key=lambda name: rates[name] * (FASTER if name != "float32" else 1.0))
        recipe = replace(recipe, precision=fastest)
        step_seconds = rates[fastest]
        if budget.seconds is not None:
            loop = Loop(run.with_recipe(precision=fastest), dataset, placement)
            began = time.perf_counter()
            loop.evaluate()
            evaluation_seconds = time.perf_counter() - began
    else:
        loop = Loop(run, dataset, placement)
    per_epoch = len(loop.train.order(recipe.batch_size or 1, recipe.seed, 0))
    asked = recipe.steps
    if asked is None and recipe.epochs is not None:
        asked = max(1, round(recipe.epochs * per_epoch))
    looks = 20.0
    if budget.seconds is not None and recipe.budget_seconds is not None:
        left = fit_seconds(budget, evaluation_seconds)
        looks = max(1.0, EVALUATION_SHARE * left / max(evaluation_seconds, 1e-3), left / 60)
        looks = min(looks, 50.0)
        affordable = int((left - looks * evaluation_seconds) * (1 - MARGIN) / step_seconds)
        steps = min(asked or affordable, affordable, round(MAX_EPOCHS * per_epoch))
        reason = (
            f"{left:.1f} s for the fit at {1 / step_seconds:.1f} steps a second"
            if steps == affordable
            else "as asked"
            if steps == asked
            else f"{MAX_EPOCHS:.0f} epochs are enough"
        )
    else:
        steps, reason = asked or 10 * per_epoch, "as asked" if asked else "10 epochs"
    steps = max(1, steps)
    if steps < per_epoch:
        listener.say(
            f"the budget gives {steps} steps, {steps / per_epoch:.2f} of an epoch: expect little"
        )
    every = recipe.evaluate_every or max(1, -(-steps // round(looks)))
    recipe = replace(recipe, evaluate_every=every, plan=(PlanChange(0, steps, reason),))
    return replace(run, recipe=recipe)


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
        self._budget = budget if run.recipe.budget_seconds is not None else Budget()
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
