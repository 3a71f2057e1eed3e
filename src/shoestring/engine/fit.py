"""fit: the only training loop.

It knows batches, steps, hooks and a placement; it asks nobody which task or technique it runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shoestring.core.budget import Budget, Cost, Meter
from shoestring.core.errors import Interrupted, RunError
from shoestring.core.listener import Listener, Look
from shoestring.core.placement import Placement
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import PlanChange, Run
from shoestring.core.techniques import Interrupting
from shoestring.engine import events, finder, pacing, schedule, store
from shoestring.engine.apply import noted
from shoestring.engine.loop import Feeds, Loop

Snapshot = tuple[dict[str, torch.Tensor], dict[str, Any]]
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
    interrupt: Interrupting,
    log_every: int | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> tuple[Run, dict[str, torch.Tensor]]:
    """Trains what the recipe says and returns the run with its curve and the best weights.

    Goes on from the checkpoint in the run's folder where there is one; `weights` are what a fit
    begins with instead of random ones, in the names of the run's architecture. Raises Interrupted
    after saving when asked to stop, RunError when the loss stays non-finite.
    """
    feeds, looks = Feeds.of(run, dataset, placement), pacing.Looks.of(run, budget)
    fresh = not run.recipe.plan
    if fresh:
        run = finder.found(run, feeds, budget, placement, listener)
        run, looks = pacing.planned(run, feeds, budget, placement, listener)
    torch.set_num_threads(run.recipe.threads or torch.get_num_threads())
    loop = Loop(run, feeds, placement, weights)
    run = _begun(run, loop, listener)
    if fresh and placement.lead:
        store.write_started(run)
    notes = Notes(run.path, loop, budget, meter, placement, listener)
    safe = notes.resumed()
    pace = pacing.Pace(run, budget, looks, placement)
    log = Log(loop, pace, listener, log_every)
    while loop.progress.step < schedule.total_steps(pace.plan, loop.progress.step):
        p = loop.progress
        if placement.stops(interrupt.asked):
            notes.stopped(safe)
            raise Interrupted(
                f"stopped at step {p.step} of {schedule.total_steps(pace.plan, p.step)}; "
                f"go on with: shoestring train --resume {run.path}"
            )
        run = pace.kept(run, p.step)
        stepped = loop.step(
            schedule.progress(pace.plan, p.step), schedule.rate_factor(pace.plan, p.step)
        )
        if not log.step(stepped.loss):
            loop.restore(*safe)
            run = _rolled_back(loop, run, pace)
            continue
        pace.stepped()
        meter.count(steps=1, examples=stepped.examples, labels=stepped.labels)
        total = schedule.total_steps(pace.plan, p.step)
        if p.step % (run.recipe.evaluate_every or total) == 0 or p.step >= total:
            began = time.perf_counter()
            line = loop.evaluate()
            spent = time.perf_counter() - began
            pace.evaluated(spent, loop.looked_share)
            meter.count(evaluation_seconds=spent)
            if not math.isfinite(line["validation_loss"] + line["train_loss"]):
                loop.restore(*safe)
                run = _rolled_back(loop, run, pace)
                continue
            listener.evaluation(_look(line, total, loop.task.metric))
            stop = placement.agree(any(h.should_stop(p.curve, loop.tensors) for h in loop.hooks))
            if stop and not any(change.reason == "should_stop" for change in pace.plan):
                last = min(total, p.step + max(1, round(COOL_DOWN * pace.plan[0].total_steps)))
                run = pace.change(run, PlanChange(p.step, last, "should_stop"))
            safe = loop.snapshot()
            notes.looked(line, safe)
        notes.ticked()
    notes.ended(safe)
    run = replace(run, architecture=loop.architecture, curve=tuple(loop.progress.curve))
    return run, loop.result()


def _begun(run: Run, loop: Loop, listener: Listener) -> Run:
    """The run with a line for what it begins with; a resumed one has it already."""
    known = {receipt.reason for receipt in run.receipts}
    fresh = [line for line in loop.beginnings if line not in known]
    for line in fresh:
        listener.say(line)
        run = noted(run, "start", reason=line)
    return run


def _look(line: Plain, total: int, metric: str) -> Look:
    return Look(
        step=line["step"],
        total=total,
        epoch=line["epoch"],
        train_loss=line["train_loss"],
        metric=metric,
        quality=line["quality"],
        loss=line["validation_loss"],
    )


class Notes:
    """What a fit writes while it goes on: checkpoints, the curve, the seconds used. A disk that
    is full costs the notes and not the fit, which says so once."""

    def __init__(
        self,
        folder: Path,
        loop: Loop,
        budget: Budget,
        meter: Meter,
        placement: Placement,
        listener: Listener,
    ) -> None:
        self.folder, self.loop, self.placement = folder, loop, placement
        self.budget, self.meter, self.listener = budget, meter, listener
        self.before = store.read_spent(folder).cost  # by processes that went before this one
        self._written = self._ticked = self._began = time.monotonic()
        self._told = False

    def resumed(self) -> Snapshot:
        """Puts the loop where a checkpoint left it, and returns where a rollback would go."""
        checkpoint, safe = self.folder / store.CHECKPOINT, self.folder / store.SAFE
        if store.stands(checkpoint):
            self.loop.restore(*self.placement.load(checkpoint))
            self.listener.say(f"resumed at step {self.loop.progress.step}")
        self.meter.cost += self.before
        self._write(
            lambda: store.rewrite_lines(self.folder / store.METRICS, self.loop.progress.curve)
        )
        self._write(lambda: events.rewrite(self.folder, self.loop.progress.curve))
        self._spent()
        return self.placement.load(safe) if store.stands(safe) else self.loop.snapshot()

    def looked(self, line: Plain, safe: Snapshot) -> None:
        self._write(lambda: store.append_lines(self.folder / store.METRICS, [line]))
        self._write(lambda: events.append(self.folder, [line]))
        if self._due(self._written):
            self._checkpoint(safe)

    def ticked(self) -> None:
        """Notes the seconds used, so that they count even if the process is killed."""
        if time.monotonic() - self._ticked > SPENT_SECONDS:
            self._spent()

    def stopped(self, safe: Snapshot) -> None:
        """Saves where the loop is, and apart from it where a rollback would go."""
        self._write(lambda: self.placement.save(*safe, self.folder / store.SAFE), shared=True)
        self._checkpoint(self.loop.snapshot(), keep_safe=True)

    def ended(self, safe: Snapshot) -> None:
        """A long fit is not repeated for a process killed while it exports."""
        if self._due(self._began):
            self._checkpoint(safe)

    def _due(self, since: float) -> bool:
        return self.placement.agree(time.monotonic() - since > pacing.CHECKPOINT_SECONDS)

    def _checkpoint(self, snapshot: Snapshot, *, keep_safe: bool = False) -> None:
        path = self.folder / store.CHECKPOINT
        self._write(lambda: self.placement.save(*snapshot, path), shared=True)
        if not keep_safe and self.placement.lead:
            store.drop(self.folder / store.SAFE)
        self._spent()
        self._written = time.monotonic()

    def _spent(self) -> None:
        cost = self.meter.cost + Cost(wall_seconds=time.monotonic() - self._began)
        spent = store.Spent(self.budget.elapsed(), self.budget.seconds, cost)
        self._write(lambda: store.write_spent(self.folder, spent))
        self._ticked = time.monotonic()

    def _write(self, work: Callable[[], None], *, shared: bool = False) -> None:
        """Does what the lead writes, or what all processes do together."""
        if not (shared or self.placement.lead):
            return
        try:
            work()
        except RunError as error:
            if not self._told:
                step = self.loop.progress.step
                self.listener.say(f"no checkpoint or note at step {step}: {error}")
            self._told = True


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
    total = pace.plan[-1].total_steps
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
