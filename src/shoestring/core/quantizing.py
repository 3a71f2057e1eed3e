"""quantizing: what a network offers to whoever wants its weights shipped in fewer bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    import torch

    from shoestring.core.protocols import Examples
    from shoestring.core.run import Run

FLOAT: Plain = {"method": "none"}  # said of a run that ships float32 whatever is faster
# Keys of `Run.quantization` that mean the same for every network: the method, one of its
# `quantizations` or "none"; the bits of a weight; by the name of each layer that is quantized, in
# order, what was measured for it; the names of those that stay float32 all the same.
METHOD, BITS, LAYERS, KEPT = "method", "bits", "layers", "float"
CALIBRATION = "calibration"  # how what was measured became a range
MEMBERS = "members"  # of a network of several: the quantization of each


def levels(bits: int) -> int:
    """Of a weight, on either side of zero. A byte has no more than 63: processors without VNNI add
    two products of an activation (to 255) and a weight in 16 bits, and with weights to 127 they
    overflow, so that a bundle would answer one thing here and another there."""
    return 63 if bits == 8 else int(2 ** (bits - 1)) - 1


class Quantizing(Protocol):
    """What `graphs` knows of `Run.quantization`. Weights in a run stay float32."""

    quantizations: tuple[str, ...]  # methods, the usual one first

    def calibrated(
        self, model: torch.nn.Module, run: Run, examples: Examples, wanted: Plain
    ) -> Plain:
        """A quantization of this model as `wanted` (a method, and what that takes), with LAYERS
        measured on these examples. UserError for one that the network does not know."""


def brief(quantization: Plain) -> Plain:
    """What a bundle says of it: without what was measured. Empty for float32."""
    if MEMBERS in quantization:
        own = [brief(one) for one in quantization[MEMBERS]]
        return {MEMBERS: own} if any(own) else {}
    if not said(quantization):
        return {}
    return {name: quantization[name] for name in (METHOD, BITS) if name in quantization}


def said(quantization: Plain) -> bool:
    """Whether anything but float32 is asked for."""
    return bool(quantization) and quantization.get(METHOD) != FLOAT[METHOD]
