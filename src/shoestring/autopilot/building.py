"""building: a build in progress: looks, plans, does a step, plans again, and ships the best."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.autopilot import build_record, build_step, finish, folds, planning, shipping, train
from shoestring.autopilot.build_record import Record
from shoestring.autopilot.build_steps import LEAST_FIT_SECONDS
from shoestring.autopilot.choosing import best
from shoestring.autopilot.knowledge import FIRST, MAIN, NO_TIME, Known, Result
from shoestring.autopilot.reserving import Reserve, usable
from shoestring.autopilot.sizes import chosen
from shoestring.core.budget import Budget
from shoestring.core.decisions import BuildPlan, Decision, Step
from shoestring.core.errors import DataError, Interrupted, RunError, UserError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Run

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt

SHORTEST = 0.5  # of a technique's seconds, with which it is begun all the same
TIMES = 2.0  # what a step may take at most, in what it was planned with
SPARE_PART = 0.5  # of what is kept for the test split, that a step may use up


@dataclass
class Work:
    """One build."""

    home: Path
    record: Record
    clock: Budget  # of the whole command
    listener: Listener
    dataset: Dataset | None = None
    _tested: int = field(default=0, init=False)  # examples of the test split
    _start_seconds: float = field(default=0.0, init=False)  # of this process, before the clock

    def __post_init__(self) -> None:
        self._start_seconds = self.clock.elapsed() - self.clock.spent

    # --- before the first step ---

    def looked(self) -> None:
        """Reads the data, measures on throw-away steps, chooses the network. UserError where that
        leaves too little time, or has not ended when all of it is over."""
        from shoestring.engine import deadline, device, gauge  # noqa: F401  not on its deadline

        try:
            with deadline.within(self._look_seconds()):
                self._looked(device.resolve(self.record.recipe.device))
        except deadline.OutOfTime as error:
            raise self._seconds().too_few("the start, the data and a first look took") from error

    def _look_seconds(self) -> float | None:
        """Until it is clear that nothing will come of them; None where something is finished."""
        return None if self.record.results else self.clock.remaining() - self._seconds().for_end()

    def _looked(self, device: str) -> None:
        recipe = replace(self.record.recipe, device=device)
        bare = Run(self.home, recipe.task, recipe)
        with self.clock.meter() as loading:
            self.dataset, bare = train.loaded(bare, self.clock, self.listener)
        if recipe.fingerprint and recipe.fingerprint != self.dataset.fingerprint:
            raise RunError(
                f"the data of {self.home} ({recipe.source}) are not what they were when it began; "
                "put them back, or start a new build"
            )
        self._tested = _test_examples(self.dataset)
        self._seconds().refuse_no_time()
        fresh = replace(recipe, fingerprint=self.dataset.fingerprint)
        self.record = replace(self.record, recipe=fresh)
        if self.record.chosen is not None:
            return
        with self.clock.meter() as looking:
            found, said = chosen(self.record, self.dataset, self._steps_seconds(), self.listener)
        self.record = replace(
            self.record,
            chosen=found,
            load_seconds=loading.cost.wall_seconds,
            gauge_seconds=looking.cost.wall_seconds,
        )
        self._decide(*said)
        self._seconds().refuse_too_small(found)

    def plan(self) -> BuildPlan:
        """What is intended now."""
        recipe, seconds = self.record.recipe, self.record.budget_seconds
        return BuildPlan(
            task=recipe.task,
            source=recipe.source,
            seconds=seconds,
            limits=self.record.limits,
            steps=planning.planned(self._known()),
            decisions=self.record.decisions,
            spent_seconds=self.clock.elapsed(),
            reserved_seconds=self._seconds().kept(),
        )

    # --- the steps ---

    def done(self, stop: Interrupt) -> Run:
        """Does step after step and ships what came of them."""
        assert self.dataset is not None
        bench = build_step.Bench(self.home, self.dataset, self.listener, stop)
        while (step := self._next()) is not None:
            self._do(bench, step)
            if stop.asked:
                raise Interrupted(
                    f"stopped after the {step.name}; go on with: shoestring build --resume --out "
                    f"{self.home}"
                )
        self._stopped_early()
        return shipping.shipped(
            self.home,
            self.record,
            self.dataset,
            self.clock,
            self.listener,
            self._seconds().for_test(),
            self._seconds().for_end(),
        )

    def _next(self) -> Step | None:
        """The step that was begun, or the next of the plan; None where none is left that there is
        time for."""
        if self.record.current is not None:
            return self.record.current
        steps = planning.planned(self._known())
        if not steps:
            return None
        step, left = steps[0], self._steps_seconds()
        least = self._known().after_seconds + LEAST_FIT_SECONDS
        if step.kind == "technique":
            least = SHORTEST * step.seconds
        if left < least and any(r.ships or not r.failure for r in self.record.results):
            self._decide(
                Decision(step.name, "left out", f"{left:.1f} s are left for it, and it needs about "
                         f"{step.seconds:.0f} s")
            )  # fmt: skip
            self.record = replace(self.record, results=(*self.record.results, _left_out(step)))
            return self._next()
        return step

    def _do(self, bench: build_step.Bench, step: Step) -> None:
        from shoestring.engine import deadline

        number = len(self.record.results) + 1
        before = bench.spent(number, step) if self.record.current is not None else 0.0
        self._note(step)
        seconds = min(step.seconds, self._steps_seconds() + before)
        self.listener.say(f"{step.name}, {seconds:.0f} s: {step.why}")
        began = self.clock.elapsed() - before
        try:
            with deadline.within(self._longest(step)):
                run = bench.done(self.record, number, step, seconds)
            found = build_step.result(step, run, self.record.limits, self.clock.elapsed() - began)
            if found.ships or len(self.record.results) == 0:
                shipping.hold(self.home, self._best_with(found, run))
        except Interrupted:
            self._note(step)
            raise
        except UserError as error:
            if not self.record.results and step.name in (FIRST, MAIN):
                shipping.refuse_full(self.home, error)
                raise
            found = build_step.failed(step, error, self.clock.elapsed() - began)
        self.record = replace(self.record, results=(*self.record.results, found), current=None)
        got = _got(found, plugins.task(self.record.recipe.task).metric)
        self._decide(Decision(step.name, _chosen(step), step.why, _expected(step), got))
        self.listener.say(f"{step.name}: {got}")

    def _longest(self, step: Step) -> float | None:
        """Seconds after which a step is given up; None where there is nothing to fall back on."""
        if not usable(self.record.results):
            return None
        left = self._steps_seconds() + SPARE_PART * self._seconds().for_test()
        last = step.name == MAIN or step.kind == "technique"
        return max(1.0, left if last else min(left, TIMES * step.seconds))

    def _best_with(self, found: Result, run: Run) -> Path:
        """The folder of the run to fall back on, once this one is there too."""
        results = (*self.record.results, found)
        held, _ = best(results, self.record.limits)
        number = results.index(held) + 1
        return run.path if held is found else build_record.step_folder(self.home, number, held.step)

    # --- notes ---

    def _note(self, step: Step | None) -> None:
        self.record = replace(self.record, current=step)
        build_record.write(self.home, self.record)

    def _decide(self, *decisions: Decision) -> None:
        at = self.clock.elapsed()
        timed = tuple(replace(one, at_seconds=round(at, 1)) for one in decisions)
        self.record = replace(self.record, decisions=(*self.record.decisions, *timed))
        if self.home.is_dir():
            build_record.write(self.home, self.record)

    def _stopped_early(self) -> None:
        reason = planning.finished(self._known())
        left = self._steps_seconds()
        if reason and left > 1:
            self._decide(Decision("rest of the time", f"about {left:.0f} s are given back", reason))
            self.listener.say(f"{left:.0f} s are given back: {reason}")

    # --- seconds ---

    def _known(self) -> Known:
        record, found = self.record, self.record.chosen
        assert found is not None
        task = plugins.task(record.recipe.task)
        return Known(
            seconds=self._steps_seconds(),
            total=record.budget_seconds,
            limits=record.limits,
            network=found.network,
            words=found.words,
            size_bytes=found.size_bytes,
            small_bytes=found.weight.small_bytes,
            epoch_seconds=self._seconds().epoch(found),
            after_seconds=self._seconds().after(found),
            enough_epochs=found.enough_epochs,
            larger=found.larger,
            larger_words=found.larger_words,
            metric=task.metric,
            perfect=task.perfect,
            learning_power=task.learning_power,
            seed=record.recipe.seed,
            probe=None if self.dataset is None else task.probe(record.recipe, self.dataset),
            finishers=record.finishers,
            portions=tuple(finish.portions([words]) for words in record.finishers),
            folds=0
            if self.dataset is None
            else folds.of(record.recipe, self.dataset, self._tested),
            done=record.results,
            without=frozenset(record.recipe.without),
        )

    def _seconds(self) -> Reserve:
        validated = 0 if self.dataset is None else len(self.dataset.validation)
        return Reserve(self.record, self.clock, self._start_seconds, self._tested, validated)

    def _steps_seconds(self) -> float:
        return self._seconds().for_steps()


def _left_out(step: Step) -> Result:
    return Result(step, 0.0, failure=NO_TIME)


def _test_examples(dataset: Dataset) -> int:
    """How many examples the test split has; 0 where there is none. Nothing else of it is looked
    at: the size says how many seconds are to be kept."""
    try:
        return len(dataset.test())
    except DataError:
        return 0


def _chosen(step: Step) -> str:
    if step.kind == "technique":
        return f"{step.words} of the {' and the '.join(step.on)}"
    network = plugins.spelled(step.network)
    return ", ".join(filter(None, (network, step.words, f"seed {step.seed}")))


def _expected(step: Step) -> str:
    return f"{step.seconds:.0f} s ({step.share:.0%}); {step.gain}"


def _got(found: Result, metric: str) -> str:
    if found.failure:
        return f"{found.seconds:.1f} s; not done: {found.failure}"
    which = "that decide" if found.bundled else "held out"
    seen = f"{found.deciding:,} examples {which}"
    quality = ""
    if found.quality is not None:
        quality = f"{metric} {plain_quality(found.quality, metric)} on {seen}"
    latency = "" if found.latency_ms is None else f"{found.latency_ms:.3f} ms"
    epochs = f"{found.epochs:.1f} epochs" if found.step.kind == "fit" else ""
    sizes = f"{found.size_bytes:,} bytes" if found.bundled else ""
    return "; ".join(filter(None, (f"{found.seconds:.1f} s", epochs, quality, sizes, latency)))
