"""quantize: int8 weights, one scale a column, and what keeps activations in eight bits.

Shapes: K inputs, N outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.core.quantizing import BITS, METHOD, levels
from shoestring.core.receipt import Plain

METHODS = ("none", "dynamic")
LEVELS = 127  # of an activation, on either side of zero
UNIT = 1 / LEVELS  # the step of values from -1 to 1: of LSTMs, their means, and tanh


class Quantized(NamedTuple):
    """A matrix of which column n is `whole[:, n] * scale[n]`."""

    whole: NDArray[np.int8]  # (K, N)
    scale: NDArray[np.float32]  # (N,)


def per_column(weight_KN: NDArray[np.float32]) -> Quantized:
    """Symmetric; a column of zeros stays one."""
    largest_N = np.abs(weight_KN).max(axis=0)
    scale_N = np.where(largest_N > 0, largest_N / levels(8), 1).astype(np.float32)
    return Quantized(np.rint(weight_KN / scale_N).astype(np.int8), scale_N)


def checked(quantization: Plain) -> Plain:
    """The quantization; UserError for what is not known."""
    method, bits = quantization.get(METHOD, "none"), quantization.get(BITS, 8)
    if bits != 8:
        raise UserError(f"a translator's weights ship in 8 bits or as floats, not in {bits} bits")
    if method not in METHODS or set(quantization) - {METHOD, BITS}:
        raise UserError(
            f"a translator is not quantized by {dict(quantization)!r}; "
            f"method is one of: {', '.join(METHODS)}"
        )
    return quantization


def integers(quantization: Plain) -> bool:
    """Whether weights ship as int8, from what a run says. UserError for what is not known."""
    return bool(checked(quantization).get(METHOD) == "dynamic")
