"""evidence: whether one run beats another, from the stored outcomes of both. Numpy only.

Two runs answered the same examples, so what counts are the examples on which they differ. With
one seed each, all that can be said is "this run beats that run". Where a metric is the share of
right answers, counts decide; where it is a function of sums over examples, which its task tells,
both runs are resampled together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, lgamma, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.bundle.grade import read_outcomes
from shoestring.core.errors import UserError
from shoestring.core.intervals import wilson
from shoestring.core.protocols import Outcomes, Task
from shoestring.core.receipt import Interval, Verdict
from shoestring.data import resample

METHOD = "Newcombe's paired interval over examples, one seed each"
DOUBT = "the interval lies on one side of zero, but an exact test is less sure (p = {p:.2g})"
_FEWEST_COMMON = 0.5  # share of the smaller run's examples that both must have answered


@dataclass(frozen=True)
class Pairs:
    """Common examples by who was right."""

    both: int
    only_before: int
    only_after: int
    neither: int

    @property
    def total(self) -> int:
        return self.both + self.only_before + self.only_after + self.neither


def gain(
    before: Path, after: Path, task: Task, left_out: NDArray[np.bool_] | None = None
) -> tuple[Interval, Verdict, str]:
    """`judged` of two outcomes files. `left_out` marks examples of the first that something was
    decided on."""
    first = read_outcomes(before)
    if left_out is not None:
        first = {name: values[~left_out] for name, values in first.items()}
    return judged(first, read_outcomes(after), task)


def judged(
    before: Outcomes, after: Outcomes, task: Task, confidence: float = 0.95
) -> tuple[Interval, Verdict, str]:
    """The interval of `paired`, the verdict that it and the exact test of the same examples agree
    on, and what is to be said where they do not."""
    interval = paired(before, after, task, confidence)
    p = p_value(before, after, task)
    found = verdict(interval, p)
    return interval, found, "" if found == verdict(interval) else DOUBT.format(p=p)


def paired(before: Outcomes, after: Outcomes, task: Task, confidence: float = 0.95) -> Interval:
    """The task's metric after less that before, on the examples that both answered."""
    at_before, at_after = shared(before, after)
    old, new = task.statistics(before), task.statistics(after)
    if old is None or new is None:
        return difference(pairs(before, after), confidence)
    found = resample.paired_interval(
        old.rows_BS[at_before], new.rows_BS[at_after], old.metric, confidence
    )
    return replace(found, method=f"{found.method}, one seed each")


def pairs(before: Outcomes, after: Outcomes) -> Pairs:
    """Counts over the common examples."""
    at_before, at_after = shared(before, after)
    old, new = right(before, "first")[at_before], right(after, "second")[at_after]
    return Pairs(
        both=int((old & new).sum()),
        only_before=int((old & ~new).sum()),
        only_after=int((~old & new).sum()),
        neither=int((~old & ~new).sum()),
    )


def shared(before: Outcomes, after: Outcomes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the common examples stand in each, matched by content hash; of byte-equal examples
    the first is matched with the first, and so on. UserError where fewer than half are common."""
    keys_before = _keyed(_hashes(before, "first"))
    keys_after = _keyed(_hashes(after, "second"))
    _, at_before, at_after = np.intersect1d(
        keys_before, keys_after, assume_unique=True, return_indices=True
    )
    smaller = min(len(keys_before), len(keys_after))
    if not len(at_before) or len(at_before) < _FEWEST_COMMON * smaller:
        raise UserError(
            f"the two runs have only {len(at_before)} examples in common, of {len(keys_before)} "
            f"and {len(keys_after)}; compare runs with the same validation split"
        )
    return at_before, at_after


def difference(counts: Pairs, confidence: float = 0.95) -> Interval:
    """The difference of two paired proportions with the score interval of Newcombe 1998,
    "Improved confidence intervals for the difference between binomial proportions based on paired
    data", method 10: Wilson intervals of both, joined by their correlation."""
    n = counts.total
    old, new = counts.both + counts.only_before, counts.both + counts.only_after
    value = (new - old) / n
    first, second = wilson(new, n, confidence), wilson(old, n, confidence)
    correlation = _correlation(counts)
    below = (first.value - first.low, second.high - second.value)
    above = (first.high - first.value, second.value - second.low)
    low, high = (sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b)) for a, b in (below, above))
    return Interval(value, max(-1.0, value - low), min(1.0, value + high), confidence, METHOD)


def mcnemar(counts: Pairs) -> float:
    """The exact two-sided p-value of McNemar's test (1947): how often a fair coin would split the
    examples on which the runs differ at least as unevenly."""
    n, fewer = (
        counts.only_before + counts.only_after,
        min(counts.only_before, counts.only_after),
    )
    tail = sum(exp(_log_choose(n, k) - n * log(2)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def p_value(before: Outcomes, after: Outcomes, task: Task) -> float:
    """Of no difference between two runs. McNemar's exact test where the metric is a share of right
    answers. For any other, the least that exchanging the answers of both could show where they
    differ on D examples: 2 of the 2^D ways are as far apart as what was seen, however few the
    resamples of a bootstrap that draw none of them."""
    old, new = task.statistics(before), task.statistics(after)
    if old is None or new is None:
        return mcnemar(pairs(before, after))
    at_before, at_after = shared(before, after)
    differing = (old.rows_BS[at_before] != new.rows_BS[at_after]).any(axis=1).sum()
    return min(1.0, 2.0 ** (1 - int(differing)))


def verdict(interval: Interval, p_value: float = 0.0) -> Verdict:
    """Better or worse where the whole interval is on one side of zero, and a test of the same
    examples, where there is one, is as sure: Newcombe's interval alone is not where five examples
    of five went one way (McNemar's p is 0.06)."""
    if p_value >= 1 - interval.confidence:
        return "within noise"
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "within noise"


def _hashes(outcomes: Outcomes, which: str) -> NDArray[np.uint64]:
    return np.asarray(_kept(outcomes, "hashes", "which examples they are", which), np.uint64)


def right(outcomes: Outcomes, which: str = "measured") -> NDArray[np.bool_]:
    """(B,) whether each example was answered right: all that a metric which is a share of right
    answers needs."""
    found = np.asarray(_kept(outcomes, "right", "which were right", which))
    count = len(outcomes["hashes"])
    if found.dtype != np.bool_ or found.shape != (count,):
        raise UserError(
            f"the outcomes of the {which} run hold 'right' as {found.dtype} {found.shape}, not as "
            f"one bool for each of {count} examples; grade the run again"
        )
    return found


def _kept(outcomes: Outcomes, name: str, what: str, which: str) -> NDArray[Any]:
    if name not in outcomes:
        raise UserError(
            f"the outcomes of the {which} run hold no {name!r}, so they do not say {what}; "
            "grade the run again, and compare only runs of one task"
        )
    return outcomes[name]


def _keyed(hashes: NDArray[np.uint64]) -> NDArray[Any]:
    """(hash, how many equal ones came before) of every example."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else order
    sizes = np.diff(np.r_[starts, len(ordered)])
    keys = np.zeros(len(hashes), dtype=[("hash", np.uint64), ("nth", np.int64)])
    keys["hash"] = hashes
    keys["nth"][order] = np.arange(len(ordered)) - np.repeat(starts, sizes)
    return keys


def _correlation(counts: Pairs) -> float:
    """Phi of the two runs' answers, with Newcombe's correction where it is above zero."""
    a, b, c, d = counts.both, counts.only_before, counts.only_after, counts.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if not margins:
        return 0.0
    cross = float(a * d - b * c)
    if cross > 0:
        cross = max(cross - counts.total / 2, 0.0)
    return cross / sqrt(margins)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
