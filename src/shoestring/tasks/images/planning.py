"""planning: what training a network for pictures costs, told before there is one. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.core.workload import Size, Workload
from shoestring.tasks.images.layers import output_shape

# ResNet-50 at 224 pixels (He et al. 2016; activations: Radosavovic et al. 2020), from
# which others are told by rule.
PARAMETERS, MACS, ACTIVATIONS, SIDE = 25.6e6, 4.1e9, 11.1e6, 224
BLOCKS = 16
CLASSES = 1_000
KEPT = 2  # of each product's answer: it, and what it is after normalisation
WIDTH = 256.0  # typical of a product's narrower side


@dataclass(frozen=True)
class PlanOptions:
    image_size: int = SIDE  # side in pixels

    def __post_init__(self) -> None:
        if not 1 <= self.image_size <= 16_384:
            raise UserError(f"image_size is a side of 1 to 16,384 pixels, not {self.image_size}")


def planned(size: Size, options: PlanOptions) -> Workload:
    """A network of convolutions. Without an architecture its MACs grow with parameters and pixels
    from those of ResNet-50, and its activations as the root of its MACs (Radosavovic et al. 2020:
    those of the best networks of each size do)."""
    rows = _rows(size)
    if size.parameters is None:
        raise UserError("say how large the model is: --parameters, such as 25M")
    side = options.image_size
    if rows is not None:
        shape = tuple(int(n) for n in (size.architecture or {})["input"])
        macs = size.macs or 0.0
        kept, blocks = _kept(rows, shape), len(rows)
        told = f"the run's network of {blocks} layers, pictures of {shape[1]}x{shape[2]}"
    else:
        macs = size.macs or MACS * size.parameters / PARAMETERS * (side / SIDE) ** 2
        kept, blocks = KEPT * ACTIVATIONS * sqrt(macs / MACS), BLOCKS
        source = "its own count" if size.macs else "as ResNet-50's for its parameters and pixels"
        told = (
            f"convolutions, pictures of {side}x{side}: {macs / 1e9:.3g} GMACs ({source}), "
            f"{kept / 1e6:.3g}M kept elements a picture"
        )
    return Workload(
        told=told,
        unit="examples",
        length=1,
        parameters=size.parameters,
        outside=0.0,
        blocks=blocks,
        matrix_macs=macs,
        output_macs=0.0,
        attention_macs=0.0,
        kept=kept / blocks,
        selected=kept / blocks / KEPT,
        boundary=kept / blocks / KEPT,
        output=float(CLASSES),
        width=WIDTH,
    )


def _rows(size: Size) -> Sequence[Plain] | None:
    """The rows of a run's network, where it is one of rows."""
    rows: Any = (size.architecture or {}).get("layers")
    return rows if isinstance(rows, list | tuple) and rows else None


def _kept(rows: Sequence[Plain], shape: tuple[int, ...]) -> float:
    """Elements of all answers of layers that a backward pass reads again."""
    total = 0.0
    for row in rows:
        after = output_shape(row, shape)
        if row["layer"] == "residual":
            total += _kept(row["layers"], shape)
        if row["layer"] in ("conv", "dense", "norm", "pool", "residual"):
            total += prod(after)
        shape = after
    return total
