"""trial: one trial of a search after the other, in this process, each by fits of rising length.

Each of its fits is a whole one, with a schedule of its own length: a fit that is cut off while its
rate is high says little of where it would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoestring import plugins
from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.listener import Quiet
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.space import Range
from shoestring.core.trials import TrialLine
from shoestring.engine import device, fit, pacing, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from shoestring.engine.space import with_values
from shoestring.engine.study import DEFAULTS, RUNGS, Stop, Study

if TYPE_CHECKING:
    import optuna

LOOKS = 3  # at validation, of a whole trial: the best of them counts, as in the fit that ships
SEARCH = "search.json"
ASKED_EVERY = 5  # steps between two looks at the clock


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


@dataclass(frozen=True)
class Search:
    """All that decides the trials, as plain values that another process reads."""

    run: Run  # untrained, its recipe complete
    ranges: tuple[Range, ...]
    trials: int
    length: Length
    stop: Stop = "halving"
    checkpoints: int = 3
    processes: int = 1
    look_seconds: float = 0.0  # of one look at what trials are judged on
    first_seconds: float = 0.0  # of a trial's shortest fit, roughly
    began_seconds: float = 0.0  # of the budget, that were used when it began
    until_seconds: float | None = None  # of the budget; None: without a clock
    asked_seconds: float | None = None
    warm_starts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    given: Plain = field(default_factory=dict)  # what each range would draw to be the defaults


@dataclass
class _Watch(Quiet):
    """Ends a fit at the deadline, or where somebody asked."""

    deadline: float
    asked: Callable[[], bool]
    stop: Interrupt = field(default_factory=Interrupt)

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        if not self.stop.asked and (self.asked() or time.monotonic() > self.deadline):
            self.stop.ask()


class Bench:
    """Where a process does trials."""

    def __init__(
        self,
        folder: Path,
        search: Search,
        study: Study,
        dataset: Dataset,
        *,
        worker: int = 0,
        deadline: float = float("inf"),  # of time.monotonic
        asked: Callable[[], bool] = lambda: False,  # whether somebody wants it to end
        told: Callable[[TrialLine], None] = lambda line: None,
    ) -> None:
        self.folder, self.search, self.study, self.dataset = folder, search, study, dataset
        self.worker, self.deadline, self.asked, self.told = worker, deadline, asked, told
        self.place = Local(search.run.recipe.device)

    def work(self) -> None:
        """Until there were enough trials, the seconds are over, or somebody asks."""
        recipe = self.search.run.recipe
        with device.settled(recipe.threads or device.default_threads()):
            while not self.asked() and self._left() > self.search.first_seconds:
                trial = self.study.ask(self.worker)
                if trial is None:
                    return
                self._tried(trial)
                if not self.asked():
                    self.told(next(x for x in self.study.lines() if x.number == trial.number))

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _tried(self, trial: optuna.Trial) -> None:
        home = self.folder / f"{trial.number:03d}"
        began = time.perf_counter()
        store.remove(home)
        try:
            self._climbed(trial, home)
        except Interrupted:
            if self.asked():  # it is done again when the search goes on
                return
            self._cut_off(trial)
        # What values that do not go together raise: a shape that torch refuses, memory that ends.
        except (UserError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            self.study.gave_up(trial, _said(error))
        else:
            trial.set_user_attr("seconds", time.perf_counter() - began)
            self.study.ended(trial)
        finally:
            store.remove(home)

    def _cut_off(self, trial: optuna.Trial) -> None:
        reason = "the seconds of the search were over in the middle of it"
        if any(line.number == trial.number and line.part for line in self._begun()):
            trial.set_user_attr("cut_off", reason)
            self.study.ended(trial)
        else:
            self.study.gave_up(trial, reason)

    def _begun(self) -> list[TrialLine]:
        return [self.study.line(trial) for trial in self.study.trials()]

    def _climbed(self, trial: optuna.Trial, home: Path) -> None:
        run = trial_run(self.search, self.study, trial)
        store.create(home)
        store.keep(home, self.dataset.files)
        whole = self._steps(replace(run, path=home))
        for units in RUNGS:
            if self.search.stop == "none" and units < RUNGS[-1]:
                # Noted for what each range is worth, with the whole trial in its place.
                continue
            steps = max(1, round(whole * units / RUNGS[-1]))
            fitted, weights = self._fitted(run, home, steps, LOOKS if units == RUNGS[-1] else 1)
            best = max(fitted.curve, key=lambda look: (look["quality"], -look["validation_loss"]))
            quality, loss = float(best["quality"]), float(best["validation_loss"])
            noted = {"quality": quality, "loss": loss, "steps": steps}
            trial.set_user_attr(f"rung {units}", noted)
            value = self._value(quality, loss)
            if self.search.stop == "none":
                trial.report(value, RUNGS[0])
            more = self.study.worth_more(trial, units, value)
            self._kept(trial.number, fitted, weights)
            if not more:
                return

    def _value(self, quality: float, loss: float) -> float:
        """The quality, and between equal ones the loss: less than an example is worth."""
        task = plugins.task(self.search.run.task)
        one = task.perfect / max(1, len(self.dataset.validation))
        return quality - 0.5 * one * loss / (1 + loss)

    def _steps(self, run: Run) -> int:
        """Of a whole trial with these values; a smaller network takes more of them in its time."""
        length = self.search.length
        if length.steps is not None:
            return length.steps
        feeds = Feeds.of(run, self.dataset, self.place)
        if length.epochs is not None:
            return pacing.steps_of(run.recipe, feeds, length.epochs)
        seconds = length.seconds or 0.0
        each = pacing.seconds_a_step(Loop(run, feeds, self.place), Budget(seconds))
        return max(RUNGS[-1], int((seconds - LOOKS * self.search.look_seconds) / each))

    def _fitted(
        self, run: Run, home: Path, steps: int, looks: int
    ) -> tuple[Run, Mapping[str, torch.Tensor]]:
        for path in (store.CHECKPOINT, store.SAFE, store.SPENT, store.METRICS):
            (home / path).unlink(missing_ok=True)
        recipe = replace(run.recipe, steps=steps, evaluate_every=max(1, -(-steps // looks)))
        watch = _Watch(self.deadline, self.asked)
        return fit.fit(
            replace(run, path=home, recipe=recipe),
            self.dataset,
            Budget(),
            self.place,
            Meter(),
            watch,
            watch.stop,
            log_every=ASKED_EVERY,
        )

    def _kept(self, number: int, run: Run, weights: Mapping[str, torch.Tensor]) -> None:
        """Puts the weights away where they are among the best, and those that are no longer are
        taken away."""
        with self.study.turn():
            best = ranked(self._begun())[: self.search.checkpoints]
            kept = {line.number for line in best} | {
                line.number for line in self._begun() if line.origin == DEFAULTS
            }
            if number in kept:
                notes = {
                    "architecture": to_plain(run.architecture),
                    "steps": run.recipe.total_steps,
                }
                store.save_tensors(weights_file(self.folder, number), weights, notes)
                own = replace(run.recipe, plan=(), evaluate_every=None)
                text = store.recipe_toml(own)
                store.write_atomically(self.folder / f"{number:03d}.toml", text)
            for path in self.folder.glob("*.safetensors"):
                if int(path.stem) not in kept:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".toml").unlink(missing_ok=True)


def trial_run(search: Search, study: Study, trial: Any) -> Run:
    """What is trained for a trial; the defaults are taken as they stand in the recipe."""
    if trial.user_attrs.get("origin") == DEFAULTS:
        return search.run
    return with_values(search.run, search.ranges, study.values(trial))


def ranked(lines: list[TrialLine]) -> list[TrialLine]:
    """The best first: those that were trained longest, by quality and then by loss."""
    tried = [line for line in lines if line.quality is not None and line.ending != "failed"]
    return sorted(tried, key=lambda x: (-x.part, -(x.quality or 0.0), x.loss or 0.0))


def weights_file(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.safetensors"


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"[:500]
