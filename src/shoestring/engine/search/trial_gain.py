"""trial_gain: what the best trial of a search gains over the defaults, on other examples."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from shoestring import plugins
from shoestring.bundle import grade
from shoestring.core.budget import Budget
from shoestring.core.protocols import Examples, Predictor, silent
from shoestring.core.receipt import Interval, Verdict
from shoestring.core.trials import TrialLine, Trials
from shoestring.data.names import counted
from shoestring.engine import derive, evidence, tensorfile
from shoestring.engine.pool import opened
from shoestring.engine.search.study import DEFAULTS
from shoestring.engine.search.trial import Search, weights_file

SHARE = 0.1  # of the seconds left, that answering for a gain may take
TIMED_EXAMPLES = 32

Gain = tuple[Interval | None, Verdict, str]


def gained(folder: Path, search: Search, trials: Trials, best: TrialLine, budget: Budget) -> Gain:
    """The gain of the best trial over that of the defaults, both read off the graphs that a bundle
    would hold, on the examples of validation that nothing was decided on; and what is to be said
    of it."""
    first = next((line for line in trials.lines if line.origin == DEFAULTS), None)
    if first is None or first.part < best.part:
        return None, "not measured", "no trial of the defaults was as long as the best"
    numbers = (first.number, best.number)
    if not all(weights_file(folder, number).exists() for number in numbers):
        return None, "not measured", "the weights of a trial are gone"
    run = search.run
    judged = derive.reporting(derive.dataset_of(run))
    predictors = [_predictor(folder, search, number) for number in numbers]
    each = sum(_seconds_each(predictor, judged) for predictor in predictors)
    needed = each * len(judged)
    if needed > SHARE * budget.remaining():
        said = f"measuring the gain of the search would have taken {needed:.0f} s"
        return None, "not measured", said
    paths = [folder / f"{number:03d}.outcomes.npz" for number in numbers]
    for path, predictor in zip(paths, predictors, strict=True):
        grade.write_outcomes(path, predictor.outcomes(judged, silent))
    gain, verdict, doubt = evidence.gain(paths[0], paths[1], plugins.task(run.task))
    for path in paths:
        path.unlink()
    said = (
        f"the gain is that of trial {best.number} over the defaults, each a whole trial of "
        f"{search.length}, on the other {counted(len(judged), 'example')}; the fit that follows is "
        "another"
    )
    return gain, verdict, f"{said}; {doubt}" if doubt else said


def _predictor(folder: Path, search: Search, number: int) -> Predictor:
    weights, notes = tensorfile.load(weights_file(folder, number))
    run = replace(search.run, architecture=notes["architecture"])
    bundle, _ = opened(run, weights)
    return bundle.predictor


def _seconds_each(predictor: Predictor, examples: Examples) -> float:
    count = min(TIMED_EXAMPLES, len(examples))
    began = time.perf_counter()
    predictor.outcomes(examples.part(np.arange(count, dtype=np.int64)), silent)
    return (time.perf_counter() - began) / max(1, count)
