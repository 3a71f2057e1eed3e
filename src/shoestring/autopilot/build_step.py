"""build_step: does one step of a build: a fit, or a technique on runs of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shoestring import plugins
from shoestring.autopilot import finish, folds, train
from shoestring.autopilot.build_record import Record, step_folder
from shoestring.autopilot.knowledge import MAIN, PROBE, Result
from shoestring.bundle.grade import read_outcomes
from shoestring.core.budget import Budget
from shoestring.core.decisions import Step
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.limits import Limits, median
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset, Outcomes
from shoestring.core.receipt import Scores
from shoestring.core.run import Run
from shoestring.core.techniques import Searcher, Technique
from shoestring.engine import derive, finishing, part, store

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt

LEAST_SECONDS = 0.5  # of any step
MOST_AFTER = 0.8  # of the seconds of a fit, for what follows its steps


@dataclass(frozen=True)
class Bench:
    """What every step of a build works with."""

    home: Path
    dataset: Dataset
    listener: Listener
    interrupt: Interrupt

    def folder(self, number: int, step: Step) -> Path:
        return step_folder(self.home, number, step)

    def spent(self, number: int, step: Step) -> float:
        """Seconds that a process which was killed had used in this step."""
        return store.read_spent(self.folder(number, step)).seconds

    def done(self, record: Record, number: int, step: Step, seconds: float) -> Run:
        """The finished run of a step; one that a killed process finished is found again, a fit
        that it began goes on. UserError where it cannot be done, Interrupted where somebody asked
        to stop."""
        folder = self.folder(number, step)
        if (folder / store.RUN).exists():
            return store.read(folder)
        seconds = max(LEAST_SECONDS, seconds)
        try:
            works = {"fit": self._fitted, "technique": self._applied, "folds": self._crossed}
            return works[step.kind](record, step, folder, seconds)
        except Interrupted as error:
            raise Interrupted(
                f"stopped in the {step.name}; what is finished is kept; go on with: "
                f"shoestring build --resume --out {self.home}"
            ) from error

    def _fitted(self, record: Record, step: Step, folder: Path, seconds: float) -> Run:
        if folder.exists() and store.begun(folder):
            run, spent = store.read_started(folder), store.read_spent(folder)
            run = replace(run, findings=self.dataset.findings)
            # The start of this process came out of what the fit had left.
            limit = min(seconds, spent.limit_seconds or seconds)
            clock = Budget(limit, spent=spent.seconds)
            return train.fitted(run, self.dataset, clock, None, self.listener)
        store.remove(folder)
        store.create(folder)
        clock = Budget(seconds)
        run = self._begun(record, step, folder, seconds)
        run = train.completed(run, _techniques(record, step), self.dataset, clock, seconds)
        store.keep(folder, self.dataset.files)
        _gauged(record, step, folder, seconds)
        store.write_started(run)
        store.write_spent(folder, store.Spent(clock.elapsed(), seconds))
        return train.fitted(run, self.dataset, clock, None, self.listener)

    def _begun(self, record: Record, step: Step, folder: Path, seconds: float) -> Run:
        """The run of a fit before it is completed from the data and the seconds."""
        assert record.chosen is not None
        recipe = replace(
            record.recipe, seed=step.seed, budget_seconds=seconds, then=(), open_test=False
        )
        if record.chosen.rounded:
            rounded = plugins.task(recipe.task).rounded(recipe.options)
            recipe = replace(recipe, options=rounded or recipe.options)
        if step.words:  # a technique that begins with weights names the network
            recipe = replace(recipe, network={})
        else:
            recipe = replace(recipe, network=step.network)
        if step.name != PROBE:  # its network is another one, of other rates
            gauge = record.chosen.gauge
            recipe = replace(
                recipe,
                precision=recipe.precision or gauge.precision,
                threads=recipe.threads or gauge.threads,
            )
        facts, findings = self.dataset.facts, self.dataset.findings
        return Run(folder, recipe.task, recipe, facts=facts, findings=findings)

    def _crossed(self, record: Record, step: Step, folder: Path, seconds: float) -> Run:
        folder.mkdir(parents=True, exist_ok=True)
        base = self._begun(record, step, folder, seconds)
        techniques = _techniques(record, step)
        return folds.Folds(folder, base, techniques, self.listener, self.interrupt).done(seconds)

    def _applied(self, record: Record, step: Step, folder: Path, seconds: float) -> Run:
        names = {result.name: i for i, result in enumerate(record.results, 1)}
        steps = {result.name: result.step for result in record.results}
        runs = [store.read(self.folder(names[name], steps[name])) for name in step.on]
        store.remove(folder)
        store.create(folder)
        technique = plugins.technique(step.words)
        technique = finish.with_more(
            technique, step.words.partition(":")[0], [run.path for run in runs[1:]]
        )
        desk = derive.Desk(listener=self.listener, interrupt=self.interrupt)
        desk.datasets[runs[0].recipe.fingerprint] = self.dataset
        return finishing.applied(technique, runs, folder, Budget(seconds), desk)


def _gauged(record: Record, step: Step, folder: Path, seconds: float) -> None:
    """Leaves a fit of the network that was looked at what the look measured of it. The fit takes
    some steps, whatever a single look says of the seconds after it."""
    from shoestring.engine import pacing, rates

    found = record.chosen
    assert found is not None
    gauge, own = found.gauge, (found.network, found.words)
    if (step.network, step.words) == own and gauge.look_seconds > 0:
        most = (MOST_AFTER * seconds - pacing.AFTER_SECONDS) / gauge.look_seconds
        looks = gauge.after_looks or pacing.AFTER_EVALUATIONS  # none in a record of before
        passes = max(0.0, min(looks, most))
        measured = (gauge.batch_size, gauge.step_seconds, gauge.look_seconds, passes)
        rates.write(folder, rates.Rates(gauge.precision, gauge.threads, *measured))


def _techniques(record: Record, step: Step) -> list[Technique]:
    """Those of a fit's recipe."""
    words = [*record.techniques, *filter(None, [step.words])]
    chosen = [plugins.technique(spelled) for spelled in words]
    if step.name == MAIN:
        return chosen
    # One search is enough, and the fallback has no time for any.
    return [one for one in chosen if not isinstance(one, Searcher)]


def result(step: Step, run: Run, limits: Limits, seconds: float) -> Result:
    """What a finished step came to, on the examples that decisions are made on."""
    scores, line = run.scores, derive.carried(run)[-1] if run.receipts else None
    if scores is None:
        return Result(step, seconds, failure="it has no scores")
    if step.kind == "folds":
        return Result(step, seconds, scores.quality, scores.loss, scores.examples)
    seen = deciding(run)
    fits = [one for one in run.receipts if one.technique == "fit"]
    # A technique's line is of its whole work: what it was made of was graded alike before.
    grades = [one for one in run.receipts if one.technique == "grade"][-1:]
    skipped = step.kind == "technique" and line is not None and line.status != "applied"
    return Result(
        step=step,
        seconds=seconds,
        quality=seen.quality,
        loss=seen.loss,
        deciding=seen.examples,
        size_bytes=scores.size_bytes or 0,
        latency_ms=median(scores),
        fit_seconds=sum(one.cost.wall_seconds for one in fits),
        grade_seconds=sum(one.cost.wall_seconds for one in grades),
        epochs=float(run.curve[-1]["epoch"]) if run.curve else 0.0,
        ships=limits.ships(scores),
        failure=line.reason if skipped and line is not None else "",
    )


def deciding(run: Run) -> Scores:
    """A run's scores on the third of validation that decides."""
    outcomes: Outcomes = read_outcomes(run.path / store.OUTCOMES)
    places = np.flatnonzero(part.decided(len(outcomes["hashes"])))
    some = {name: values[places] for name, values in outcomes.items()}
    return replace(plugins.task(run.task).scores(some, run.facts), examples=len(places))


def failed(step: Step, error: UserError, seconds: float) -> Result:
    return Result(step, seconds, failure=str(error))
