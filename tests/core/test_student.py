"""Student's t beside the one that scipy computes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shoestring.core import student

FREEDOM = st.floats(1, 1e6)


@given(st.floats(-50, 50), FREEDOM)
def test_p_values_are_those_of_scipy(t: float, freedom: float) -> None:
    expected = 2 * stats.t.sf(abs(t), freedom)
    assert student.two_sided(t, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-14)


@given(st.floats(1e-4, 1 - 1e-4), FREEDOM)
def test_quantiles_are_those_of_scipy(probability: float, freedom: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert student.quantile(probability, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_ends() -> None:
    assert student.two_sided(0.0, 3) == 1.0
    assert student.two_sided(-math.inf, 3) == 0.0
    assert student.two_sided(1.96, math.inf) == pytest.approx(0.05, abs=1e-4)
    with pytest.raises(ValueError, match="between 0 and 1, not at 1"):
        student.quantile(1, 3)


def test_the_smallest_effect_that_is_seen_is_that_of_a_power_analysis() -> None:
    # About 2.8 standard errors: 1.96 to be told from zero, 0.84 to be so in four cases of five.
    assert student.smallest_seen(2.0, 1e6) == pytest.approx(5.6, abs=0.01)
