"""Bootstrap intervals of metrics that sums over examples decide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shoestring.data import resample


def mean(sums_RS: np.ndarray) -> np.ndarray:
    return sums_RS[:, 0] / sums_RS[:, 1]


def rows(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    found = resample.interval(rows(values), mean)
    expected = stats.norm.interval(0.95, values.mean(), values.std() / np.sqrt(2000))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)
    assert found.method == "bootstrap over examples, 1,000 resamples"


def test_it_is_the_same_each_time_and_whatever_fits_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = rows(np.random.default_rng(1).random(300))
    whole = resample.interval(values, mean)
    assert resample.interval(values, mean) == whole
    monkeypatch.setattr(resample, "_AT_ONCE", 700)
    parts = resample.interval(values, mean)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high))


def test_a_surer_interval_takes_more_resamples() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 200)
    for confidence, count in ((0.5, "1,000"), (0.95, "1,000"), (1 - 0.05 / 20, "20,000")):
        found = resample.interval(rows(values), mean, confidence)
        assert found.method == f"bootstrap over examples, {count} resamples"
        reach = stats.norm.ppf(0.5 + confidence / 2) * values.std() / np.sqrt(200)
        assert found.high - found.low == pytest.approx(2 * reach, rel=0.08)
    assert resample.resamples_of(1 - 1e-9) == resample.MOST_RESAMPLES


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    random, outside = np.random.default_rng(0), 0
    for _ in range(200):
        found = resample.interval(rows(random.random(80) < 0.4), mean)
        outside += not found.low <= 0.4 <= found.high
    assert outside <= 24  # 10 are expected


def test_the_same_examples_of_both_are_taken() -> None:
    random = np.random.default_rng(0)
    before = random.normal(0, 10, 400)
    found = resample.paired_interval(rows(before), rows(before + 1), mean)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_one_example_has_no_width() -> None:
    found = resample.interval(rows(np.array([0.5])), mean)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)
