"""Weights in eight bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.bundle import session
from shoestring.core.errors import UserError
from shoestring.core.quantizing import BITS, METHOD, levels
from shoestring.tasks.translation.graph import FLOAT, Writer
from shoestring.tasks.translation.graph_weights import Weights
from shoestring.tasks.translation.quantize import UNIT, checked, per_column


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.floats(1e-6, 1e6))
def test_no_weight_moves_by_more_than_half_a_step_of_its_column(
    seed: int, inputs: int, outputs: int, size: float
) -> None:
    draws = np.random.default_rng(seed)
    weight = (draws.normal(size=(inputs, outputs)) * size).astype(np.float32)
    whole, scale = per_column(weight)
    assert whole.dtype == np.int8
    assert np.abs(whole.astype(int)).max(axis=0).tolist() == [levels(8)] * outputs
    assert (np.abs(whole * scale - weight) <= 0.5001 * scale).all()


def test_a_column_of_zeros_stays_one() -> None:
    whole, scale = per_column(np.array([[0.0, 2.0], [0.0, -1.0]], np.float32))
    assert not whole[:, 0].any()
    assert np.isfinite(scale).all()
    assert whole[:, 1].tolist() == [63, -31]


def test_the_largest_bytes_do_not_overflow_on_any_processor() -> None:
    """Without VNNI two products are added in 16 bits."""
    weights = Weights()
    graph = Writer(weights, int8=True)
    value = graph.input("value", FLOAT, ["r", 64])
    given = graph.linear(value, np.ones((16, 64), np.float32), None, UNIT)
    graph._outputs_as("given", given, FLOAT, ["r", 16])
    opened = session.open_graph(graph.to_bytes(), "graph.onnx", shared=weights.to_bytes())
    for rows in (1, 70):
        (found,) = opened.run(None, {"value": np.ones((rows, 64), np.float32)})
        np.testing.assert_allclose(found, 64.0, rtol=1e-5)


def test_fewer_bits_than_eight_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="ship in 8 bits or as floats, not in 4 bits"):
        checked({METHOD: "dynamic", BITS: 4})
