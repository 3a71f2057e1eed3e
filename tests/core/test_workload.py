"""Shapes and what they cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.core.workload import Shape, completed, transformer


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        # What the models' own pages say; norms and biases are left out.
        (Shape(layers=96, hidden=12288, heads=96, vocabulary=50257), 174.6e9),
        (
            Shape(
                layers=32,
                hidden=4096,
                heads=32,
                key_value_heads=8,
                feed_forward=14336,
                gated=True,
                vocabulary=128256,
                tied=False,
            ),
            8.03e9,
        ),
        (
            Shape(
                layers=80,
                hidden=8192,
                heads=64,
                key_value_heads=8,
                feed_forward=28672,
                gated=True,
                vocabulary=128256,
                tied=False,
            ),
            70.6e9,
        ),
    ],
)
def test_known_models_have_their_parameters(shape: Shape, parameters: float) -> None:
    found = transformer(completed(shape, None), 2048, "known")
    assert found.parameters == pytest.approx(parameters, rel=0.005)
    assert found.blocks * found.block_parameters + found.outside == pytest.approx(found.parameters)


def test_training_takes_six_operations_a_parameter_and_token() -> None:
    """Kaplan et al. 2020, with attention on top (their 2.1); an embedding that is tied counts as
    the output."""
    found = transformer(completed(Shape(layers=24, hidden=2048), None), 1024, "1B")
    without = 6 * (found.matrix_macs + found.output_macs)
    assert without == pytest.approx(6 * found.parameters * 1024, rel=1e-9)
    assert found.attention_macs == 24 * 2048 * 1024**2


@given(st.floats(2e7, 1e12), st.booleans())
def test_a_shape_is_found_for_any_size(parameters: float, crossed: bool) -> None:
    found = completed(Shape(crossed=crossed, vocabulary=8000), parameters)
    made = found.weights() * found.layers + found.outside()
    assert made == pytest.approx(parameters, rel=0.1)
    assert found.hidden % found.heads == 0 or found.hidden < 256
    assert not (crossed and found.layers % 2)


@pytest.mark.parametrize("parameters", [60e6, 350e6, 1.3e9, 7e9, 13e9, 70e9, 175e9, 1e12])
@pytest.mark.parametrize("crossed", [False, True])
def test_heads_of_a_shape_that_is_assumed_divide_over_devices(
    parameters: float, crossed: bool
) -> None:
    """Or every tensor strategy of a plan is refused for a shape that nobody would build."""
    heads = completed(Shape(crossed=crossed, vocabulary=32_000), parameters).heads
    assert heads % 8 == 0 or heads in (1, 2, 4, 6, 12)


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UserError, match=r"12 layers of 768 units make 0\.11B parameters, not 7B"):
        completed(Shape(layers=12, hidden=768), 7e9)
    with pytest.raises(UserError, match="say how large the model is"):
        completed(Shape(layers=12), None)
    with pytest.raises(UserError, match="too few for an embedding of 32,000 pieces"):
        completed(Shape(), 1e6)
