"""fits: fits as jobs that any process can do: plain values in, plain values and weights out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import RunError
from shoestring.core.jobs import Job, Site
from shoestring.core.listener import Quiet
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.engine import derive, device, fit, pacing, store, tensorfile
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from shoestring.engine.pool import Halves
from shoestring.engine.search.study import RUNGS

LOOKS = 3  # at validation, of a whole trial: the best of them counts, as in the fit that ships
ASKED_EVERY = 5  # steps between two looks at the clock
RUNG, CELL, MEMBER = (f"engine.fits:{name}" for name in ("rung", "cell", "member"))
Made = tuple[Plain, Mapping[str, bytes]]


@dataclass(frozen=True)
class Length:
    """Of a whole trial, in one of these."""

    seconds: float | None = None
    steps: int | None = None
    epochs: float | None = None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:.1f} s"
        return f"{self.epochs:.2g} epochs" if self.epochs is not None else f"{self.steps} steps"


@dataclass
class _Watch(Quiet):
    """Ends a fit at the deadline, or where somebody asked."""

    deadline: float
    asked: Callable[[], bool]
    stop: Interrupt = field(default_factory=Interrupt)

    @staticmethod
    def of(seconds: float | None, site: Site) -> _Watch:
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        return _Watch(deadline, site.asked)

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        if not self.stop.asked and (self.asked() or time.monotonic() > self.deadline):
            self.stop.ask()


# --- one fit of a trial --------------------------------------------------------------------------


@dataclass(frozen=True)
class Rung:
    """One of the fits of rising length that a trial has."""

    run: Run  # untrained, its recipe complete
    units: int  # ninths of a whole trial
    length: Length  # of a whole one
    whole: int | None = None  # its steps, once they are known
    looks: int = 1
    look_seconds: float = 0.0
    seconds: float | None = None  # until it is cut off


def rung(job: Job, site: Site) -> Made:
    """The best look of a fit as "quality" and "loss", its "steps" and those of a "whole" trial;
    the best weights as a file."""
    asked = from_plain(Rung, job.values, "the values of a job")
    run, dataset = _ready(asked.run, site)
    dataset, place = Halves.of(dataset).dataset, Local(run.recipe.device)
    watch = _Watch.of(asked.seconds, site)
    with device.settled(run.recipe.threads or device.default_threads(), run.recipe.device):
        whole = asked.whole or _steps(run, dataset, place, asked)
        steps = max(1, round(whole * asked.units / RUNGS[-1]))
        if not run.recipe.plan:
            every = max(1, -(-steps // asked.looks))
            run = run.with_recipe(steps=steps, evaluate_every=every)
        fitted, weights = fit.fit(
            run, dataset, Budget(), place, Meter(), watch, watch.stop, log_every=ASKED_EVERY
        )
    best = max(fitted.curve, key=lambda look: (look["quality"], -look["validation_loss"]))
    quality, loss = float(best["quality"]), float(best["validation_loss"])
    notes = {"architecture": to_plain(fitted.architecture), "steps": fitted.recipe.total_steps}
    recipe = replace(fitted.recipe, plan=(), evaluate_every=None)
    files = {
        store.WEIGHTS: tensorfile.packed(weights, notes),
        store.RECIPE: store.recipe_toml(recipe).encode(),
    }
    return {"quality": quality, "loss": loss, "steps": steps, "whole": whole}, files


def _steps(run: Run, dataset: Dataset, place: Local, asked: Rung) -> int:
    """Of a whole trial with these values; a smaller network takes more of them in its time."""
    length = asked.length
    if length.steps is not None:
        return length.steps
    feeds = Feeds.of(run, dataset, place)
    if length.epochs is not None:
        return pacing.steps_of(run.recipe, feeds, length.epochs)
    seconds = length.seconds or 0.0
    each = pacing.seconds_a_step(Loop(run, feeds, place), Budget(seconds))
    return max(RUNGS[-1], int((seconds - LOOKS * asked.look_seconds) / each))


# --- one fit of an ablation ----------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One recipe of an ablation with one seed."""

    run: Run
    seconds: float | None  # of the fit and what it keeps back
    held_out: bool = False  # judged on the part that was held out


def cell(job: Job, site: Site) -> Made:
    """The folder of the run, as `engine.pool.Pool` leaves it."""
    from shoestring.engine.pool import Pool

    asked = from_plain(Cell, job.values, "the values of a job")
    run, dataset = _ready(asked.run, site)
    halves = Halves.held_out(dataset) if asked.held_out else Halves.of(dataset)
    stop = _Asked(site)
    Pool(halves, stop).fitted(run, asked.seconds)
    files = {path.name: path.read_bytes() for path in site.folder.iterdir() if path.is_file()}
    return {}, files


def taken(folder: Path, files: Mapping[str, bytes]) -> None:
    """A finished run's folder, of the files of one that was made elsewhere; run.json comes last."""
    if folder.exists():  # of one that was killed
        store.remove(folder)
    store.create(folder)
    for name in sorted(files, key=lambda name: name == store.RUN):
        store.write_atomically(folder / name, files[name])


class _Asked(Interrupt):
    """An interrupt that looks at the site."""

    def __init__(self, site: Site) -> None:
        self._site, self._was = site, False

    @property
    def asked(self) -> bool:
        return self._was or self._site.asked()

    @asked.setter
    def asked(self, value: bool) -> None:
        self._was = value


# --- one member of an ensemble -------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A further network of a run's architecture."""

    run: Run
    changes: Plain  # of the recipe
    epochs: float | None = None
    seconds: float | None = None


def member(job: Job, site: Site) -> Made:
    """The best weights, and the cost of the fit."""
    asked = from_plain(Member, job.values, "the values of a job")
    _ready(replace(asked.run, recipe=replace(asked.run.recipe, plan=())), site)
    place = replace(derive.desk(), interrupt=_Asked(site))
    with derive.at(place):
        _, best, cost = derive.tuned(
            replace(asked.run, path=site.folder),
            None,
            Budget(asked.seconds),
            asked.epochs,
            **asked.changes,
        )
    return {"cost": to_plain(cost)}, {store.WEIGHTS: tensorfile.packed(best, {})}


# --- what all begin with -------------------------------------------------------------------------


def _ready(run: Run, site: Site) -> tuple[Run, Dataset]:
    """The run in the folder of the site, where it goes on if it was stopped there, and its data.
    RunError where they are others here, or cannot be read."""
    run = replace(run, path=site.folder)
    if (site.folder / store.STARTED).exists():
        run = store.read_started(site.folder)
    try:
        dataset = derive.dataset_of(run)
    except OSError as error:
        raise RunError(f"{run.recipe.source} cannot be read here: {error}") from error
    store.keep(site.folder, dataset.files)
    return run, dataset
