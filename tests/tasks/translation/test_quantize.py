"""Weights in eight bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.core.quantizing import BITS, METHOD
from shoestring.tasks.translation.quantize import LEVELS, checked, per_column


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.floats(1e-6, 1e6))
def test_no_weight_moves_by_more_than_half_a_step_of_its_column(
    seed: int, inputs: int, outputs: int, size: float
) -> None:
    draws = np.random.default_rng(seed)
    weight = (draws.normal(size=(inputs, outputs)) * size).astype(np.float32)
    whole, scale = per_column(weight)
    assert whole.dtype == np.int8
    assert np.abs(whole.astype(int)).max(axis=0).tolist() == [LEVELS] * outputs
    assert (np.abs(whole * scale - weight) <= 0.5001 * scale).all()


def test_a_column_of_zeros_stays_one() -> None:
    whole, scale = per_column(np.array([[0.0, 2.0], [0.0, -1.0]], np.float32))
    assert not whole[:, 0].any()
    assert np.isfinite(scale).all()
    assert whole[:, 1].tolist() == [127, -64]


def test_fewer_bits_than_eight_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="ship in 8 bits or as floats, not in 4 bits"):
        checked({METHOD: "dynamic", BITS: 4})
