"""finder: what is found before a fit on steps that are thrown away: a batch size, a peak rate.

Each has its own line on the receipt, with what it cost. What was found is written into the recipe
before step 0, so that a repeat of the record does not look for it again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import UserError
from shoestring.core.listener import Listener
from shoestring.core.placement import Placement
from shoestring.core.run import Recipe, Run
from shoestring.engine.apply import noted
from shoestring.engine.device import wait
from shoestring.engine.loop import TIMED, Feeds, Loop, hooks_of
from shoestring.engine.schedule import WARM_UP

SHARE = 0.05  # of the seconds left, at most, for each search
LOWEST, HIGHEST = 1e-5, 1.0  # learning rates that are tried
RATE_STEPS, FEWEST_RATE_STEPS = 120, 40  # from the lowest rate to the highest
SMOOTHING = 0.9  # of the loss over steps
DIVERGED = 2.0  # times the least loss, less the room below it: the test ends there
FALLEN = 0.5  # of the fall of the loss: the peak lies between the rates of this and of the least
TIMED_STEPS = 6  # of each batch size, after WARM_STEPS
WARM_STEPS = 2
PAYS = 1.1  # labels a second that a doubled batch must gain
FEWEST_BATCHES = 20  # of an epoch: larger batches leave too few steps to learn in
MEMORY_SHARE = 0.5  # of what is free, that twice the batch may take
FINDERS = ("batch", "rate")  # in the order in which they run: the rate is for a batch size


def found(run: Run, feeds: Feeds, budget: Budget, placement: Placement, listener: Listener) -> Run:
    """The run with what its techniques ask to find in its recipe, a receipt line for each."""
    wanted = {what for hook in hooks_of(run.recipe) for what in hook.finds}
    for what in sorted(wanted):
        if what not in FINDERS:
            raise UserError(f"there is no finder of {what!r}; there are: {', '.join(FINDERS)}")
    seconds = SHARE * budget.remaining()
    for what, find in zip(FINDERS, (_batch_size, _learning_rate), strict=True):
        if what in wanted:
            with budget.meter() as meter:
                answer = find(run, feeds, placement, meter, seconds)
            listener.say(answer.said)
            run = run.with_recipe(**answer.changes)
            run = noted(
                run, f"find {what}", cost=meter.cost, reason=answer.said, options=answer.shown
            )
    return run


@dataclass(frozen=True)
class Answer:
    """What a search came to."""

    said: str  # one sentence
    changes: dict[str, float | int]  # of the recipe; empty where nothing was found
    shown: dict[str, object]  # what was measured, for the receipt


# --- learning rate ------------------------------------------------------------------------------


def _learning_rate(
    run: Run, feeds: Feeds, placement: Placement, meter: Meter, seconds: float
) -> Answer:
    """The learning-rate range test of Smith 2017, "Cyclical learning rates for training neural
    networks": the rate climbs step by step on throw-away weights, and the loss tells when it is
    too high."""
    before = run.recipe.learning_rate
    trial = run.with_recipe(learning_rate=1.0, schedule="constant")
    loop, timed = Loop(trial, feeds, placement), _Seconds(placement.device)
    factor = math.prod(hook.learning_rate(WARM_UP) for hook in loop.hooks)
    for _ in range(WARM_STEPS):
        _stepped(loop, 0.0, meter)
    began = timed()
    _stepped(loop, 0.0, meter)
    step_seconds = timed() - began
    seconds, step_seconds = placement.told([seconds, step_seconds])
    steps = RATE_STEPS
    if math.isfinite(seconds):
        steps = min(steps, int(seconds / max(step_seconds, 1e-6)))
    if steps < FEWEST_RATE_STEPS:
        said = (
            f"find=rate was skipped: it takes {FEWEST_RATE_STEPS} steps of {step_seconds:.2f} s "
            f"and may take {max(0.0, seconds):.1f} s; the rate stays {before:g}"
        )
        return Answer(said, {}, {})
    loop = Loop(trial, feeds, placement)
    rates = climbing(steps)
    losses: list[float] = []
    for rate in rates:
        losses.append(_stepped(loop, rate / factor, meter))
        if diverged(losses):
            break
    peak, why = suggested(rates, losses)
    shown: dict[str, object] = {
        "steps": len(losses),
        "rates": [float(f"{r:.3g}") for r in rates[: len(losses)]],
        "losses": [round(x, 4) if math.isfinite(x) else None for x in losses],
    }
    if peak is None:
        return Answer(f"find=rate found none: {why}; the rate stays {before:g}", {}, shown)
    peak = float(f"{peak:.2g}")
    return Answer(
        f"the range test ({len(losses)} steps) found a peak rate of {peak:g} in place of "
        f"{before:g}: {why}",
        {"learning_rate": peak},
        shown,
    )


def climbing(steps: int) -> list[float]:
    """Rates from the lowest to the highest, each a constant factor above the last."""
    return [LOWEST * (HIGHEST / LOWEST) ** (i / (steps - 1)) for i in range(steps)]


def smoothed(losses: Sequence[float]) -> list[float]:
    """A moving average that is not drawn to zero at its beginning (as Adam's means are not)."""
    mean, found = 0.0, []
    for i, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**i))
    return found


def diverged(losses: Sequence[float]) -> bool:
    """Whether the last loss shows that the rate is far too high."""
    if not math.isfinite(losses[-1]):
        return True
    curve = smoothed(losses)
    return len(curve) > 10 and curve[-1] > DIVERGED * max(min(curve), 0.1 * curve[0])


def suggested(rates: Sequence[float], losses: Sequence[float]) -> tuple[float | None, str]:
    """The peak rate that a range test's losses suggest, or None, and why."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 10:
        return None, f"the loss was not finite after {len(finite)} steps"
    curve = smoothed(finite)
    least = min(range(len(curve)), key=curve.__getitem__)
    if curve[least] > 0.98 * curve[0]:
        return None, (
            f"the loss never fell ({curve[0]:.3g} at first, {curve[least]:.3g} at the least)"
        )
    half = curve[0] - FALLEN * (curve[0] - curve[least])
    first = next(i for i, loss in enumerate(curve) if loss <= half)
    # The average lags behind by half of the steps that it spans. Under a rate that climbs and
    # falls, 0.3 to 1 times the rate of the least loss were best for pictures and 0.1 to 0.2 for
    # an LSTM over words, which falls for long by learning what is frequent; the mean serves both.
    lag = round(SMOOTHING / (1 - SMOOTHING) / 2)
    low, high = (rates[max(0, i - lag)] for i in (first, least))
    return math.sqrt(low * high), (
        f"the loss fell from {curve[0]:.3g} to {curve[least]:.3g}, half of it by {low:.2g} and all "
        f"of it by {high:.2g}" + (", and rose after that" if least < len(curve) - 3 else "")
    )


def _stepped(loop: Loop, rate: float, meter: Meter) -> float:
    """The loss of a throw-away step at a rate; progress where schedules are at their peak."""
    stepped = loop.step(WARM_UP, rate)
    meter.count(steps=1, examples=stepped.examples, labels=stepped.labels)
    return float(stepped.loss)


class _Seconds:
    """A clock that waits for the device."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self) -> float:
        wait(self._device)
        return time.perf_counter()


# --- batch size ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A batch size on throw-away steps."""

    batch_size: int
    labels_per_second: float  # 0 where it did not fit
    batches: int  # of an epoch


def _batch_size(
    run: Run, feeds: Feeds, placement: Placement, meter: Meter, seconds: float
) -> Answer:
    """The largest batch that fits and still pays: doubled while each doubling gives PAYS times
    the labels a second, and an epoch keeps FEWEST_BATCHES of them. The rate follows it by the
    square root, or in proportion for plain gradient descent (Goyal et al. 2017; Malladi et al.
    2022)."""
    began, recipe = time.perf_counter(), run.recipe
    if placement.workers > 1:
        # Where memory ends for one process, the others would wait for it for ever.
        raise UserError(
            "find=batch tries batches until one does not fit, which it does in one process alone; "
            "find the batch size without distribute, then give it with --batch-size"
        )

    starts = list[float]()

    def tried(batch_size: int) -> Tried:
        starts.append(time.perf_counter())
        return _timed(run.with_recipe(batch_size=batch_size), feeds, placement, meter)

    def may_go_on(last: Tried) -> str:
        now = time.perf_counter()
        used, next_one = now - began, 2 * (now - starts[-1])
        if used + next_one > seconds:
            return f"{used:.1f} s were spent, of {seconds:.1f} s that it may take"
        if last.batches < 2 * FEWEST_BATCHES:
            return f"twice that leaves fewer than {FEWEST_BATCHES} batches an epoch"
        return _memory_says(placement.device)

    best, all_tried, why = searched(recipe.batch_size or 1, tried, may_go_on)
    shown: dict[str, object] = {
        "labels_per_second": {
            str(t.batch_size): round(t.labels_per_second) or "did not fit" for t in all_tried
        }
    }
    if best is None:
        raise UserError(
            f"find=batch: not even one batch of {all_tried[-1].batch_size} fits the memory of "
            f"{placement.device}; take a smaller network, or smaller examples"
        )
    before = recipe.batch_size or 1
    if best.batch_size == before:
        said = f"find=batch keeps {before}: {why}"
        return Answer(said, {}, shown)
    changes = _changes(recipe, best.batch_size)
    said = f"find=batch found {best.batch_size} in place of {before}: {why}"
    if "learning_rate" in changes:
        said += f"; the rate follows it to {changes['learning_rate']:g}"
    return Answer(said, changes, shown)


def _changes(recipe: Recipe, batch_size: int) -> dict[str, float | int]:
    changes: dict[str, float | int] = {"batch_size": batch_size}
    if recipe.learning_rate is not None:
        times = batch_size / (recipe.batch_size or 1)
        power = 1.0 if recipe.optimizer == "sgd" else 0.5
        changes["learning_rate"] = float(f"{recipe.learning_rate * times**power:.3g}")
    return changes


def searched(
    first: int, tried: Callable[[int], Tried], may_go_on: Callable[[Tried], str]
) -> tuple[Tried | None, list[Tried], str]:
    """The best batch size (None where none fits), all that were tried, and why no other.
    `may_go_on` says what speaks against twice a batch that was tried; nothing: go on."""
    every = [tried(first)]
    best = every[0]
    if not best.labels_per_second:
        while best.batch_size > 1 and not best.labels_per_second:
            best = tried(best.batch_size // 2)
            every.append(best)
        fits = bool(best.labels_per_second)
        return (best if fits else None), every, f"{every[-2 if fits else -1].batch_size} do not fit"
    while not (why := may_go_on(best)):
        larger = tried(2 * best.batch_size)
        every.append(larger)
        if not larger.labels_per_second:
            return best, every, f"{larger.batch_size} do not fit"
        gain = larger.labels_per_second / best.labels_per_second
        if gain < PAYS:
            return (
                best,
                every,
                (
                    f"{larger.batch_size} would give {gain:.2f} times the labels a second, "
                    f"which does not pay"
                ),
            )
        best = larger
    return best, every, why


def _timed(run: Run, feeds: Feeds, placement: Placement, meter: Meter) -> Tried:
    """A batch size on throw-away steps; the second best of their times stands, for a busy machine
    disturbs some of them."""
    recipe, clock = run.recipe, _Seconds(placement.device)
    batch_size = recipe.batch_size or 1
    batches = len(feeds.train.order(batch_size, recipe.seed, 0))
    rates = []
    try:
        loop = Loop(run, feeds, placement)
        for number in range(WARM_STEPS + TIMED_STEPS):
            began = clock()
            stepped = loop.step(TIMED, 0.0)
            meter.count(steps=1, examples=stepped.examples, labels=stepped.labels)
            if number >= WARM_STEPS:
                rates.append(stepped.labels / max(clock() - began, 1e-9))
    except (torch.OutOfMemoryError, MemoryError):
        return Tried(batch_size, 0.0, batches)
    except RuntimeError as error:  # what torch's allocator on the CPU raises
        if "allocate memory" not in str(error):
            raise
        return Tried(batch_size, 0.0, batches)
    return Tried(batch_size, sorted(rates)[-2], batches)


def _memory_says(device: str) -> str:
    """What speaks against twice the batch on a CPU, which is killed and not told where memory
    ends: this process may come to twice its size. Other devices say so themselves."""
    if device != "cpu":
        return ""
    free, resident = _memory()
    if resident > MEMORY_SHARE * free:
        return f"the process holds {resident / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    return ""


def _memory() -> tuple[float, float]:
    """(free bytes of this machine, resident bytes of this process); (inf, 0) where the system
    does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return float(lines["MemAvailable"].split()[0]) * 1024, float(resident)
    except (OSError, KeyError, ValueError, IndexError):
        return math.inf, 0.0
