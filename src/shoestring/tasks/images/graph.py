"""graph: writes a network of images as the ONNX graph that ships, as lean as it can be.

Input `pixels`: uint8 (n, H, W, C); output `probabilities`: float32 (n, classes). Resizing,
normalisation and softmax are in the graph. Names are one letter, equal constants are stored once,
there is no text beside them, and the same network always gives the same bytes. Weights in fewer
bits are written by `integers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from string import ascii_letters
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import MissingExtra, UserError
from shoestring.core.receipt import Plain
from shoestring.tasks.images import fold
from shoestring.tasks.images.fold import Step

if TYPE_CHECKING:
    import torch

OPSET = 19
IR_VERSION = 9  # the oldest that carries opset 19: older runtimes can read it

_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "hardswish": "HardSwish",
    "leaky_relu": "LeakyRelu",
}


def to_onnx(model: torch.nn.Module, facts: Plain, quantization: Plain) -> bytes:
    """The bytes of model.onnx. `facts` as images keep them: labels, size, channels, resize, mean
    and std; `quantization` as `integers.Settings` reads it. UserError for a layer that has no
    place in a graph."""
    from shoestring.tasks.images import integers

    settings = integers.Settings.of(quantization)
    return written(model, facts, Writer() if settings.method == "none" else settings.writer())


def written(model: torch.nn.Module, facts: Plain, graph: Writer) -> bytes:
    """The bytes of a network as this writer writes it."""
    channels, (height, width) = int(facts["channels"]), facts["size"]
    mean, deviation = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    if mean.shape != (channels,) or deviation.shape != (channels,):
        raise UserError(f"mean and std need {channels} values each, one for a channel")
    normalise = fold.Affine(1 / deviation, -mean / deviation)
    value = "pixels"
    if facts["resize"]:
        sizes = graph.constant(np.array([height, width], np.int64))
        value = graph.node("Resize", value, "", "", sizes, mode="linear", antialias=1, axes=[1, 2])
    value = graph.node("Transpose", value, perm=[0, 3, 1, 2])  # still one byte a value
    value = graph.entered(value)
    if graph.normalises and np.ptp(normalise.scale):
        value = graph.layer(normalise, value)
        normalise = fold.Affine(np.ones(channels), np.zeros(channels))
    value = graph.steps(_rows(model, normalise, (height, width)), value)
    graph.node("Softmax", value, output="probabilities")
    spatial: list[int | str] = ["h", "w"] if facts["resize"] else [height, width]
    return graph.model(["n", *spatial, channels], ["n", len(facts["labels"])])


def _rows(model: torch.nn.Module, normalise: fold.Affine, size: tuple[int, int]) -> list[Step]:
    """The network as steps, the normalisation of the pixels in front, all of them folded."""
    from shoestring.tasks.images import traced

    if isinstance(model, traced.TimmNetwork):
        found = traced.steps(model)
    else:
        found = [Step("row", (-1,), tuple(fold.read(model)))]
    return [
        replace(step, row=tuple(fold.fold(_begun(step, normalise, size))))
        if step.kind == "row"
        else step
        for step in found
    ]


def _begun(step: Step, normalise: fold.Affine, size: tuple[int, int]) -> list[fold.Layer]:
    """A step's layers; those that read the pixels themselves normalise them first."""
    row = [layer for layer in step.row if not _idle(layer, size)]
    return [normalise, *row] if step.inputs == (-1,) else row


UINT8, FLOAT = 2, 1  # as ONNX numbers them


class Writer:
    """Collects nodes and constants, and hands out names."""

    opset, ir_version = OPSET, IR_VERSION
    normalises = False  # pixels apart from the weights, where channels differ in their scale

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "train", "exporting a network") from error
        self.onnx = onnx
        self._nodes: list[onnx.NodeProto] = []
        self._domains: set[str] = set()
        self._outputs: list[str] = []  # beside the answer
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
        self._names = _names()
        self._flat = False  # whether values are (n, C) by now, and no more (n, C, H, W)

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Adds one node; `options` are its ONNX attributes. Returns the name of its output."""
        return self._added(operator, inputs, [output or next(self._names)], options)[0]

    def several(self, operator: str, *inputs: str, outputs: int, **options: Any) -> list[str]:
        """The same with more outputs."""
        return self._added(operator, inputs, [next(self._names) for _ in range(outputs)], options)

    def _added(
        self, operator: str, inputs: Sequence[str], outputs: list[str], options: dict[str, Any]
    ) -> list[str]:
        self._nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **options))
        self._domains |= {options["domain"]} if "domain" in options else set()
        return outputs

    def entered(self, value: str) -> str:
        """The pixels, of bytes, as the network reads them."""
        return self.node("Cast", value, to=FLOAT)

    def tapped(self, value: str) -> None:
        """Makes a value an output of the graph."""
        if value not in self._outputs:
            self._outputs.append(value)

    def constant(self, values: NDArray[Any]) -> str:
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            tensor = self.onnx.numpy_helper.from_array(values, next(self._names))
            self._constants[key] = tensor
        return str(self._constants[key].name)

    def packed(self, kind: int, shape: tuple[int, ...], data: bytes) -> str:
        """A constant of a kind that numpy has not."""
        key = (str(kind), shape, data)
        if key not in self._constants:
            tensor = self.onnx.helper.make_tensor(next(self._names), kind, shape, data, raw=True)
            self._constants[key] = tensor
        return str(self._constants[key].name)

    def layers(self, layers: list[fold.Layer], value: str) -> str:
        for layer in layers:
            value = self.layer(layer, value)
        return value

    def steps(self, steps: list[Step], value: str) -> str:
        """A network whose values meet; `value` is what its first steps read."""
        made = [value]  # the input, then what each step gives
        for step in steps:
            inputs = [made[place + 1] for place in step.inputs]
            if step.kind == "row":
                made.append(self.layers(list(step.row), inputs[0]))
            else:
                along: dict[str, Any] = {"axis": 1} if step.kind == "Concat" else {}
                made.append(self.node(step.kind, *inputs, **along))
        return made[-1]

    def layer(self, layer: fold.Layer, value: str) -> str:
        match layer:
            case fold.Convolution():
                return self.convolution(layer, value, self.floats(layer.weight))
            case fold.Dense():
                return self.dense(layer, value, self.floats(layer.weight))
            case fold.Affine():
                return self._affine(layer, value)
            case fold.Pool():
                options = {"kernel_shape": list(layer.kernel), **spatial(layer)}
                if layer.ceil:
                    options["ceil_mode"] = 1
                if layer.counts_padding:
                    options["count_include_pad"] = 1
                return self.node(layer.kind, value, **options)
            case fold.GlobalAverage():
                return self.node("GlobalAveragePool", value)
            case fold.Flatten():
                self._flat = True
                return self.node("Flatten", value)
            case fold.Activation():
                return self._activation(layer, value)
            case fold.Enlarge():
                sizes = self.constant(np.array(layer.size, np.int64))
                return self.node("Resize", value, "", "", sizes, mode="linear", axes=[2, 3])
            case fold.Residual():
                return self.node("Add", value, self.layers(list(layer.body), value))

    def convolution(self, layer: fold.Convolution, value: str, weight: str) -> str:
        return self.node("Conv", value, weight, *self.bias(layer.bias), **spatial(layer))

    def dense(self, layer: fold.Dense, value: str, weight: str, turned: bool = False) -> str:
        """`turned`: the weight is (O, I)."""
        bias = self.bias(layer.bias)
        if turned:
            return self.node("Gemm", value, weight, *bias, transB=1)
        return self.node("Gemm" if bias else "MatMul", value, weight, *bias)

    def _affine(self, layer: fold.Affine, value: str) -> str:
        if not bool(np.all(layer.scale == 1)):
            value = self.node("Mul", value, self._per_channel(layer.scale))
        if not bool(np.all(layer.shift == 0)):
            value = self.node("Add", value, self._per_channel(layer.shift))
        return value

    def _activation(self, layer: fold.Activation, value: str) -> str:
        match layer.kind:
            case "leaky_relu":
                return self.node("LeakyRelu", value, alpha=float(layer.slope))
            case "relu6":
                return self.node("Clip", value, self.scalar(0), self.scalar(6))
            case "silu":
                return self.node("Mul", value, self.node("Sigmoid", value))
            case "gelu":  # the runtime recognises this shape and fuses it
                part = self.node("Div", value, self.scalar(2**0.5))
                part = self.node("Add", self.node("Erf", part), self.scalar(1))
                return self.node("Mul", self.node("Mul", value, part), self.scalar(0.5))
            case "gelu_tanh":
                cube = self.node("Mul", self.node("Mul", value, value), value)
                part = self.node("Mul", cube, self.scalar(0.044715))
                part = self.node("Mul", self.node("Add", value, part), self.scalar(0.7978845608))
                part = self.node("Add", self.node("Tanh", part), self.scalar(1))
                return self.node("Mul", self.node("Mul", value, part), self.scalar(0.5))
        return self.node(_ACTIVATIONS[layer.kind], value)

    def _per_channel(self, values: fold.Doubles) -> str:
        if bool(np.all(values == values[0])):
            return self.scalar(float(values[0]))
        return self.floats(values if self._flat else values.reshape(-1, 1, 1))

    def scalar(self, value: float) -> str:
        return self.floats(np.array(value, np.float64))

    def floats(self, values: fold.Doubles) -> str:
        return self.constant(np.ascontiguousarray(values, np.float32).reshape(values.shape))

    def bias(self, bias: fold.Doubles) -> list[str]:
        return [self.floats(bias)] if bool(np.any(bias)) else []

    def model(self, pixels: list[int | str], probabilities: list[int | str]) -> bytes:
        helper = self.onnx.helper
        answers = [helper.make_tensor_value_info("probabilities", FLOAT, probabilities)]
        graph = helper.make_graph(
            self._nodes,
            "g",
            [helper.make_tensor_value_info("pixels", UINT8, pixels)],
            answers + [helper.make_tensor_value_info(n, FLOAT, None) for n in self._outputs],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted(self._domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)
        return bytes(model.SerializeToString(deterministic=True))


def _idle(layer: fold.Layer, size: tuple[int, int]) -> bool:
    """Whether a layer enlarges to the size that is there; it can only stand first."""
    return isinstance(layer, fold.Enlarge) and tuple(layer.size) == tuple(size)


def spatial(layer: fold.Convolution | fold.Pool) -> dict[str, Any]:
    """The attributes that differ from ONNX's defaults; the others need no bytes."""
    given = {
        "strides": (layer.stride, (1, 1)),
        "pads": (layer.pads, (0, 0, 0, 0)),
        "dilations": (layer.dilation, (1, 1)),
    }
    found: dict[str, Any] = {
        n: list(value) for n, (value, usual) in given.items() if value != usual
    }
    if isinstance(layer, fold.Convolution) and layer.groups != 1:
        found["group"] = layer.groups
    return found


def _names() -> Any:
    """a, b, ... z, A, ... Z, then a0, a1, ..."""
    for number in count():
        for letter in ascii_letters:
            yield letter + (f"{number - 1}" if number else "")
