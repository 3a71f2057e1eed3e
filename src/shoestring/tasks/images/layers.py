"""layers: image networks as rows of plain values, with their shapes and multiply-accumulates.

A row is {"layer": name, ...}: conv, norm, relu, pool, mean, flatten, dropout, dense, residual.
Runs store the rows, so a network whose widths were changed is rebuilt as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain

KINDS = ("compact", "classic")
Shape = tuple[int, ...]


def expand(options: Plain, facts: Plain) -> Plain:
    """The architecture of `options["kind"]` for pictures and labels as in `facts`."""
    kind = options["kind"]
    height, width = facts["size"]
    shape = (facts["channels"], height, width)
    classes = len(facts["labels"])
    match kind:
        case "compact":
            rows, taken = _compact(options, shape, classes)
        case "classic":
            rows, taken = _classic(options, shape, classes)
        case _:
            raise UserError(f"there is no network {kind!r}; there are: {', '.join(KINDS)}")
    unknown = set(options) - set(taken) - {"kind"}
    if unknown:
        raise UserError(
            f"network {kind} has no option {sorted(unknown)[0]!r}; it has: {', '.join(taken)}"
        )
    return {"kind": kind, **taken, "input": list(shape), "classes": classes, "layers": rows}


def conv(
    units: int, kernel: int = 3, stride: int = 1, padding: int = 0, bias: bool = False
) -> Plain:
    return {
        "layer": "conv",
        "units": units,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "bias": bias,
    }


def dense(units: int, scale: float = 1.0) -> Plain:
    return {"layer": "dense", "units": units, "scale": scale}


NORM: Plain = {"layer": "norm", "momentum": 0.1}
RELU: Plain = {"layer": "relu"}
MEAN: Plain = {"layer": "mean"}
FLATTEN: Plain = {"layer": "flatten"}


def pool(size: int = 2) -> Plain:
    return {"layer": "pool", "size": size}


def _classic(options: Plain, shape: Shape, classes: int) -> tuple[list[Plain], dict[str, Any]]:
    """The textbook network: 5x5x32, pool, 5x5x64, pool, dense 1024; 3,274,634 parameters at
    28x28x1 and 10 classes. Its dropout was 0.5 in the tutorials that made it known."""
    taken = {"dropout": float(options.get("dropout", 0.0))}
    rows: list[Plain] = []
    for units in (32, 64):
        rows += [conv(units, 5, padding=2, bias=True), RELU]
        if min(shape_after(rows, shape)[1:]) >= 2:
            rows.append(pool())
    rows += [FLATTEN, dense(1024), RELU]
    if taken["dropout"]:
        rows.append({"layer": "dropout", "share": taken["dropout"]})
    return [*rows, dense(classes, 0.5)], taken


def _compact(options: Plain, shape: Shape, classes: int) -> tuple[list[Plain], dict[str, Any]]:
    taken = {
        "width": int(options.get("width", 32)),
        "depth": int(options.get("depth", 1)),
        "dropout": float(options.get("dropout", 0.0)),
    }
    if taken["width"] < 1 or taken["depth"] < 1 or not 0 <= taken["dropout"] < 1:
        raise UserError(f"network compact: width and depth are at least 1, not {taken}")
    rows: list[Plain] = []
    units = taken["width"]
    side = min(shape[1:])
    rows += [conv(units, 5, 2), NORM, RELU] if side >= 20 else [conv(units, 3), NORM, RELU]
    while min(shape_after(rows, shape)[1:]) >= 8:
        units = min(2 * units, 256)
        rows += [conv(units), pool(), NORM, RELU]
        for _ in range(taken["depth"] - 1):
            rows.append({"layer": "residual", "layers": [conv(units, padding=1), NORM, RELU]})
    if min(shape_after(rows, shape)[1:]) >= 3:
        rows += [conv(min(2 * units, 256)), NORM, RELU]
    rows.append(FLATTEN if min(shape_after(rows, shape)[1:]) <= 3 else MEAN)
    if taken["dropout"]:
        rows.append({"layer": "dropout", "share": taken["dropout"]})
    return [*rows, dense(classes, 0.5)], taken


def output_shape(row: Plain, shape: Shape) -> Shape:
    match row["layer"]:
        case "conv":
            kernel, stride, padding = row["kernel"], row["stride"], row["padding"]
            sides = [(s + 2 * padding - kernel) // stride + 1 for s in shape[1:]]
            if min(sides) < 1:
                raise UserError(
                    f"pictures of {shape[1]}x{shape[2]} at this depth are too small for a "
                    f"{kernel}x{kernel} convolution; choose a larger size or another network"
                )
            return (row["units"], *sides)
        case "pool":
            return (shape[0], *(s // row["size"] for s in shape[1:]))
        case "mean":
            return (shape[0],)
        case "flatten":
            return (prod(shape),)
        case "dense":
            return (row["units"],)
    return shape


def shape_after(rows: Sequence[Plain], shape: Shape) -> Shape:
    for row in rows:
        shape = output_shape(row, shape)
    return shape


def macs(rows: Sequence[Plain], shape: Shape) -> int:
    """Multiply-accumulates of convolutions and dense layers for one picture."""
    total = 0
    for row in rows:
        after = output_shape(row, shape)
        match row["layer"]:
            case "conv":
                total += prod(after) * shape[0] * row["kernel"] ** 2
            case "dense":
                total += shape[0] * row["units"]
            case "residual":
                total += macs(row["layers"], shape)
        shape = after
    return total
