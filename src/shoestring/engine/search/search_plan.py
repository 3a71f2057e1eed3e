"""search_plan: how many trials of which length a search has, over which ranges, in how many
processes; measured on steps that are thrown away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shoestring import plugins
from shoestring.core import jobs
from shoestring.core.budget import Budget
from shoestring.core.errors import RunError, Skipped, UserError
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.space import Range
from shoestring.engine import derive, device, pacing, store
from shoestring.engine.fits import LOOKS, Length
from shoestring.engine.loop import Feeds, Loop, hooks_of
from shoestring.engine.placement import Local
from shoestring.engine.pool import Halves
from shoestring.engine.search import space
from shoestring.engine.search.study import RUNGS, Stop
from shoestring.engine.search.trial import Search

# What a trial takes on average, in whole ones: of three trials one goes on to each longer rung, and
# a little more, for the first have nothing to be compared with.
MEAN_TRIAL = {"halving": 0.45, "hyperband": 0.75, "none": 1.0}
LONGEST_TRIAL = sum(RUNGS) / RUNGS[-1]
LEAST_STEPS = 10  # of the shortest fit of a trial
FEWEST_TRIALS = 4  # below which a search is not begun
MARGIN = 0.1  # of the search's seconds, for what is not steps
WORKER_SECONDS = 6.0  # until a process has loaded torch and the data
ALONE_SECONDS = 30.0  # of a search, below which further processes do not pay
MOST_WARM = 3  # runs whose values are tried first
FOUND = {"rate": "learning_rate", "batch": "batch_size"}  # by a finder before each fit


@dataclass(frozen=True)
class Asked:
    """What a person asks of a search."""

    trials: int = 30
    path: Path | None = None  # of a file with ranges; None: those of the task
    share: float = 0.6  # of the seconds left
    stop: Stop = "halving"
    leave: tuple[str, ...] = ()  # fields that stay as they are
    processes: int | None = None  # None: as many as there are cores
    checkpoints: int = 3
    warm: bool = True


def planned(run: Run, asked: Asked, budget: Budget) -> Search:
    """The search for a run whose recipe is complete, over data that lie on the desk. UserError for
    ranges that do not fit it, Skipped where the budget is too small for a search."""
    dataset = derive.dataset_of(run)
    bare = replace(run.with_recipe(then=(), open_test=False, plan=()), receipts=(), findings=())
    ranges = _ranges(bare, dataset, asked)
    network = plugins.task(run.task).network(str(run.recipe.network["kind"]))
    architecture = network.architecture(run.recipe.network, run.facts)
    there = space.standing(run.recipe, architecture, ranges)
    given = space.values_in(run.recipe, architecture, ranges)
    warm = warm_starts(run, ranges, given) if asked.warm else ()
    for path in warm:
        derive.listener().say(f"the search begins with the values of {path}")
    search = Search(
        bare,
        ranges,
        asked.trials,
        Length(),
        stop=asked.stop,
        checkpoints=asked.checkpoints,
        most=asked.processes,
        began_seconds=budget.elapsed(),
        asked_seconds=budget.seconds,
        warm_starts=warm,
        given=given if space.holds(ranges, there, given) else {},
        defaults=there,
    )
    if budget.seconds is not None:
        until = budget.elapsed() + asked.share * max(0.0, budget.remaining())
        search = replace(search, until_seconds=until)
    return _measured(search, dataset, asked, budget)


def moved(search: Search, run: Run, asked: Asked, budget: Budget) -> Search:
    """A search that goes on, in the run's folder of today, under the budget of today."""
    search = replace(search, run=replace(search.run, path=run.path))
    if budget.seconds == search.asked_seconds:
        return search
    until = None
    if budget.seconds is not None:
        until = search.began_seconds + asked.share * (budget.seconds - search.began_seconds)
    return replace(search, until_seconds=until, asked_seconds=budget.seconds)


# --- what is searched ----------------------------------------------------------------------------


def _ranges(run: Run, dataset: Dataset, asked: Asked) -> tuple[Range, ...]:
    """Those of the file, or those of the task but for what was decided, as far as they fit."""
    found = {FOUND[what] for hook in hooks_of(run.recipe) for what in hook.finds}
    if asked.path is not None:
        ranges = space.read(asked.path)
    else:
        usual = plugins.task(run.task).space(run.recipe, dataset)
        ranges = space.spared(usual, {*asked.leave, *found})
        if not ranges:
            raise UserError(
                "there is nothing left to search: every field of the usual space was decided; "
                "name ranges with search=FILE, or leave some of these open: "
                f"{', '.join(one.name for one in usual)}"
            )
    for one, where in space.placed(ranges, asked.path):
        for path in one.paths:
            if path in found:
                raise UserError(
                    f"{where}{path} is searched, and found before each fit by a technique of the "
                    "recipe; take one of them"
                )
        for value in _ends(one):
            try:
                _fits(run, one, value)
            except UserError as error:
                raise UserError(f"{where}{one.name} = {value}: {error}") from error
    return ranges


def _ends(one: Range) -> tuple[object, ...]:
    return one.choices or (one.value(one.low), one.value(one.high))


def _fits(run: Run, one: Range, value: object) -> None:
    """Raises UserError where the network, or a technique, does not take the value."""
    recipe = space.with_values(run, (one,), {one.name: value}).recipe
    task = plugins.task(run.task)
    task.network(str(recipe.network["kind"])).architecture(recipe.network, run.facts)


def warm_starts(run: Run, ranges: Sequence[Range], given: Plain) -> tuple[str, ...]:
    """The best finished runs beside this one, on the same data, whose recipes come to something
    else than the defaults within these ranges."""
    found = []
    for folder in sorted(run.path.parent.iterdir()):
        if folder == run.path or not (folder / store.RUN).is_file():
            continue
        try:
            other = store.read(folder)
        except RunError:  # of a newer version, or damaged: it is no help here
            continue
        alike = other.task == run.task and other.recipe.fingerprint == run.recipe.fingerprint
        # A network of another kind means something else by its options.
        kinds = [r.recipe.network.get("kind") for r in (run, other)]
        if not alike or kinds[0] != kinds[1] or other.scores is None:
            continue
        values = space.values_in(other.recipe, other.architecture or {}, ranges)
        if values and values != given:
            found.append((other.scores.quality or 0.0, str(folder), values))
    best: list[str] = []
    told: list[object] = []
    for _, path, values in sorted(found, key=lambda entry: (-entry[0], entry[1])):
        if values not in told and len(best) < MOST_WARM:
            best.append(path)
            told.append(values)
    return tuple(best)


# --- how long ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rates:
    """What parts of a trial with the defaults take, in seconds."""

    step: float
    look: float
    start: float  # of a fit, before its first step


def _measured(search: Search, dataset: Dataset, asked: Asked, budget: Budget) -> Search:
    """The search with processes, precision and the length of a trial decided."""
    run, recipe = search.run, search.run.recipe
    seconds = None if search.until_seconds is None else search.until_seconds - budget.elapsed()
    processes = _processes(search, asked, seconds)
    threads = recipe.threads
    if processes > 1:
        threads = threads or 1
    place, halves = Local(recipe.device), Halves.of(dataset)
    store.keep(run.path, dataset.files)
    with device.settled(threads or device.default_threads()):
        feeds = Feeds.of(run, halves.dataset, place)
        run = run.with_recipe(threads=threads)
        if recipe.precision is None or threads is None:
            fastest = pacing.fastest(run, feeds, Budget(seconds), place)
            run = run.with_recipe(precision=fastest.precision, threads=fastest.threads)
        began = time.perf_counter()
        loop = Loop(run, Feeds.of(run, halves.dataset, place), place)
        start = time.perf_counter() - began
        step = pacing.seconds_a_step(loop, Budget(seconds))
        began = time.perf_counter()
        loop.evaluate()
        rates = _Rates(step, time.perf_counter() - began, start)
        epoch = pacing.steps_of(run.recipe, feeds, 1.0)
    search = replace(search, run=run, processes=processes, look_seconds=rates.look)
    if search.until_seconds is None:
        return _by_steps(search, asked, epoch)
    return _by_seconds(search, asked, search.until_seconds - budget.elapsed(), rates, budget)


def _processes(search: Search, asked: Asked, seconds: float | None) -> int:
    """One for each core, where there are several, and long enough for them to start."""
    pool = jobs.pool()
    if pool is not None:
        side_by_side = pool.size(search.run.recipe.threads or 1)
        return max(1, min(asked.processes or side_by_side, search.trials))
    if asked.processes is not None:
        return asked.processes
    if search.run.recipe.device != "cpu" or (seconds is not None and seconds < ALONE_SECONDS):
        return 1
    allowed = device.default_threads()
    return max(1, min(allowed // (search.run.recipe.threads or 1), search.trials))


def _by_steps(search: Search, asked: Asked, epoch: int) -> Search:
    """Trials that together take the share of all steps, where no seconds were said. None is longer
    than the fit that follows, or shorter than what can be told apart."""
    recipe = search.run.recipe
    part = asked.share / (1 - asked.share) / (asked.trials * MEAN_TRIAL[asked.stop])
    least = RUNGS[-1] * LEAST_STEPS
    if recipe.steps is not None:
        steps = min(recipe.steps, max(least, round(recipe.steps * part)))
        return replace(search, length=Length(steps=steps))
    epochs = pacing.DEFAULT_EPOCHS if recipe.epochs is None else recipe.epochs
    return replace(search, length=Length(epochs=min(epochs, max(least / epoch, epochs * part))))


def _by_seconds(
    search: Search, asked: Asked, seconds: float, rates: _Rates, budget: Budget
) -> Search:
    """Trials that fill the seconds: fewer of them where they would be too short to learn in."""
    mean = MEAN_TRIAL[asked.stop]
    least = RUNGS[-1] * LEAST_STEPS * rates.step + LOOKS * rates.look
    beside = (rates.start + rates.look) * (1 if asked.stop == "none" else 1.5)
    work = seconds * (1 - MARGIN)
    if search.processes > 1:
        work = max(0.0, work - WORKER_SECONDS) * search.processes
    # The first trial is always a whole one.
    affordable = int((work - LONGEST_TRIAL * least - beside) / (mean * least + beside))
    if affordable < FEWEST_TRIALS - 1:
        needed = (FEWEST_TRIALS * (mean * least + beside) + LONGEST_TRIAL * least) / (1 - MARGIN)
        needed += WORKER_SECONDS * (search.processes > 1)
        enough = math.ceil(1.2 * needed / asked.share)
        raise Skipped(
            f"the search has {max(0.0, seconds):.1f} s, and {FEWEST_TRIALS} trials would take "
            f"about {needed:.1f} s; give a budget of {enough} s or more"
        )
    trials = min(asked.trials, affordable + 1)
    notes = search.notes
    if trials < asked.trials:
        note = f"the seconds were enough for {trials} of the {asked.trials} trials asked for"
        derive.listener().say(note)
        notes += (note,)
    whole = (work - trials * beside) / ((trials - 1) * mean + LONGEST_TRIAL)
    following = max(0.0, budget.remaining() - seconds)  # a trial as long as the fit is long enough
    whole = max(least, min(whole, following))
    first = whole / RUNGS[-1] + rates.start + rates.look
    if asked.stop == "none":
        first = whole
    return replace(
        search, trials=trials, length=Length(seconds=whole), first_seconds=first, notes=notes
    )
