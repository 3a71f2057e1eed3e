"""test_intervals: Wilson's interval of a proportion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.intervals import wilson

counts = st.integers(1, 10**6).flatmap(
    lambda total: st.tuples(st.integers(0, total), st.just(total))
)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17: 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(right: int, total: int, low: float, high: float) -> None:
    interval = wilson(right, total)
    assert interval.value == pytest.approx(right / total)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)
    assert (interval.confidence, interval.method) == (0.95, "Wilson")


def test_of_nothing_nothing_is_known() -> None:
    interval = wilson(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


@given(counts)
def test_the_interval_holds_its_value_and_stays_a_proportion(count: tuple[int, int]) -> None:
    interval = wilson(*count)
    assert 0 <= interval.low <= interval.high <= 1
    assert interval.low - 1e-12 <= interval.value <= interval.high + 1e-12


@given(counts)
def test_wrong_and_right_mirror_each_other(count: tuple[int, int]) -> None:
    right, total = count
    one, other = wilson(right, total), wilson(total - right, total)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1 - other.low, abs=1e-9)


@given(counts)
def test_more_examples_and_less_confidence_narrow_it(count: tuple[int, int]) -> None:
    right, total = count
    here = wilson(right, total)
    more = wilson(4 * right, 4 * total)
    less_sure = wilson(right, total, confidence=0.8)
    assert more.high - more.low < here.high - here.low
    assert less_sure.high - less_sure.low < here.high - here.low
    assert less_sure.confidence == 0.8
