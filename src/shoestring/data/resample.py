"""resample: bootstrap intervals of metrics that are decided by sums over examples.

Shapes: B examples, S statistics, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from shoestring.core.receipt import Interval

Rows = NDArray[np.float64]
Metric = Callable[[Rows], NDArray[np.float64]]  # (R, S) sums to (R,) qualities

RESAMPLES = 1_000  # of an interval of 95%
TAIL = 25  # resamples that lie outside it on each side; a surer interval needs more to have as many
MOST_RESAMPLES = 50_000
_AT_ONCE = 1 << 22  # draws


def interval(rows_BS: Rows, metric: Metric, confidence: float = 0.95) -> Interval:
    """The metric of all examples, and the percentile interval of resampled ones (Efron 1979;
    Koehn 2004 for translation). The draws are the same each time."""
    weights = _weights(len(rows_BS), resamples_of(confidence))
    values_R = np.concatenate([metric(w_RB @ rows_BS) for w_RB in weights])
    return _interval(float(metric(rows_BS.sum(axis=0)[None])[0]), values_R, confidence, "bootstrap")


def paired_interval(
    before_BS: Rows, after_BS: Rows, metric: Metric, confidence: float = 0.95
) -> Interval:
    """The metric after less the metric before, both of the same B examples in the same order,
    and the interval over resamples that take the same examples of both (Koehn 2004)."""
    differences = [
        metric(w_RB @ after_BS) - metric(w_RB @ before_BS)
        for w_RB in _weights(len(before_BS), resamples_of(confidence))
    ]
    sums = [rows.sum(axis=0)[None] for rows in (before_BS, after_BS)]
    value = float(metric(sums[1])[0] - metric(sums[0])[0])
    return _interval(value, np.concatenate(differences), confidence, "paired bootstrap")


def resamples_of(confidence: float) -> int:
    """How many resamples an interval takes, so that its ends are no luck of a few of them: those
    of a Bonferroni interval over many statements lie far out."""
    needed = round(2 * TAIL / (1 - confidence))
    return min(MOST_RESAMPLES, max(RESAMPLES, needed))


def _interval(value: float, values_R: Rows, confidence: float, name: str) -> Interval:
    outside = (1 - confidence) / 2
    low, high = np.quantile(values_R, [outside, 1 - outside])
    method = f"{name} over examples, {len(values_R):,} resamples"
    # Few examples can put all resamples to one side of the whole.
    return Interval(value, min(float(low), value), max(float(high), value), confidence, method)


def _weights(count: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """(r, B) how often each example stands in each resample, some resamples at a time."""
    random = np.random.Generator(np.random.Philox(key=[count, resamples]))
    at_once = max(1, min(resamples, _AT_ONCE // max(1, count)))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count)
        yield weights.reshape(rows, count).astype(np.float64)
