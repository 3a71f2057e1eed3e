"""units: the channels and dense units of the networks for pictures, and networks with fewer.

A channel is made by a convolution, scaled and shifted by the normalisation behind it, and read by
whatever convolution or dense layer comes next; what residual layers add belongs to the channels
that they add to. Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.core.units import Kept, Slice, UnitGroup
from shoestring.tasks.images import efficientnet, layers, pretrained

Place = tuple[int, ...]  # of a row: its number, and inside a residual the number in that


def groups(architecture: Plain) -> list[UnitGroup]:
    """The groups of a network; a network of timm has none that are known."""
    match architecture["kind"]:
        case pretrained.TIMM:
            return []
        case pretrained.EFFICIENTNET:
            return _of_efficientnet(architecture)
    return [group.closed() for group in _walked(architecture)]


def thinned(architecture: Plain, kept: Kept) -> Plain:
    """The architecture with so many units in each group."""
    if architecture["kind"] == pretrained.EFFICIENTNET:
        widths = {name: len(units) for name, units in kept.items()}
        return {**architecture, "widths": {**architecture.get("widths", {}), **widths}}
    units: dict[Place, int] = {}
    for group in _walked(architecture):
        if group.name in kept:
            units |= dict.fromkeys(group.rows, len(kept[group.name]))
    return {**architecture, "layers": _with_units(architecture["layers"], units, ())}


def _with_units(rows: Sequence[Plain], units: dict[Place, int], place: Place) -> list[Plain]:
    found: list[Plain] = []
    for number, row in enumerate(rows):
        here = (*place, number)
        changed: dict[str, Any] = {}
        if "layers" in row:
            changed["layers"] = _with_units(row["layers"], units, here)
        elif here in units:
            changed["units"] = units[here]
        found.append({**row, **changed})
    return found


# --- rows of layers ------------------------------------------------------------------------------


@dataclass
class _Open:
    """A group while its rows are gone through."""

    name: str
    units: int
    slices: list[Slice] = field(default_factory=list)
    rows: list[Place] = field(default_factory=list)  # that make its units

    def closed(self) -> UnitGroup:
        return UnitGroup(self.name, self.units, tuple(self.slices), least=min(2, self.units))

    def normed(self, module: str) -> None:
        """Takes in a normalisation of its units."""
        self.slices += [
            Slice(f"{module}.weight", 0, "scales"),
            Slice(f"{module}.bias", 0, "makes"),
            Slice(f"{module}.running_mean", 0, "follows"),
            Slice(f"{module}.running_var", 0, "follows"),
        ]


class _Walk:
    """Goes through rows in order; what is read next stands in `units`."""

    def __init__(self, shape: layers.Shape) -> None:
        self.shape = shape
        self.found: list[_Open] = []
        self.units: _Open | None = None  # nothing has made units yet: the picture's own channels
        self.block = 1  # numbers of a channel once they lie in a row
        self._numbers: dict[str, int] = {}

    def through(self, rows: Sequence[Plain], place: Place, begin: str) -> None:
        module = 0
        for number, row in enumerate(rows):
            self._row(row, (*place, number), f"{begin}{module}")
            module += 2 if row["layer"] == "mean" else 1
            self.shape = layers.output_shape(row, self.shape)

    def _row(self, row: Plain, place: Place, module: str) -> None:
        match row["layer"]:
            case "conv" | "dense":
                self._weights(row, place, module)
            case "norm":
                if self.units is not None:
                    self.units.normed(module)
            case "flatten":
                self.block = prod(self.shape[1:])
            case "residual":
                self._residual(row, place, module)
            case "relu" | "pool" | "mean" | "dropout":
                pass
            case other:
                raise UserError(f"the units of a network with the layer {other!r} are not known")

    def _weights(self, row: Plain, place: Place, module: str) -> None:
        count = int(row.get("groups", 1))
        bias = [Slice(f"{module}.bias", 0, "makes")] if row.get("bias", True) else []
        if count > 1:  # a filter for each channel: the same units go on
            if count != self.shape[0] or row["units"] != count:
                raise UserError(f"the units of a convolution in {count} groups are not known")
            if self.units is not None:
                self.units.slices += [Slice(f"{module}.weight", 0, "makes"), *bias]
                self.units.rows.append(place)
            return
        if self.units is not None:
            self.units.slices.append(Slice(f"{module}.weight", 1, "reads", block=self.block))
        self.block = 1
        kind = row["layer"]
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        self.units = _Open(f"{kind}_{self._numbers[kind]}", int(row["units"]))
        self.units.slices += [Slice(f"{module}.weight", 0, "makes"), *bias]
        self.units.rows.append(place)
        self.found.append(self.units)

    def _residual(self, row: Plain, place: Place, module: str) -> None:
        """What its last layer makes is added to what came in: one group makes both."""
        outer, shape = self.units, self.shape
        self.through(row["layers"], place, f"{module}.body.")
        inner, self.shape = self.units, shape
        if inner is not outer and inner is not None:
            self.found.remove(inner)
            if outer is not None:
                outer.slices += inner.slices
                outer.rows += inner.rows
        self.units = outer


def _walked(architecture: Plain) -> list[_Open]:
    walk = _Walk(tuple(architecture["input"]))
    walk.through(architecture["layers"], (), "")
    return [group for group in walk.found if group is not walk.units]  # the last are the answers


# --- EfficientNet-Lite ---------------------------------------------------------------------------


def _of_efficientnet(architecture: Plain) -> list[UnitGroup]:
    """Stem, what each block widens to, what each stage passes on, and the top."""
    widths = efficientnet.Widths(architecture)
    stem = _Open("stem", widths.stem)
    stem.slices.append(Slice("_conv_stem.weight", 0, "makes"))
    stem.normed("_bn0")
    found, channels, block = [stem], stem, 0
    for number, stage in enumerate(efficientnet.STAGES, 1):
        after = _Open(f"stage_{number}", widths.stage(number))
        for repeat in range(stage.repeats):
            module = f"_blocks.{block}"
            wide = channels
            if stage.expansion != 1:
                wide = _Open(f"block_{block}", widths.block(block))
                channels.slices.append(Slice(f"{module}._expand_conv.weight", 1, "reads"))
                wide.slices.append(Slice(f"{module}._expand_conv.weight", 0, "makes"))
                wide.normed(f"{module}._bn0")
                found.append(wide)
            wide.slices.append(Slice(f"{module}._depthwise_conv.weight", 0, "makes"))
            wide.normed(f"{module}._bn1")
            wide.slices.append(Slice(f"{module}._project_conv.weight", 1, "reads"))
            after.slices.append(Slice(f"{module}._project_conv.weight", 0, "makes"))
            after.normed(f"{module}._bn2")
            if not repeat:
                channels = after
            block += 1
        found.append(after)
    channels.slices.append(Slice("_conv_head.weight", 1, "reads"))
    top = _Open("top", widths.top)
    top.slices.append(Slice("_conv_head.weight", 0, "makes"))
    top.normed("_bn1")
    top.slices.append(Slice("_fc.weight", 1, "reads"))
    return [group.closed() for group in [*found, top]]
