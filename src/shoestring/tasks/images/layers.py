"""layers: image networks as rows of plain values, with their shapes and multiply-accumulates.

A row is {"layer": name, ...}: conv, norm, relu, pool, mean, flatten, dropout, dense, residual.
Runs store the rows, so a network whose widths were changed is rebuilt as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain

KINDS = ("compact", "classic", "plain", "tiny")
# Small students by name; a fit chooses a width of 16 to 64 by itself.
PRESETS: Mapping[str, str] = {
    "compact-small": "compact:width=16",
    "compact-tiny": "compact:width=8",
}
PLAIN_SIDE = 40  # pixels, that a network without any stride or pooling takes at most
Shape = tuple[int, ...]


def expand(options: Plain, facts: Plain) -> Plain:
    """The architecture of `options["kind"]` for pictures and labels as in `facts`."""
    kind = options["kind"]
    for name, value in options.items():
        if name != "kind" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise UserError(f"network {kind}: {name} is a number, not {value!r}")
    height, width = facts["size"]
    shape = (facts["channels"], height, width)
    classes = len(facts["labels"])
    match kind:
        case "compact":
            rows, taken = _compact(options, shape, classes)
        case "classic":
            rows, taken = _classic(options, shape, classes)
        case "plain":
            rows, taken = _plain(options, shape, classes)
        case "tiny":
            rows, taken = _tiny(options, shape, classes)
        case _:
            raise UserError(f"there is no network {kind!r}; there are: {', '.join(KINDS)}")
    unknown = set(options) - set(taken) - {"kind"}
    if unknown:
        raise UserError(
            f"network {kind} has no option {min(unknown)!r}; it has: {', '.join(taken)}"
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


def _whole(options: Plain, name: str, usual: int) -> int:
    value = options.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise UserError(f"{name} of a network is a whole number, not {value!r}")
    return int(value)


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


def _plain(options: Plain, shape: Shape, classes: int) -> tuple[list[Plain], dict[str, Any]]:
    """Convolutions without padding, stride or pooling until the map is at most 8 wide, each with
    more channels than the one before; dense. With kernels of 3, 5 and 7 and widths of 32, 32 and
    48 they are the networks of An et al. 2020, "An ensemble of simple convolutional neural network
    models for MNIST": dear, and good members of an ensemble, for they err on other pictures.
    """
    width, kernel = _whole(options, "width", 16), _whole(options, "kernel", 5)
    taken = {"kernel": kernel, "width": width, "dropout": float(options.get("dropout", 0.0))}
    if width < 1 or kernel not in (3, 5, 7) or not 0 <= taken["dropout"] < 1:
        raise UserError(
            "network plain takes a kernel of 3, 5 or 7, a width from 1 and a dropout of at least 0 "
            f"and below 1, not {taken}"
        )
    if max(shape[1:]) > PLAIN_SIDE:
        raise UserError(
            f"network plain keeps maps as large as pictures, so it takes them up to {PLAIN_SIDE} "
            f"pixels a side, not {shape[1]}x{shape[2]}; choose a smaller size, or compact"
        )
    units, more = width, max(1, width // 2 if kernel == 3 else width)
    rows: list[Plain] = [conv(units, kernel), NORM, RELU]
    while min(shape_after(rows, shape)[1:]) > max(8, kernel):
        units += more
        rows += [conv(units, kernel), NORM, RELU]
    rows.append(FLATTEN)
    if taken["dropout"]:
        rows.append({"layer": "dropout", "share": taken["dropout"]})
    return [*rows, dense(classes, 0.5)], taken


def _tiny(options: Plain, shape: Shape, classes: int) -> tuple[list[Plain], dict[str, Any]]:
    """A few thousand weights: a strided stem; 3x3 convolutions without padding, some with a pool,
    until the map is at most 3 wide, channels growing from `width` to twice as many; dense. For the
    fewest bytes: each layer more is about 100 bytes of graph, so that depthwise convolutions, which
    need two for one, do not pay. A 5x5 stem of stride 2 takes the bytes of a 3x3 one with a pool,
    and a step of training half the time. The pool stands behind the ReLU, so that no sign of a
    normalisation is left over in the graph.
    """
    width = _whole(options, "width", 8)
    if width < 1:
        raise UserError(f"network tiny takes a width from 1, not {width}")
    growing = iter((width, 3 * width // 2, 2 * width))
    units, strided = next(growing), min(shape[1:]) >= 20
    rows: list[Plain] = [conv(units, 5, 2) if strided else conv(units), NORM, RELU]
    while min(shape_after(rows, shape)[1:]) > 3:
        units = next(growing, units)
        rows += [conv(units), NORM, RELU]
        side = min(shape_after(rows, shape)[1:])
        if side >= 14 or 8 <= side <= 9:
            rows.append(pool())
    rows += [FLATTEN, dense(classes, 0.5)]
    return rows, {"width": width}


def _compact(options: Plain, shape: Shape, classes: int) -> tuple[list[Plain], dict[str, Any]]:
    """Stem; 3x3 convolutions with a pool each until the map is at most 7 wide; one more; dense.

    Shaped for processors: the stem is strided because a convolution of one to three channels at
    full size reaches a tenth of the machine's rate, and the pool stands before the normalisation,
    which then sees a quarter of the map. `depth` above 1 adds residual convolutions a stage.
    """
    width, depth = _whole(options, "width", 32), _whole(options, "depth", 1)
    taken = {"width": width, "depth": depth, "dropout": float(options.get("dropout", 0.0))}
    if width < 1 or depth < 1 or not 0 <= taken["dropout"] < 1:
        raise UserError(
            "network compact takes a width and a depth from 1 and a dropout of at least 0 and "
            f"below 1, not {taken}"
        )
    units, side = width, min(shape[1:])
    stride = 1 if side < 20 else 2 if side < 128 else 4
    stem = conv(units, 3, padding=1) if stride == 1 else conv(units, 2 * stride + 1, stride)
    rows: list[Plain] = [stem, NORM, RELU]
    while min(shape_after(rows, shape)[1:]) > 7:
        units = min(2 * units, 4 * width)
        rows += [conv(units), pool(), NORM, RELU]
        for _ in range(depth - 1):
            rows.append({"layer": "residual", "layers": [conv(units, padding=1), NORM, RELU]})
    padding = 0 if min(shape_after(rows, shape)[1:]) >= 4 else 1
    rows += [conv(min(2 * units, 4 * width), padding=padding), NORM, RELU, FLATTEN]
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


def weights(rows: Sequence[Plain], shape: Shape) -> int:
    """Weights of convolutions and dense layers, which are nearly all that a network has."""
    total = 0
    for row in rows:
        match row["layer"]:
            case "conv":
                total += row["units"] * shape[0] * row["kernel"] ** 2
            case "dense":
                total += shape[0] * row["units"]
            case "residual":
                total += weights(row["layers"], shape)
        shape = output_shape(row, shape)
    return total
