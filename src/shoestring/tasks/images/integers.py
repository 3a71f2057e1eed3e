"""integers: writes a network of images with its weights, and its feature maps, in whole steps.

static       weights int8, one step an output channel; feature maps uint8, in steps of ranges that
             were measured before. A convolution is one QLinearConv; its ReLU the end of its range
dynamic      the same weights; the range of a feature map is looked up in each call
weights      weights of 8, 4 or 2 bits that become floats before they are used: fewer bytes, no
             less time

Feature maps go on as bytes through what does not compute with them (pooling by the largest,
flattening), and become floats where something else reads them.
Shapes: O output channels, I input channels, K kernel height and width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.core.quantizing import BITS, CALIBRATION, KEPT, LAYERS, METHOD, levels
from shoestring.core.receipt import Plain
from shoestring.tasks.images import fold
from shoestring.tasks.images.graph import FLOAT, Writer, spatial

METHODS = ("static", "dynamic", "weights")
WIDTHS = (8, 4, 2)  # bits of a weight
DOMAIN = "com.microsoft"  # of the runtime's own product of bytes with a bias
LEVELS = 255  # between the ends of a range of a byte
# Shares of the largest weight that the ends of few levels may stand for; the best is searched.
_SHARES = (1.0, *(round(0.95 - 0.05 * n, 2) for n in range(15)))
_TENSORS = {8: ("INT8", 19, 9), 4: ("INT4", 21, 10), 2: ("INT2", 25, 13)}  # opset, ir_version
_KEEP_BYTES = ("MaxPool", "Flatten", "Transpose")  # operators that do not compute with values
_MOST_STEPS = 2.0**30  # of a bias, in 32 bits

Weighted = fold.Convolution | fold.Dense


class Range(NamedTuple):
    """Where the values of a feature map lie; zero is among them."""

    low: float
    high: float


class Steps(NamedTuple):
    """A byte q stands for scale * (q - zero)."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Settings:
    """A quantization that was read."""

    method: str = "none"
    bits: int = 8
    ranges: Mapping[str, tuple[Range, Range]] = field(default_factory=dict)  # in and out, by layer
    float_layers: frozenset[str] = frozenset()

    @staticmethod
    def of(quantization: Plain) -> Settings:
        """UserError for what is not known."""
        method = quantization.get(METHOD, "none")
        unknown = set(quantization) - {METHOD, BITS, LAYERS, KEPT, CALIBRATION}
        if method not in ("none", *METHODS) or unknown:
            raise UserError(
                f"a network of images is not quantized by {dict(quantization)!r}; method is one "
                f"of: none, {', '.join(METHODS)}"
            )
        bits = quantization.get(BITS, 8)
        if bits not in WIDTHS or (bits != 8 and method != "weights"):
            raise UserError(
                f"weights have {', '.join(map(str, WIDTHS))} bits, and 8 with method {method}, "
                f"not {bits!r}"
            )
        measured: Mapping[str, Sequence[float]] = quantization.get(LAYERS, {})
        ranges = {
            name: (Range(*four[:2]), Range(*four[2:]))
            for name, four in measured.items()
            if len(four) == 4
        }
        return Settings(method, bits, ranges, frozenset(quantization.get(KEPT, ())))

    def writer(self) -> Writer:
        return Lightened(self) if self.method == "weights" else Integers(self)


class Numbered(Writer):
    """Meets the layers that have weights one by one, by number, with the ReLU behind each."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def layers(self, layers: list[fold.Layer], value: str) -> str:
        row, at = ordered(layers), 0
        while at < len(row):
            layer, after = row[at], row[at + 1 : at + 2]
            at += 1
            if not isinstance(layer, fold.Convolution | fold.Dense):
                value = self.layer(layer, value)
                continue
            self._count += 1
            relu = after[0] if after and _cuts(after[0]) else None
            at += relu is not None
            assert relu is None or isinstance(relu, fold.Activation)
            value = self.weighted(str(self._count), layer, relu, value)
        return value

    def weighted(self, name: str, layer: Weighted, relu: fold.Activation | None, value: str) -> str:
        value = self.layer(layer, value)
        return value if relu is None else self.layer(relu, value)


class Taps(Numbered):
    """The float graph with what each layer reads and gives as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.taps: dict[str, tuple[str, str]] = {}

    def weighted(self, name: str, layer: Weighted, relu: fold.Activation | None, value: str) -> str:
        given = super().weighted(name, layer, relu, value)
        self.taps[name] = (value, given)
        for tap in self.taps[name]:
            self.tapped(tap)
        return given


class Lightened(Numbered):
    """Weights in few bits; everything is computed in floats."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._kind, self.opset, self.ir_version = _TENSORS[settings.bits]
        # Weights that were trained to lie on few levels would leave them, folded with its scales.
        self.normalises = settings.bits < 8

    def weighted(self, name: str, layer: Weighted, relu: fold.Activation | None, value: str) -> str:
        if name in self._settings.float_layers:
            return super().weighted(name, layer, relu, value)
        bits = self._settings.bits
        # The runtime (1.32) joins the two nodes of a dense layer in few bits into a product of its
        # own, which is wrong in 2 bits for outputs that are no multiple of four and rounds what it
        # reads in 4; not where the weight is (O, I).
        turned = bits < 8 and isinstance(layer, fold.Dense)
        axis = 1 if isinstance(layer, fold.Dense) and not turned else 0
        whole, scale = stepped(layer.weight.T if turned else layer.weight, axis, bits)
        kind = self.onnx.TensorProto.DataType.Value(self._kind)
        stored = self.packed(kind, whole.shape, packed(whole, bits))
        along: dict[str, Any] = (
            {} if axis == 1 else {"axis": axis}
        )  # 1 is what it is where nothing is said
        weight = self.node("DequantizeLinear", stored, self.floats(scale), **along)
        if isinstance(layer, fold.Convolution):
            value = self.convolution(layer, value, weight)
        else:
            value = self.dense(layer, value, weight, turned)
        return value if relu is None else self.layer(relu, value)


class Integers(Numbered):
    """Products of bytes; with measured ranges, or with those of each call."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._steps: dict[str, Steps] = {}  # of the values that are bytes
        self._floats: dict[str, str] = {}  # those values as floats, where they were asked for

    def entered(self, value: str) -> str:
        self._steps[value] = Steps(1.0, 0)  # the pixels are bytes
        return value

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        steps = self._steps.get(inputs[0]) if operator in _KEEP_BYTES else None
        if steps is None and operator != "DequantizeLinear":
            inputs = tuple(self._as_floats(name) for name in inputs)
        name = super().node(operator, *inputs, output=output, **options)
        if steps is not None:
            self._steps[name] = steps
        return name

    def weighted(self, name: str, layer: Weighted, relu: fold.Activation | None, value: str) -> str:
        if name in self._settings.float_layers:
            return super().weighted(name, layer, relu, value)
        if self._settings.method == "dynamic":
            return self._looked_up(layer, relu, value)
        if name not in self._settings.ranges:
            raise UserError(
                f"layer {name} of the network has no measured range; its shape is not that which "
                "was quantized: shoestring apply quantize"
            )
        read, gives = self._settings.ranges[name]
        value = self._as_bytes(value, read)
        if isinstance(layer, fold.Convolution):
            return self._convolution(layer, value, _range_behind(relu, gives))
        found = self._product(layer, [value, *self._constants_of(self._steps[value])])
        return found if relu is None else self._as_bytes(found, _range_behind(relu, gives))

    # --- with measured ranges ---

    def _convolution(self, layer: fold.Convolution, value: str, gives: Range) -> str:
        read, made = self._steps[value], steps_of(gives)
        _, scale = stepped(layer.weight, 0)
        least = np.abs(layer.bias) / (read.scale * _MOST_STEPS)  # so that a bias has room
        scale = np.maximum(scale, least.astype(np.float32))
        whole = np.clip(np.rint(layer.weight / scale[:, None, None, None]), -levels(8), levels(8))
        bias = np.rint(layer.bias / (read.scale * scale.astype(np.float64)))
        inputs = [value, *self._constants_of(read)]
        inputs += [self.constant(whole.astype(np.int8)), self.floats(scale.astype(np.float64))]
        inputs += [self.constant(np.array(0, np.int8)), *self._constants_of(made)]
        inputs += [self.constant(bias.astype(np.int32))] if bool(bias.any()) else []
        name = Writer.node(self, "QLinearConv", *inputs, **spatial(layer))
        self._steps[name] = made
        return name

    def _as_bytes(self, value: str, range_: Range) -> str:
        if value in self._steps:
            return value
        steps = steps_of(range_)
        name = Writer.node(self, "QuantizeLinear", value, *self._constants_of(steps))
        self._steps[name] = steps
        return name

    def _as_floats(self, value: str) -> str:
        if value not in self._steps:
            return value
        if value not in self._floats:
            scale, zero = self._constants_of(self._steps[value])
            whole = [] if self._steps[value].zero == 0 else [zero]
            self._floats[value] = Writer.node(self, "DequantizeLinear", value, scale, *whole)
        return self._floats[value]

    def _constants_of(self, steps: Steps) -> list[str]:
        return [self.scalar(steps.scale), self.constant(np.array(steps.zero, np.uint8))]

    def _product(self, layer: fold.Dense, read: Sequence[str]) -> str:
        """(n, O) floats of (n, I) bytes, given as value, scale and zero."""
        whole, scale = stepped(layer.weight, 1)
        value, step, zero = read
        inputs = [value, self.constant(whole), step, self.floats(scale), zero]
        bias = self.bias(layer.bias)
        inputs += ["", *bias] if bias else []
        return Writer.node(self, "MatMulIntegerToFloat", *inputs, domain=DOMAIN)

    # --- with the range of each call ---

    def _looked_up(self, layer: Weighted, relu: fold.Activation | None, value: str) -> str:
        if value in self._steps:
            read = [value, *self._constants_of(self._steps[value])]
        else:
            read = self.several("DynamicQuantizeLinear", value, outputs=3)
        if isinstance(layer, fold.Dense):
            found = self._product(layer, read)
        else:
            whole, scale = stepped(layer.weight, 0)
            inputs = [read[0], self.constant(whole), read[2]]
            found = Writer.node(self, "ConvInteger", *inputs, **spatial(layer))
            found = Writer.node(self, "Cast", found, to=FLOAT)
            step = self.node("Mul", read[1], self.floats(scale.reshape(-1, 1, 1)))
            found = self.node("Mul", found, step)
            if bool(np.any(layer.bias)):
                found = self.node("Add", found, self.floats(layer.bias.reshape(-1, 1, 1)))
        return found if relu is None else self.layer(relu, found)


# --- numbers -------------------------------------------------------------------------------------


def steps_of(range_: Range) -> Steps:
    """Of a byte over a range that is made to hold zero."""
    low, high = min(0.0, range_.low), max(0.0, range_.high)
    scale = float(np.float32(max(high - low, 1e-12) / LEVELS))
    return Steps(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def stepped(
    weight: fold.Doubles, axis: int, bits: int = 8
) -> tuple[NDArray[np.int8], fold.Doubles]:
    """Weights as whole steps, symmetric about zero, and the step of each channel along the axis.
    Of 8 bits the last level is the largest weight; of fewer it is where the squared error is
    least, and weights that lie on their levels stay there exactly."""
    last = levels(bits)
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    largest = np.abs(rows).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    best, least = largest, np.full(len(rows), np.inf)
    for share in _SHARES if bits < 8 else (1.0,):
        step = (share * largest / last)[:, None]
        error = ((rows - np.clip(np.rint(rows / step), -last, last) * step) ** 2).sum(axis=1)
        # Ties go to the earlier: weights on their levels have no error but rounding.
        better = error < least * 0.999 - 1e-12 * largest**2
        best, least = np.where(better, share * largest, best), np.where(better, error, least)
    scale = (best / last).astype(np.float32).astype(np.float64)
    shape = [1] * weight.ndim
    shape[axis] = -1
    whole = np.clip(np.rint(weight / scale.reshape(shape)), -last, last)
    return whole.astype(np.int8), scale


def packed(whole: NDArray[np.int8], bits: int) -> bytes:
    """Whole numbers as ONNX stores them: the first in the lowest bits of a byte."""
    each = 8 // bits
    flat = whole.ravel().view(np.uint8) & np.uint8(2**bits - 1)
    flat = np.concatenate([flat, np.zeros(-len(flat) % each, np.uint8)]).reshape(-1, each)
    total = np.zeros(len(flat), np.uint8)
    for place in range(each):
        total |= flat[:, place] << np.uint8(place * bits)
    return total.tobytes()


def ordered(layers: Sequence[fold.Layer]) -> list[fold.Layer]:
    """The same function with each ReLU before the pooling by the largest that it followed."""
    row = list(layers)
    for at in range(1, len(row)):
        back = at
        while back and _cuts(row[back]) and _takes_largest(row[back - 1]):
            row[back - 1], row[back] = row[back], row[back - 1]
            back -= 1
    return row


def _takes_largest(layer: fold.Layer) -> bool:
    return isinstance(layer, fold.Pool) and layer.kind == "MaxPool"


def _cuts(layer: fold.Layer) -> bool:
    return isinstance(layer, fold.Activation) and layer.kind in ("relu", "relu6")


def _range_behind(relu: fold.Activation | None, gives: Range) -> Range:
    """A byte ends at the ends of its range, so that a range can be a ReLU."""
    if relu is None:
        return gives
    return Range(0.0, min(gives.high, 6.0) if relu.kind == "relu6" else gives.high)
