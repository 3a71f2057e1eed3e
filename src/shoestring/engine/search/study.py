"""study: the trials of a search, kept by Optuna in a journal that a killed process leaves whole.

Several processes may work on one study. A trial is judged after fits of rising length, its rungs;
what Optuna calls a step is a rung's length in ninths of a whole trial. No torch.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from shoestring.core.errors import MissingExtra, RunError
from shoestring.core.space import Range
from shoestring.core.trials import Ending, TrialLine

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

JOURNAL, LOCK = "journal.jsonl", ".lock"
NAME = "tune"
REDUCTION = 3
RUNGS = (1, 3, 9)  # lengths of a trial's fits, in ninths of a whole one
FIRST_TRIALS = 8  # drawn at random before a model of what came of them is asked
DEFAULTS = "defaults"
VALUES = "values"  # of a trial, where they are not what was drawn
FAILURES = 5  # in a row, without one trial that did not fail: nothing will come of it
Stop = Literal["halving", "hyperband", "none"]


def equipped() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("optuna", "train", "a search for better values")


class Lock:
    """Of a file, which the system lets go when its process ends, however that ends. Optuna's own
    locks are files that stay behind a killed process."""

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, -1

    def acquire(self) -> bool:
        import fcntl

        self._held = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self._held)
        self._held = -1

    @contextmanager
    def held(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


class Study:
    """The trials in a folder, made or gone on with."""

    def __init__(
        self, folder: Path, ranges: Sequence[Range], seed: int, stop: Stop, most: int
    ) -> None:
        equipped()
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.ranges = folder, {one.name: one for one in ranges}
        self.seed, self.most, self.stop = seed, most, stop
        self._turn = Lock(folder / f"{LOCK}-turn")  # of who asks for a trial, or puts weights away
        backend = JournalFileBackend(str(folder / JOURNAL), lock_obj=cast(Any, Lock(folder / LOCK)))
        self._study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name=NAME,
            direction="maximize",
            pruner=_pruner(stop),
            load_if_exists=True,
        )

    # --- before any work -------------------------------------------------------------------------

    def enqueue(
        self, drawn: Mapping[str, Any], origin: str, there: Mapping[str, Any] | None = None
    ) -> None:
        """A trial with these values, before any that are drawn. `there`: what it really has, where
        it is told; with nothing drawn beside it the trial lies outside of the ranges, and what it
        comes to says nothing of them."""
        for known in self._study.get_trials(deepcopy=False):
            if known.user_attrs.get("origin") == origin:
                return
        noted = {"origin": origin} | ({} if there is None else {VALUES: dict(there)})
        # Optuna sees no difference between two trials without values.
        self._study.enqueue_trial(dict(drawn), user_attrs=noted, skip_if_exists=bool(drawn))

    def taken_over(self) -> int:
        """Gives trials up that a process which is gone had begun, has them tried again, and returns
        how many were ended before. Only who starts the work may call it."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self.gave_up(trial, "its process was ended in the middle of it; tried again")
                known = {n: v for n, v in trial.user_attrs.items() if n in ("origin", VALUES)}
                self._study.enqueue_trial(trial.params, user_attrs={"origin": "", **known})
        return len([t for t in self.trials() if t.state.is_finished() and not _repeated(t)])

    # --- one trial after the other ---------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        with self._turn.held():
            yield

    def ask(self, worker: int) -> optuna.Trial | None:
        """The next trial with its values drawn; None where there were enough."""
        import optuna

        with self.turn():
            every = self.trials()
            begun = [t for t in every if t.state.name != "WAITING" and not _repeated(t)]
            if len(begun) >= self.most or _hopeless(begun):
                return None
            # A sampler of its own for each trial: what it draws depends on the seed, its number and
            # the trials before it, so that a search which goes on draws as an unbroken one.
            number = len(every)
            with _quiet():
                self._study.sampler = optuna.samplers.TPESampler(
                    seed=(self.seed * 1_000_003 + number * 101 + worker) % 2**31,
                    n_startup_trials=FIRST_TRIALS,
                    multivariate=True,
                    constant_liar=True,
                    group=any(_outside(t) for t in begun),  # or no trial is a model's any more
                )
                waiting = next((t for t in every if t.state.name == "WAITING"), None)
                outside = waiting is not None and _outside(waiting)
                trial = self._study.ask({} if outside else self._distributions())
            trial.set_user_attr("worker", worker)
            return trial

    def values(self, trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
        """What was drawn for it, as it stands in a recipe; of the defaults what they are."""
        if VALUES in trial.user_attrs:
            return dict(trial.user_attrs[VALUES])
        return {
            name: self.ranges[name].value(drawn)
            for name, drawn in trial.params.items()
            if name in self.ranges
        }

    def worth_more(self, trial: optuna.Trial, units: int, value: float) -> bool:
        """Notes what the trial came to after a fit of so many ninths, and says whether it is worth
        a longer one."""
        with self.turn():  # who else has come so far is read and written in one go
            trial.report(value, units)
            if units >= RUNGS[-1]:
                return False
            # The defaults are what others are compared with.
            return trial.user_attrs.get("origin") == DEFAULTS or not trial.should_prune()

    def ended(self, trial: optuna.Trial) -> None:
        """With what was noted last; it was stopped early where that was not the longest fit."""
        frozen = self._frozen(trial.number)
        whole = RUNGS[-1] in frozen.intermediate_values
        if whole:
            self._study.tell(trial.number, frozen.intermediate_values[RUNGS[-1]])
        else:
            self._study.tell(trial.number, state=_state("PRUNED"))

    def gave_up(self, trial: optuna.Trial | FrozenTrial, reason: str) -> None:
        """A trial that failed, and why."""
        storage, number = self._study._storage, trial.number
        storage.set_trial_user_attr(self._frozen(number)._trial_id, "reason", reason)
        self._study.tell(number, state=_state("FAIL"))

    def left_by(self, worker: int, reason: str) -> None:
        """Gives the trial up that a worker, whose process is gone, was at."""
        for trial in self.trials():
            if trial.state.name == "RUNNING" and trial.user_attrs.get("worker", 0) == worker:
                self.gave_up(trial, reason)

    # --- what came of it -------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def lines(self) -> tuple[TrialLine, ...]:
        """Those that ended."""
        return tuple(self.line(t) for t in self.trials() if t.state.is_finished())

    def line(self, trial: FrozenTrial) -> TrialLine:
        attributes, seen = trial.user_attrs, trial.intermediate_values
        units = max(seen, default=0)
        ending: Ending = "stopped early"
        if trial.state.name == "FAIL":
            ending = "failed"
        elif units == RUNGS[-1]:
            ending = "finished"
        elif "cut_off" in attributes:
            ending = "cut off"
        noted = attributes.get(f"rung {units}", {})
        return TrialLine(
            number=trial.number,
            ending=ending,
            values=self.values(trial),
            quality=noted.get("quality"),
            loss=noted.get("loss"),
            steps=int(noted.get("steps", 0)),
            part=units / RUNGS[-1],
            seconds=round(float(attributes.get("seconds", 0.0)), 3),
            reason=str(attributes.get("reason", attributes.get("cut_off", ""))),
            origin=str(attributes.get("origin", "")),
        )

    def importance(self) -> dict[str, float]:
        """The share of each range in what made trials of the first rung good, the largest first:
        PED-ANOVA (Watanabe et al. 2023). Every trial that came so far counts; empty for fewer than
        FIRST_TRIALS of them."""
        import optuna
        from optuna.importance import get_param_importances

        every = [t for t in self.trials() if RUNGS[0] in t.intermediate_values and not _outside(t)]
        names = [n for n in self.ranges if all(n in t.params for t in every)]
        if len(every) < FIRST_TRIALS or not names:
            return {}
        with _quiet():
            copy = optuna.create_study(direction="maximize")
            copy.add_trials(
                [
                    optuna.trial.create_trial(
                        params={n: t.params[n] for n in names},
                        distributions={n: t.distributions[n] for n in names},
                        value=t.intermediate_values[RUNGS[0]],
                    )
                    for t in every
                ]
            )
            found = get_param_importances(copy)
        shares = {name: round(float(share), 4) for name, share in found.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def _frozen(self, number: int) -> FrozenTrial:
        return next(t for t in self.trials() if t.number == number)

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {name: _distribution(one) for name, one in self.ranges.items()}


def repaired(folder: Path) -> None:
    """Takes the last line away that a process was killed in the middle of; RunError where the
    journal is broken before it."""
    path = folder / JOURNAL
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise RunError(
                f"{path}, line {number} is damaged, so the search cannot go on; start a new run"
            ) from error


def hopeless(lines: Sequence[TrialLine]) -> str:
    """Why nothing comes of a search whose trials all failed; "" where one did not."""
    own = [line for line in lines if "tried again" not in line.reason]
    if not own or any(line.ending != "failed" for line in own):
        return ""
    return f"all {len(own)} trials failed; the first: {own[0].reason}"


def _hopeless(begun: Sequence[FrozenTrial]) -> bool:
    states = [trial.state.name for trial in begun]
    return len(states) >= FAILURES and set(states) == {"FAIL"}


def _outside(trial: FrozenTrial) -> bool:
    """Whether it is of the defaults, and these are not in the ranges."""
    drawn = trial.params or trial.system_attrs.get("fixed_params")
    return VALUES in trial.user_attrs and not drawn


def _repeated(trial: FrozenTrial) -> bool:
    """Whether it was given up to be tried again."""
    return "tried again" in str(trial.user_attrs.get("reason", ""))


def _state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]


def _pruner(stop: Stop) -> optuna.pruners.BasePruner:
    import optuna

    if stop == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=RUNGS[0], reduction_factor=REDUCTION
        )
    if stop == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=RUNGS[0], max_resource=RUNGS[-1], reduction_factor=REDUCTION
        )
    return optuna.pruners.NopPruner()


def _distribution(one: Range) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if one.choices:
        if one.ordered:
            return IntDistribution(0, len(one.choices) - 1)
        return CategoricalDistribution(one.choices)
    assert one.low is not None
    assert one.high is not None
    if one.whole:
        return IntDistribution(math.ceil(one.low), math.floor(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Optuna says of its own future is nothing for whoever searches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
