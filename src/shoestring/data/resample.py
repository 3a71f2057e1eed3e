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

RESAMPLES = 1_000
_AT_ONCE = 1 << 22  # draws


def interval(rows_BS: Rows, metric: Metric, confidence: float = 0.95) -> Interval:
    """The metric of all examples, and the percentile interval of resampled ones (Efron 1979;
    Koehn 2004 for translation). The draws are the same each time."""
    values_R = np.concatenate([metric(w_RB @ rows_BS) for w_RB in _weights(len(rows_BS))])
    return _interval(float(metric(rows_BS.sum(axis=0)[None])[0]), values_R, confidence, "bootstrap")


def paired_interval(
    before_BS: Rows, after_BS: Rows, metric: Metric, confidence: float = 0.95
) -> Interval:
    """The metric after less the metric before, both of the same B examples in the same order,
    and the interval over resamples that take the same examples of both (Koehn 2004)."""
    differences = [
        metric(w_RB @ after_BS) - metric(w_RB @ before_BS) for w_RB in _weights(len(before_BS))
    ]
    sums = [rows.sum(axis=0)[None] for rows in (before_BS, after_BS)]
    value = float(metric(sums[1])[0] - metric(sums[0])[0])
    return _interval(value, np.concatenate(differences), confidence, "paired bootstrap")


def _interval(value: float, values_R: Rows, confidence: float, name: str) -> Interval:
    outside = (1 - confidence) / 2
    low, high = np.quantile(values_R, [outside, 1 - outside])
    method = f"{name} over examples, {RESAMPLES:,} resamples"
    # Few examples can put all resamples to one side of the whole.
    return Interval(value, min(float(low), value), max(float(high), value), confidence, method)


def _weights(count: int) -> Iterator[NDArray[np.float64]]:
    """(r, B) how often each example stands in each resample, some resamples at a time."""
    random = np.random.Generator(np.random.Philox(key=[count, RESAMPLES]))
    at_once = max(1, min(RESAMPLES, _AT_ONCE // max(1, count)))
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        drawn = random.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count)
        yield weights.reshape(rows, count).astype(np.float64)
