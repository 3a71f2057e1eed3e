"""pool: many fits in this process, over data that were loaded once, each judged by its graphs.

A fit of the pool leaves a run's folder with recipe, curve and outcomes, but neither weights nor a
bundle: it is there to be compared. What is judged are the graphs that a bundle would hold.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import grade
from shoestring.core.budget import Budget
from shoestring.core.listener import Quiet
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset, Examples, silent
from shoestring.core.run import Recipe, Run
from shoestring.engine import device, effects, fit, pacing, remarks, shift, store
from shoestring.engine.apply import noted
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import TIMED, Feeds, Loop
from shoestring.engine.part import Part, decided
from shoestring.engine.placement import Local
from shoestring.engine.seal import EXPORT_MODULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

SEVERITY = 3  # of 1 to 5, of corrupted examples
FEWEST_SHIFTED = 100  # examples that are corrupted in every way, where there are so many
TIMED_EXAMPLES = 32
TIMED_STEPS, TIMED_SECONDS = 3, 0.5  # of throw-away steps; at least the first, then the second
WHERE = "the graphs of a bundle, in the process of the fit"


@dataclass(frozen=True)
class Halves:
    """A data set whose validation split is cut in two: what a decision was made on is not what
    its gain is reported on."""

    dataset: Dataset  # to fit with: its validation split is what best weights are chosen on
    judged: Examples  # to report on

    @staticmethod
    def of(dataset: Dataset) -> Halves:
        decides = decided(len(dataset.validation))
        deciding, judged = np.flatnonzero(decides), np.flatnonzero(~decides)
        fitted = Part(
            dataset.train,
            dataset.validation.part(deciding),
            dataset.facts,
            dataset.fingerprint,
            files=dataset.files,
        )
        return Halves(fitted, dataset.validation.part(judged))

    @staticmethod
    def held_out(dataset: Dataset) -> Halves:
        """Of a fold, whose test split is the part that is held out to report on."""
        return Halves(dataset, dataset.test())


class Pool:
    """One fit after the other, with all the cores that a fit makes use of."""

    def __init__(self, halves: Halves, interrupt: Interrupt) -> None:
        self.halves, self.interrupt = halves, interrupt
        for name in EXPORT_MODULES:  # not in the middle of somebody's seconds
            importlib.import_module(name)

    def rates(self, run: Run) -> Rates:
        """How long a step of this run takes, and judging it, measured on what is thrown away."""
        place = Local(run.recipe.device)
        store.keep(run.path, self.halves.dataset.files)
        with device.settled(run.recipe.threads or device.default_threads(), run.recipe.device):
            loop = Loop(run, Feeds.of(run, self.halves.dataset, place), place)
            loop.step(TIMED, 1.0)
            began, steps = time.perf_counter(), 0
            while steps < TIMED_STEPS or time.perf_counter() - began < TIMED_SECONDS:
                loop.step(TIMED, 1.0)
                device.wait(place.device)
                steps += 1
            step_seconds = (time.perf_counter() - began) / steps
            began = time.perf_counter()
            loop.evaluate()
            look_seconds = time.perf_counter() - began
        looks = pacing.AFTER_EVALUATIONS / loop.looked_share
        began = time.perf_counter()
        bundle, _ = opened(replace(run, architecture=loop.architecture), loop.raw.state_dict())
        graph_seconds = time.perf_counter() - began
        count = min(TIMED_EXAMPLES, len(self.halves.judged))
        some = self.halves.judged.part(np.arange(count, dtype=np.int64))
        began = time.perf_counter()
        bundle.predictor.outcomes(some, silent)
        each = (time.perf_counter() - began) / count
        kinds = len(plugins.task(run.task).shifts)
        answered = len(self.halves.judged) + kinds * self._most_shifted(kinds)
        idle_seconds = pacing.AFTER_SECONDS + looks * look_seconds
        return Rates(step_seconds, graph_seconds + answered * each, idle_seconds)

    def settled(self, run: Run, seconds: float | None) -> Recipe:
        """The run's recipe with the precision and threads in which its steps are fastest, measured
        on some that are thrown away; `seconds` are those that its fit will have. Measured here, and
        not in the first fit that needs it, it is on no recipe's account."""
        recipe, place = run.recipe, Local(run.recipe.device)
        store.keep(run.path, self.halves.dataset.files)
        with device.settled(recipe.threads or device.default_threads(), recipe.device):
            feeds = Feeds.of(run, self.halves.dataset, place)
            found = pacing.fastest(run, feeds, Budget(seconds), place)
        return replace(recipe, precision=found.precision, threads=found.threads)

    def fitted(self, run: Run, seconds: float | None) -> Run:
        """Trains the run, whose recipe is complete, within so many seconds, of which it keeps back
        what it believes to need for a bundle (or for the steps that it asks for), and judges it.
        Raises Interrupted where somebody asked."""
        store.keep(run.path, self.halves.dataset.files)
        budget, place, before = Budget(seconds), Local(run.recipe.device), len(run.receipts)
        with (
            device.settled(run.recipe.threads or device.default_threads(), run.recipe.device),
            budget.meter() as meter,
        ):
            run, weights = fit.fit(
                run, self.halves.dataset, budget, place, meter, Quiet(), self.interrupt
            )
        environment = device.environment(run.recipe.threads or 1, place.device)
        with budget.meter() as judging:
            run = self._judged(replace(run, environment=environment), weights)
        cost = remarks.fit_cost(meter.cost, run.receipts[before:])
        run = remarks.remarked(run, weights, cost, Quiet())
        run = noted(run, "fit", cost=cost, after=run.scores)
        return store.write_finished(noted(run, "judge", cost=judging.cost))

    def _judged(self, run: Run, weights: Mapping[str, torch.Tensor]) -> Run:
        """The run with scores; what it answered lies in its folder."""
        bundle, model = opened(run, weights)
        task = plugins.task(run.task)
        outcomes = bundle.predictor.outcomes(self.halves.judged, silent)
        grade.write_outcomes(run.path / store.OUTCOMES, outcomes)
        if task.shifts:
            found = shift.shifted(
                bundle,
                self.halves.judged,
                severities=(SEVERITY,),
                most=self._most_shifted(len(task.shifts)),
            )
            quality, values_B = effects.pseudo_values(found.statistics)
            kept = {"hashes": found.hashes, "values": values_B}
            grade.write_outcomes(
                run.path / effects.SHIFTED, kept | {"quality": np.array([quality])}
            )
        scores = replace(
            task.scores(outcomes, run.facts),
            split=self.halves.judged.split,
            parameters=sum(p.numel() for p in model.parameters()),
            where=WHERE,
        )
        return replace(run, scores=scores)

    def _most_shifted(self, kinds: int) -> int:
        """Examples corrupted in each way: together about as many as are judged as they are."""
        count = len(self.halves.judged)
        return min(count, max(FEWEST_SHIFTED, count // max(1, kinds)))


@dataclass(frozen=True)
class Rates:
    """How long the parts of a fit in the pool take."""

    step_seconds: float
    judge_seconds: float  # all that judging it takes
    idle_seconds: float  # that a fit keeps back for a bundle and the process that grades it


def opened(run: Run, weights: Mapping[str, torch.Tensor]) -> tuple[bundles.Bundle, torch.nn.Module]:
    """The run as a bundle that was never written, and its model."""
    assert run.architecture is not None
    network = plugins.task(run.task).network(run.architecture["kind"])
    model = network.build(run.architecture)
    model.load_state_dict({name: t.detach().cpu() for name, t in weights.items()})
    files = network.graphs(model.eval(), run)
    manifest = {"task": run.task, "facts": to_plain(run.facts)}
    predictor = bundles.predictor(manifest, files, threads=run.recipe.threads)
    return bundles.Bundle(run.path, manifest, predictor), model
