"""more_data: trains on growing shares of the data and says what twice the data would buy.

Shapes: B training examples, P fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoestring import plugins
from shoestring.autopilot import power_law
from shoestring.autopilot.diagnosis import MoreData, SharePoint
from shoestring.core.budget import Budget
from shoestring.core.protocols import Dataset, Progress
from shoestring.core.receipt import Interval
from shoestring.core.run import Recipe
from shoestring.engine import part

if TYPE_CHECKING:
    from shoestring.engine.probe import Probe

SHARES = (0.125, 0.25, 0.5, 1.0)
REPEATS = 2  # fits on each share, of other examples and other seeds
MOST_REPEATS = 4  # where the budget holds more
ROOM = 1.15  # times the seconds that a round is thought to take
END_SECONDS = 1.0  # kept for what comes after the last fit
FEWEST = 16  # examples of the smallest share
FEWEST_SHARES = 3  # a law through two points fits anything
FLAT = 0.05  # of the error: to take away less is not worth collecting data for
SHORT = 2.0  # epochs of a fit on all of the data; on twice as many, examples are seen once or never
LEARNT = 0.1  # of a perfect quality: with less there is no curve to carry on
FEWEST_ERRORS = 5  # validation examples' worth of them, or nothing can be said


def shares_of(count: int) -> tuple[float, ...]:
    """The shares of so many examples that are large enough to train on; fewer than three are none:
    then more data cannot be told of."""
    found = tuple(share for share in SHARES if share * count >= FEWEST)
    return found if len(found) >= FEWEST_SHARES else ()


def fits_of(count: int, repeats: int = REPEATS) -> int:
    """How many fits `more_data` asks for."""
    return len(shares_of(count)) * repeats


def grown(
    dataset: Dataset,
    recipe: Recipe,
    labels_B: NDArray[np.int64] | None,
    budget: Budget,
    progress: Progress,
    *,
    repeats: int = REPEATS,
) -> list[Probe]:
    """Fits on the shares, the whole last in each round. Every fit takes the recipe's steps and is
    judged by the same validation examples. Where there is a budget, a round that would not end
    within it is not begun, and more rounds are made where they fit. Fits on one share differ in
    seed and, but for the whole, in examples."""
    from shoestring.engine import probe

    shares = shares_of(len(dataset.train))
    most = repeats if budget.seconds is None else max(repeats, MOST_REPEATS)
    found: list[Probe] = []
    for round_ in range(most):
        # A round takes as long as those before it; the first is made whatever it takes.
        needed = sum(one.seconds for one in found) / max(1, round_)
        if round_ and budget.remaining() < ROOM * needed + END_SECONDS:
            break
        for share in shares:
            progress(
                "training on growing shares", len(found), max(repeats, round_ + 1) * len(shares)
            )
            positions = part.shared(dataset.train, labels_B, share, recipe.seed + round_)
            seeded = replace(recipe, seed=recipe.seed + round_)
            found.append(probe.probed(seeded, part.part_of(dataset, positions), budget))
    progress("training on growing shares", len(found), len(found))
    return found


def judged(probes: Sequence[Probe], task_name: str) -> MoreData:
    """The power law of the fits, and what it says of twice the examples."""
    task = plugins.task(task_name)
    points = tuple(_points(probes))
    steps, graded = probes[-1].steps, probes[-1].graded
    untold = _untold(points, task.perfect, graded)
    if untold:
        return MoreData(points, steps, graded, None, None, None, untold)
    law = law_of(probes, task.perfect)
    now = float(np.mean(points[-1].qualities))
    error = law.expected(2 * law.most)
    doubled = Interval(
        task.perfect - error.value,
        task.perfect - min(error.high, task.perfect),
        task.perfect - error.low,
        error.confidence,
        error.method,
    )
    ratio = law.ratio(2 * law.most)
    left = task.perfect - now
    gain = Interval(
        left * (1 - ratio.value),
        left * (1 - ratio.high),
        left * (1 - ratio.low),
        ratio.confidence,
        ratio.method,
    )
    return MoreData(
        points=points,
        steps=steps,
        graded=graded,
        exponent=law.exponent,
        doubled=doubled,
        gain=gain,
        sentence=_sentence(points, ratio, doubled, task.perfect),
    )


def law_of(probes: Sequence[Probe], perfect: float) -> power_law.Law:
    """The power law of the error of these fits, an error being what is missing to a perfect
    quality. A fit without an error counts half of one graded example."""
    graded = probes[-1].graded
    errors_P = np.array([max(perfect - p.quality, 0.5 * perfect / graded) for p in probes])
    examples_P = np.array([float(p.examples) for p in probes])
    same = [errors_P[examples_P == count].tolist() for count in np.unique(examples_P)]
    noise = power_law.noise_of(same, graded, perfect)
    seen = float(np.mean([p.epochs * p.examples for p in probes]))
    return power_law.fitted(examples_P, errors_P, noise, seen)


def _points(probes: Sequence[Probe]) -> Iterable[SharePoint]:
    for count in sorted({p.examples for p in probes}):
        same = [p for p in probes if p.examples == count]
        yield SharePoint(
            examples=count,
            qualities=tuple(p.quality for p in same),
            loss=float(np.mean([p.loss for p in same])),
            epochs=float(np.mean([p.epochs for p in same])),
        )


def _untold(points: Sequence[SharePoint], perfect: float, graded: int) -> str:
    """Why nothing can be said of more data; "" where something can."""
    last = points[-1]
    quality = float(np.mean(last.qualities))
    wrong = graded * (1 - quality / perfect)
    if wrong < FEWEST_ERRORS:
        return (
            f"what more data would buy cannot be told: of {graded:,} validation examples about "
            f"{wrong:.1f} are wrong with all {last.examples:,} training examples"
        )
    if quality < LEARNT * perfect:
        return (
            f"what more data would buy cannot be told: with all {last.examples:,} training "
            f"examples the fits learnt next to nothing; give them more time"
        )
    return ""


def _sentence(
    points: Sequence[SharePoint], ratio: Interval, doubled: Interval, perfect: float
) -> str:
    """In one sentence, in shares of the error, which every metric has."""
    last = points[-1]
    gone, least, most = 1 - ratio.value, 1 - ratio.high, 1 - ratio.low
    error, low, high = (100 * (1 - q / perfect) for q in (doubled.value, doubled.high, doubled.low))
    worth = "more data probably pays"
    if gone < FLAT:
        worth = "more data would buy little, so look for gains elsewhere"
        if last.epochs < SHORT:
            worth = "more data would buy little in so short a fit, so give it more time first"
    elif least >= FLAT:
        worth = "more data pays"
    return (
        f"{worth}: twice the {last.examples:,} training examples would take away about {gone:.0%} "
        f"of the error ({ratio.confidence:.0%} interval {least:.0%} to {most:.0%}); fits on them "
        f"would miss a perfect score by {error:.2f}% ({low:.2f}% to {high:.2f}%)"
    )
