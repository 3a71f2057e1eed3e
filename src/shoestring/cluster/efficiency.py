"""efficiency: how much of a data sheet training gets, and where each constant came from.

`python bench/plan_world.py --fit` moves the fitted ones, on one half of bench/plan_published.csv:
every second row of it, in the order of the file, chosen before any error was seen. The other half
judges them; bench/cluster.md has the errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Efficiency:
    """Shares of what a family of devices could do at most."""

    matrix: float  # of the rate, in wide products of 16 or 32 bits
    matrix8: float  # the same of the rate of 8 bits, with the casts
    attention: float  # of the rate, in attention tile by tile
    fitted: bool = True  # False: assumed to be as the nearest family that was


@dataclass(frozen=True)
class Constants:
    """What holds for every device."""

    narrow: float  # width of a product at which half of `matrix` is reached
    traffic: Mapping[str, float]  # times that a kept element crosses memory in a step, by fusion
    memory: float  # share of memory's bandwidth that passes over arrays reach
    link: float  # share of links and networks that collectives reach
    data_overlap: float  # share of the computing that hides gradients and gathered weights
    tensor_overlap: float  # share of tensor parallelism's traffic that is hidden
    cut_attention: float  # share of attention's rate that is left where sequences are cut
    hop_seconds: float  # of one step of a ring
    block_seconds: Mapping[str, float]  # to start the kernels of a block, both ways, by fusion
    fragmentation: float  # reserved memory over what is in use
    runtime_bytes: float  # that a device's driver and its collectives keep for themselves
    loss_bytes: Mapping[str, float]  # memory an output element takes at its peak, by fusion


FUSIONS = ("none", "blocks", "all")

_AMPERE = Efficiency(matrix=0.677, matrix8=0.5, attention=0.406)  # it has no products of 8 bits
_HOPPER = Efficiency(matrix=0.537, matrix8=0.575, attention=0.218)

FAMILIES: Mapping[str, Efficiency] = {
    "ampere": _AMPERE,
    "hopper": _HOPPER,
}
# Families without published rows in the table take what a neighbour gets.
_UNFITTED: Mapping[str, Efficiency] = {
    "volta": Efficiency(0.55, 0.4, 0.3, fitted=False),
    "turing": Efficiency(0.45, 0.4, 0.3, fitted=False),
    "cpu": Efficiency(0.6, 0.5, 0.3, fitted=False),
}

CONSTANTS = Constants(
    narrow=153.0,
    # One that is not compiled may not pass over its arrays fewer times than one that is, and the
    # search ended at that edge, though torchtitan measured 14% between them.
    traffic={"none": 5.53, "blocks": 5.53, "all": 5.53},
    memory=0.8,  # an assumption; the fitted traffic goes with it
    link=0.83,
    data_overlap=0.92,
    tensor_overlap=0.214,
    cut_attention=0.895,
    hop_seconds=10e-6,  # an assumption
    # 40 kernels of 5 microseconds forward, and twice as many backward; a third of them where they
    # are compiled together: assumptions.
    block_seconds={"none": 600e-6, "blocks": 200e-6, "all": 200e-6},
    # This and loss_bytes were set by hand, on the memory of the calibrating rows.
    fragmentation=1.05,
    runtime_bytes=1.5e9,
    # Logits in 16 bits, their logarithms of probabilities in 32, and in the backward pass gradients
    # of both these and of the logits; compiled, the logits and one array of 32 bits.
    loss_bytes={"none": 14.0, "blocks": 14.0, "all": 6.0},
)


def efficiency(family: str) -> Efficiency:
    """Of a family of devices. One that nothing was published of, or whose name is none, gets what
    the newest family that was fitted gets, marked as not fitted."""
    found = FAMILIES.get(family) or _UNFITTED.get(family)
    return found or Efficiency(_HOPPER.matrix, _HOPPER.matrix8, _HOPPER.attention, fitted=False)
