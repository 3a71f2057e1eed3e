"""trial: one trial of a search after the other, each by fits of rising length in a pool.

Each of its fits is a whole one, with a schedule of its own length: a fit that is cut off while its
rate is high says little of where it would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.core.errors import UserError
from shoestring.core.jobs import Done, Job, Pool
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.space import Range
from shoestring.core.trials import TrialLine
from shoestring.engine import store
from shoestring.engine.fits import LOOKS, RUNG, Length, Rung
from shoestring.engine.here import Here
from shoestring.engine.search.space import with_values
from shoestring.engine.search.study import DEFAULTS, RUNGS, Stop, Study

if TYPE_CHECKING:
    import optuna

SEARCH = "search.json"
GRACE_SECONDS = 1.0  # after the deadline, for jobs to note that they were cut off


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
    most: int | None = None  # trials side by side in a pool; None: as many as it has room for
    look_seconds: float = 0.0  # of one look at what trials are judged on
    first_seconds: float = 0.0  # of a trial's shortest fit, roughly
    began_seconds: float = 0.0  # of the budget, that were used when it began
    until_seconds: float | None = None  # of the budget; None: without a clock
    asked_seconds: float | None = None
    warm_starts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    given: Plain = field(default_factory=dict)  # what ranges draw to be the defaults; or nothing
    defaults: Plain = field(default_factory=dict)  # what the recipe has, inside the ranges or not


@dataclass
class Climb:
    """A trial that is at one of its rungs."""

    trial: optuna.Trial
    run: Run
    rungs: tuple[int, ...]  # that are left, the one it is at being the first
    whole: int | None = None  # steps of a whole trial with these values
    began: float = field(default_factory=time.perf_counter)


class Bench:
    """Where trials are asked for, and their fits handed to a pool."""

    def __init__(
        self,
        folder: Path,
        search: Search,
        study: Study,
        examples: int,  # of validation, that trials are judged on
        *,
        worker: int = 0,
        deadline: float = float("inf"),  # of time.monotonic
        asked: Callable[[], bool] = lambda: False,  # whether somebody wants it to end
        told: Callable[[TrialLine], None] = lambda line: None,
        pool: Pool | None = None,  # None: one fit at a time in this process
    ) -> None:
        self.folder, self.search, self.study, self.examples = folder, search, study, examples
        self.worker, self.deadline, self.asked, self.told = worker, deadline, asked, told
        self.pool = Here(folder, asked) if pool is None else pool
        self._climbing: dict[str, Climb] = {}

    def work(self) -> None:
        """Until there were enough trials, the seconds are over, or somebody asks. What a pool can
        do side by side is begun, and no more: each trial is drawn with all that is known then."""
        try:
            while not self.asked():
                self._begun_where_there_is_room()
                if not self._climbing:
                    return
                for done in self.pool.results():
                    self._heard(done)
                if self._left() < -GRACE_SECONDS and self._climbing:
                    for climb in self._climbing.values():
                        self._cut_off(climb.trial)
                    return
        finally:
            self.pool.stop()

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _begun_where_there_is_room(self) -> None:
        threads = self.search.run.recipe.threads or 1
        most = self.search.most or self.search.trials
        while len(self._climbing) < most and self.pool.room(threads):
            if self.asked() or self._left() <= self.search.first_seconds:
                return
            trial = self.study.ask(self.worker)
            if trial is None:
                return
            try:
                run = trial_run(self.search, self.study, trial)
            except (UserError, ValueError) as error:  # values that do not go together
                self.study.gave_up(trial, str(error))
                self._tell(trial)
                continue
            # Without halving, the first rungs are noted from the whole trial in their place.
            rungs = RUNGS[-1:] if self.search.stop == "none" else RUNGS
            self._submit(Climb(trial, run, rungs))

    def _submit(self, climb: Climb) -> None:
        units = climb.rungs[0]
        name = f"{climb.trial.number:03d}"
        self._climbing[name] = climb
        seconds = None if self.deadline == float("inf") else max(0.0, self._left())
        rung = Rung(
            replace(climb.run, path=Path()),
            units,
            self.search.length,
            climb.whole,
            LOOKS if units == RUNGS[-1] else 1,
            self.search.look_seconds,
            seconds,
        )
        threads = self.search.run.recipe.threads or 1
        gpus = int(self.search.run.recipe.device.startswith("cuda"))
        self.pool.submit(Job(name, RUNG, to_plain(rung), cpus=threads, gpus=gpus))

    def _heard(self, done: Done) -> None:
        climb = self._climbing.pop(done.job.name)
        trial = climb.trial
        if done.stopped:
            if self.asked():  # it is done again when the search goes on
                return
            self._cut_off(trial)
        elif done.error:
            self.study.gave_up(trial, done.error)
        else:
            units, found = climb.rungs[0], done.values
            noted = {name: found[name] for name in ("quality", "loss", "steps")}
            trial.set_user_attr(f"rung {units}", noted)
            value = self._value(found["quality"], found["loss"])
            if self.search.stop == "none":
                trial.report(value, RUNGS[0])
            more = self.study.worth_more(trial, units, value)
            self._kept(trial.number, done.files)
            if more and len(climb.rungs) > 1:
                self._submit(replace(climb, rungs=climb.rungs[1:], whole=int(found["whole"])))
                return
            trial.set_user_attr("seconds", time.perf_counter() - climb.began)
            self.study.ended(trial)
        if not self.asked():
            self._tell(trial)

    def _tell(self, trial: optuna.Trial) -> None:
        self.told(next(x for x in self.study.lines() if x.number == trial.number))

    def _cut_off(self, trial: optuna.Trial) -> None:
        reason = "the seconds of the search were over in the middle of it"
        if any(line.number == trial.number and line.part for line in self._begun()):
            trial.set_user_attr("cut_off", reason)
            self.study.ended(trial)
        else:
            self.study.gave_up(trial, reason)

    def _begun(self) -> list[TrialLine]:
        return [self.study.line(trial) for trial in self.study.trials()]

    def _value(self, quality: float, loss: float) -> float:
        """The quality, and between equal ones the loss: less than an example is worth."""
        task = plugins.task(self.search.run.task)
        one = task.perfect / max(1, self.examples)
        return quality - 0.5 * one * loss / (1 + loss)

    def _kept(self, number: int, files: Mapping[str, bytes]) -> None:
        """Puts the weights away where they are among the best, and those that are no longer are
        taken away."""
        with self.study.turn():
            best = ranked(self._begun())[: self.search.checkpoints]
            kept = {line.number for line in best} | {
                line.number for line in self._begun() if line.origin == DEFAULTS
            }
            if number in kept:
                store.write_atomically(weights_file(self.folder, number), files[store.WEIGHTS])
                store.write_atomically(self.folder / f"{number:03d}.toml", files[store.RECIPE])
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
