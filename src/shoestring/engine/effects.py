"""effects: whether a technique helps here, from runs with it and without it over several seeds.

Two things make a difference come out otherwise the next time: the seed of a training and the
examples that it is judged on. Both stand in an interval of t: the variance between seeds, pooled
over all recipes that were trained side by side, and the variance of the difference over examples
(Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"). Numpy only.

Shapes: S seeds, B examples, K cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from shoestring.core import student
from shoestring.core.errors import UserError
from shoestring.core.protocols import Outcomes, Statistics, Task
from shoestring.core.receipt import Interval, Verdict
from shoestring.engine import evidence

FEWEST_SEEDS = 3  # that can say of a technique, and not of runs alone, that it helps
POWER = 0.8  # with which the smallest gain that is stated would be seen
SHIFTED = "shifted.npz"  # beside a run's outcomes: what corrupted examples add to its quality
_ROUNDING = 1e-12  # sums of floats that should be nothing
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Runs of one recipe, one a seed, judged on the same examples."""

    qualities_S: Floats
    values_SB: Floats  # what each example adds; their mean is a run's quality, or close to it

    @property
    def seeds(self) -> int:
        return len(self.qualities_S)

    @property
    def quality(self) -> float:
        return float(self.qualities_S.mean())

    @cached_property
    def is_share(self) -> bool:
        """Whether its values are right answers and wrong ones."""
        return bool(np.isin(self.values_SB, (0.0, 1.0)).all())

    @cached_property
    def variance(self) -> float:
        """Of the quality between seeds."""
        return float(self.qualities_S.var(ddof=1)) if self.seeds > 1 else 0.0

    @cached_property
    def residual(self) -> float:
        """Variance of what is neither a seed's nor an example's own: how else seeds differ on an
        example. It is part of the variance between seeds."""
        seeds, examples = self.values_SB.shape
        if seeds < 2 or examples < 2:
            return 0.0
        left_SB = self.values_SB - self.values_SB.mean(axis=0) - self.values_SB.mean(1)[:, None]
        left_SB += self.values_SB.mean()
        return float((left_SB**2).sum() / ((seeds - 1) * (examples - 1)))


@dataclass(frozen=True)
class Effect:
    """A difference between recipes, with all that its interval was made of."""

    value: float
    error: float  # standard error; 0 where nothing varied
    freedom: float  # degrees of freedom, after Satterthwaite 1946
    seed_error: float  # the part of the error that further seeds would shrink
    example_error: float  # the part that further examples would shrink
    seeds: int  # of each cell

    @property
    def p_value(self) -> float:
        """Of no effect, two-sided."""
        if self.error <= _ROUNDING:
            return 1.0 if abs(self.value) <= _ROUNDING else 0.0
        return student.two_sided(self.value / self.error, self.freedom)

    def interval(self, confidence: float = 0.95) -> Interval:
        reach = student.quantile(0.5 + confidence / 2, self.freedom) * self.error
        method = "t over examples, one seed each"
        if self.seeds > 1:
            seeds = f"{self.seeds} seeds ({self.freedom:.1f} degrees of freedom)"
            method = f"t over {seeds} and over examples"
        return Interval(self.value, self.value - reach, self.value + reach, confidence, method)

    def smallest_seen(self, confidence: float = 0.95) -> float:
        """The true effect that would be told from zero four times out of five."""
        return student.smallest_seen(self.error, self.freedom, confidence, POWER)


def values(outcomes: Outcomes, task: Task) -> tuple[float, Floats]:
    """A run's quality, and (B,) what each example adds to it. Where the metric is no mean over
    examples these are the pseudo-values of the jackknife (Tukey 1958), whose variance is that of
    the metric."""
    statistics = task.statistics(outcomes)
    if statistics is None:
        right_B = evidence.right(outcomes).astype(np.float64)
        return float(right_B.mean()), right_B
    return pseudo_values(statistics)


def pseudo_values(statistics: Statistics) -> tuple[float, Floats]:
    """The metric of all examples, and the (B,) pseudo-values of the jackknife."""
    rows_BS, count = statistics.rows_BS, len(statistics.rows_BS)
    sums_S = rows_BS.sum(axis=0)
    whole = float(statistics.metric(sums_S[None])[0])
    without_B = statistics.metric(sums_S - rows_BS)
    return whole, count * whole - (count - 1) * without_B


def cell(outcomes: Sequence[Outcomes], task: Task) -> Cell:
    """The cell of runs of one recipe. UserError where they were judged on different examples."""
    hashes_B = outcomes[0]["hashes"]
    if any(not np.array_equal(hashes_B, one["hashes"]) for one in outcomes):
        raise UserError("the runs were judged on different examples; judge them on the same ones")
    qualities, rows = zip(*(values(one, task) for one in outcomes), strict=True)
    return Cell(np.array(qualities), np.stack(rows))


def joined(cells: Sequence[Cell]) -> Cell:
    """One cell of several that were judged on different examples, as the folds of a
    cross-validation are: each seed's quality is that over all of them."""
    sizes = np.array([c.values_SB.shape[1] for c in cells], np.float64)
    qualities_SK = np.stack([c.qualities_S for c in cells], axis=1)
    return Cell(
        qualities_SK @ (sizes / sizes.sum()), np.concatenate([c.values_SB for c in cells], axis=1)
    )


@dataclass(frozen=True)
class Spread:
    """The variance of a run's quality between seeds, pooled over cells."""

    variance: float
    freedom: float

    @staticmethod
    def pooled(cells: Sequence[Cell]) -> Spread:
        freedom = sum(c.seeds - 1 for c in cells)
        total = sum((c.seeds - 1) * c.variance for c in cells)
        return Spread(total / freedom if freedom else 0.0, float(freedom))


def contrast(cells: Sequence[Cell], weights: Sequence[float], spread: Spread) -> Effect:
    """The weighted sum of the cells' qualities, for example -1 and +1 of two, and its error.

    Cells that vary no less than the pool does are taken at their own variances, with the degrees
    of freedom that these have (Welch 1947); and seeds that agree by chance in their totals are not
    taken to agree more than they do on single examples.
    """
    if spread.freedom < 1 or any(c.seeds < 2 for c in cells):
        raise ValueError("one seed has no variance: compare runs, not recipes")
    sizes = {c.values_SB.shape[1] for c in cells}
    if len(sizes) != 1:
        raise ValueError(f"cells were judged on {sorted(sizes)} examples; they must be the same")
    examples = sizes.pop()
    shares = [w * w / c.seeds for w, c in zip(weights, cells, strict=True)]
    residual = sum(s * c.residual for s, c in zip(shares, cells, strict=True)) / examples
    seed_variance, freedom = spread.variance * sum(shares), spread.freedom
    parts = [(s * c.variance, c.seeds - 1) for s, c in zip(shares, cells, strict=True)]
    own = sum(variance for variance, _ in parts)
    if own >= seed_variance * (1 - _ROUNDING):
        seed_variance, freedom = own, min(freedom, _freedom(*parts) or freedom)
    seed_variance = max(seed_variance, residual)
    value = sum(w * c.quality for w, c in zip(weights, cells, strict=True))
    rows = [w * c.values_SB.mean(axis=0) for w, c in zip(weights, cells, strict=True)]
    difference_B = np.sum(rows, axis=0)
    example_variance = 0.0
    if examples > 1:
        # Part of it is the seeds' and stands in their variance already.
        example_variance = max(0.0, float(difference_B.var(ddof=1)) / examples - residual)
    if all(c.is_share for c in cells):
        # As if two more examples had been answered otherwise, one by each side (Agresti & Min
        # 2005): runs that agree on few examples have not shown that they always will.
        example_variance += sum(w * w for w in weights) / 2 / (examples + 2) ** 2
    variance = seed_variance + example_variance
    return Effect(
        value=value,
        error=sqrt(variance),
        freedom=_freedom((seed_variance, freedom), (example_variance, max(1, examples - 1)))
        or freedom,
        seed_error=sqrt(seed_variance),
        example_error=sqrt(example_variance),
        seeds=min(c.seeds for c in cells),
    )


def of_runs(before: Cell, after: Cell) -> Effect:
    """The difference between two runs, one of each cell: it says nothing of their recipes."""
    difference_B = after.values_SB[0] - before.values_SB[0]
    examples = len(difference_B)
    error = float(difference_B.std(ddof=1)) / sqrt(examples) if examples > 1 else 0.0
    value = float(after.qualities_S[0] - before.qualities_S[0])
    return Effect(value, error, max(1.0, examples - 1.0), 0.0, error, 1)


def _freedom(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of the sum of estimated variances, each with its own (Satterthwaite
    1946); 0 where nothing varied."""
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below else 0.0


# --- several statements at once ------------------------------------------------------------------


def bonferroni(count: int, confidence: float = 0.95) -> float:
    """The confidence of each of so many intervals for all to hold together."""
    return 1 - (1 - confidence) / max(1, count)


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which are rejected so that at most `level` of such families hold a false rejection (Holm
    1979): the smallest is held against level / K, the next against level / (K - 1), and so on."""
    found = [False] * len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[place] > level / (len(p_values) - rank):
            break
        found[place] = True
    return found


def judged(family: Sequence[Effect], confidence: float = 0.95) -> list[tuple[Interval, Verdict]]:
    """Each effect's Bonferroni interval and its verdict after Holm, of a family that is read as
    one. Too few seeds prove nothing: their verdict is "not measured"."""
    each = bonferroni(len(family), confidence)
    told = holm([effect.p_value for effect in family], 1 - confidence)
    note = f"; Bonferroni over {len(family)}, verdict after Holm" if len(family) > 1 else ""
    found: list[tuple[Interval, Verdict]] = []
    for effect, apart in zip(family, told, strict=True):
        interval = effect.interval(each)
        verdict: Verdict = "within noise"
        if effect.seeds < FEWEST_SEEDS:
            verdict = "not measured"
        elif apart:
            verdict = "better" if effect.value > 0 else "worse"
        found.append((replace(interval, method=interval.method + note), verdict))
    return found
