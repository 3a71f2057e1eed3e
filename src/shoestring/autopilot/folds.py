"""folds: fits of tiny data that hold out one part after the other, judged together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shoestring import plugins
from shoestring.autopilot.crossing import FOLD, TEST_SHARE
from shoestring.bundle import grade
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Technique
from shoestring.engine import store
from shoestring.engine.apply import noted

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt

COUNT = 5
TINY = 100  # validation examples, below which a data set is tiny
SPLIT = "cross-validation"


def of(recipe: Recipe, dataset: Dataset, tested: int) -> int:
    """How many folds the data can be dealt into; 0 where they are not tiny, have a test split, or
    are of a task that deals none."""
    task = plugins.task(recipe.task)
    able = {FOLD, TEST_SHARE} <= {option.name for option in fields(task.options)}
    if not able or tested or recipe.options.get(FOLD) or len(dataset.validation) >= TINY:
        return 0
    return COUNT


@dataclass(frozen=True)
class Folds:
    """The fits of a step, one in each fold."""

    folder: Path
    base: Run  # its recipe as a fit of the build has it, but for data
    techniques: Sequence[Technique]
    listener: Listener
    interrupt: Interrupt

    def done(self, seconds: float) -> Run:
        """A run of all folds' answers to what they did not see, which is no run to ship. One that
        a killed process finished is found again. UserError where no fold could be fitted."""
        clock, runs = Budget(seconds), []
        for number in range(COUNT):
            path = self.folder / f"fold-{number}"
            if not (path / store.RUN).exists():
                left = max(0.5, clock.remaining() / (COUNT - number))
                runs.append(self._fitted(path, number, left))
                self.listener.say(f"fold {number + 1} of {COUNT}: {_told(runs[-1])}")
            else:
                runs.append(store.read(path))
        return self._joined(runs)

    def _fitted(self, path: Path, number: int, seconds: float) -> Run:
        from shoestring.autopilot import train
        from shoestring.engine import pool

        recipe = self.base.recipe
        options = {**recipe.options, FOLD: f"{number}/{COUNT}"}
        recipe = replace(recipe, options=options, fingerprint="", budget_seconds=seconds)
        dataset = plugins.task(recipe.task).load(recipe, self.listener.stage)
        store.remove(path)
        store.create(path)
        run = replace(self.base, path=path, recipe=recipe, facts=dataset.facts)
        run = run.with_recipe(fingerprint=dataset.fingerprint)
        run = train.completed(run, self.techniques, dataset, Budget(seconds), seconds)
        return pool.Pool(pool.Halves.held_out(dataset), self.interrupt).fitted(run, seconds)

    def _joined(self, runs: Sequence[Run]) -> Run:
        parts = [grade.read_outcomes(run.path / store.OUTCOMES) for run in runs]
        facts = runs[0].facts
        if any(run.facts.get("labels") != facts.get("labels") for run in runs):
            raise UserError("the folds do not hold the same labels: some have too few examples")
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        grade.write_outcomes(self.folder / store.OUTCOMES, whole)
        scores = plugins.task(self.base.task).scores(whole, facts)
        scores = replace(scores, split=SPLIT, where=runs[0].scores.where if runs[0].scores else "")
        run = replace(self.base, path=self.folder, facts=facts, scores=scores, receipts=())
        epochs = tuple(run.curve[-1] for run in runs if run.curve)
        run = noted(replace(run, curve=epochs[:1]), SPLIT, after=scores)
        return store.write_finished(run)


def _told(run: Run) -> str:
    scores = run.scores
    assert scores is not None
    quality = plain_quality(scores.quality or 0.0, scores.metric)
    return f"{scores.metric} {quality} on {scores.examples} examples"
