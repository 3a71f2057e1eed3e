"""fit: the only training loop.

It knows batches, steps, hooks and a placement; it asks nobody which task or technique it runs.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch

from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import Interrupted, RunError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset, Placement
from shoestring.core.run import PlanChange, Run
from shoestring.engine import pacing, schedule, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Loop

MAX_ROLLBACKS = 5
COOL_DOWN = 0.1  # of the planned steps, once a hook asked to stop
SPENT_SECONDS = 2.0  # between two notes of the seconds used, for whoever resumes
FIRST_LOSS_FACTOR = 4.0  # times log(classes): above it the initial weights are badly scaled


def fit(
    run: Run,
    dataset: Dataset,
    budget: Budget,
    placement: Placement,
    meter: Meter,
    listener: Listener,
    interrupt: Interrupt,
    log_every: int | None = None,
) -> tuple[Run, dict[str, torch.Tensor]]:
    """Trains what the recipe says and returns the run with its curve and the best weights.

    Goes on from the checkpoint in the run's folder where there is one. Raises Interrupted after
    saving when asked to stop, RunError when the loss stays non-finite.
    """
    if not run.recipe.plan:
        run = pacing.planned(run, dataset, budget, placement, listener)
        store.write_started(run)
    torch.set_num_threads(run.recipe.threads or torch.get_num_threads())
    loop = Loop(run, dataset, placement)
    pace = pacing.Pace(run, budget)
    file = run.path / store.CHECKPOINT
    if file.exists():
        loop.restore(*placement.load(file))
        listener.say(f"resumed at step {loop.progress.step}")
        store.rewrite_lines(run.path / store.METRICS, loop.progress.curve)
    log = Log(loop, pace, listener, log_every)
    safe = loop.snapshot()
    written = noted = time.monotonic()
    while loop.progress.step < schedule.total_steps(pace.plan, loop.progress.step):
        p = loop.progress
        if interrupt.asked:
            _checkpoint(loop, run, budget, placement, listener, loop.snapshot())
            raise Interrupted(
                f"stopped at step {p.step} of {schedule.total_steps(pace.plan, p.step)}; "
                f"go on with: shoestring train --resume {run.path}"
            )
        run = pace.kept(run, p.step)
        began = time.perf_counter()
        loss, size = loop.step(
            schedule.progress(pace.plan, p.step), schedule.rate_factor(pace.plan, p.step)
        )
        if not log.step(loss):
            loop.restore(*safe)
            run = _rolled_back(loop, run, pace)
            continue
        pace.stepped(time.perf_counter() - began)
        meter.count(steps=1, examples=size)
        total = schedule.total_steps(pace.plan, p.step)
        if p.step % (run.recipe.evaluate_every or total) == 0 or p.step >= total:
            began = time.perf_counter()
            line = loop.evaluate()
            spent = time.perf_counter() - began
            pace.evaluated(spent)
            meter.count(evaluation_seconds=spent)
            listener.evaluation(p.step, total, line["quality"], line["validation_loss"])
            store.append_lines(run.path / store.METRICS, [line])
            stop = placement.agree(any(h.should_stop(p.curve, loop.tensors) for h in loop.hooks))
            if stop and not any(change.reason == "should_stop" for change in pace.plan):
                last = min(total, p.step + max(1, round(COOL_DOWN * pace.plan[0].total_steps)))
                run = pace.change(run, PlanChange(p.step, last, "should_stop"))
            safe = loop.snapshot()
            if time.monotonic() - written > pacing.CHECKPOINT_SECONDS and p.step < total:
                _checkpoint(loop, run, budget, placement, listener, safe)
                written = time.monotonic()
        if time.monotonic() - noted > SPENT_SECONDS:
            store.write_spent(run.path, budget.elapsed())
            noted = time.monotonic()
    run = replace(run, architecture=loop.architecture, curve=tuple(loop.progress.curve))
    return run, loop.best or loop.evaluation_weights()


def _checkpoint(
    loop: Loop,
    run: Run,
    budget: Budget,
    placement: Placement,
    listener: Listener,
    snapshot: tuple[dict[str, torch.Tensor], dict[str, Any]],
) -> None:
    """Writes a checkpoint. A disk that is full costs the checkpoint, not the fit."""
    try:
        placement.save(*snapshot, run.path / store.CHECKPOINT)
        store.write_spent(run.path, budget.elapsed())
    except RunError as error:
        listener.say(f"no checkpoint at step {loop.progress.step}: {error}")


def _rolled_back(loop: Loop, run: Run, pace: pacing.Pace) -> Run:
    """The run with half the rate from the last safe point on, where the loop stands again. A
    replay of the record takes the halved rate there at once and never meets the bad step."""
    step = loop.progress.step
    times = 1 + sum(change.rate_factor < 1 for change in pace.plan)
    if times > MAX_ROLLBACKS:
        raise RunError(
            f"the loss was not finite {times} times, last after step {step}, though the learning "
            f"rate was halved each time; look for NaN in the data, or begin with a smaller "
            f"--learning-rate than {run.recipe.learning_rate}"
        )
    loop.progress.rollbacks += 1
    total = schedule.total_steps(pace.plan, step)
    return pace.change(run, PlanChange(step, total, "loss not finite", rate_factor=0.5))


class Log:
    """Means of loss and accuracy between two lines, and the checks that need a loss as a number."""

    def __init__(
        self, loop: Loop, pace: pacing.Pace, listener: Listener, log_every: int | None
    ) -> None:
        self.loop, self.pace, self.listener = loop, pace, listener
        self.every = log_every or 100
        self._on_host = loop.placement.device == "cpu"
        self._before = torch.zeros(3, dtype=torch.float64)
        self._began = time.perf_counter()

    def step(self, loss: torch.Tensor) -> bool:
        """Whether the loss is still finite. A device is asked only when a line is due, so that it
        need not be waited for at every step."""
        p = self.loop.progress
        due = p.step % self.every == 0
        if not (self._on_host or due or p.step == 1):
            return True
        if not math.isfinite(float(loss)) or not math.isfinite(float(self.loop.sums[0])):
            return False
        if p.step == 1:
            self._first(float(loss))
        if due:
            sums = self.loop.sums.cpu().clone()
            if float(sums[2]) < float(self._before[2]):  # rolled back since
                self._before = torch.zeros(3, dtype=torch.float64)
            loss_sum, right, labels = (float(x) for x in sums - self._before)
            seconds = time.perf_counter() - self._began
            total = schedule.total_steps(self.pace.plan, p.step)
            left = self.pace.seconds_left(p.step)
            mean, accuracy = loss_sum / max(1.0, labels), right / max(1.0, labels)
            self.listener.step(p.step, total, left, mean, accuracy, labels / max(seconds, 1e-9))
            self._before, self._began = sums, time.perf_counter()
        return True

    def _first(self, loss: float) -> None:
        """Says so when the fit starts far above a guess."""
        classes = self.loop.classes
        if classes > 1 and loss > FIRST_LOSS_FACTOR * math.log(classes):
            self.listener.say(
                f"the first loss is {loss:.3g}, far above log({classes}) = "
                f"{math.log(classes):.3g} of a guess: the initial weights or the input's scale "
                f"are off, and the fit will be slow or fail"
            )
