"""graph: writes a network of images as the ONNX graph that ships, as lean as it can be.

Input `pixels`: uint8 (n, H, W, C); output `probabilities`: float32 (n, classes). Resizing,
normalisation and softmax are in the graph. Names are one letter, equal constants are stored once,
there is no text beside them, and the same network always gives the same bytes.
"""

from __future__ import annotations

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
    and std. UserError for a layer that has no place in a graph, and for any quantization: none
    is known yet."""
    if quantization:
        raise UserError(f"quantization {dict(quantization)!r} is not known; nothing is, yet")
    channels, (height, width) = int(facts["channels"]), facts["size"]
    mean, deviation = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    if mean.shape != (channels,) or deviation.shape != (channels,):
        raise UserError(f"mean and std need {channels} values each, one for a channel")
    normalise = fold.Affine(1 / deviation, -mean / deviation)
    rows = _rows(model, normalise, (height, width))

    graph = _Writer()
    value = "pixels"
    if facts["resize"]:
        sizes = graph.constant(np.array([height, width], np.int64))
        value = graph.node("Resize", value, "", "", sizes, mode="linear", antialias=1, axes=[1, 2])
    value = graph.node("Transpose", value, perm=[0, 3, 1, 2])  # still one byte a value
    value = graph.node("Cast", value, to=_FLOAT)
    value = graph.steps(rows, value)
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


_UINT8, _FLOAT = 2, 1  # as ONNX numbers them


class _Writer:
    """Collects nodes and constants, and hands out names."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "train", "exporting a network") from error
        self._onnx = onnx
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
        self._names = _names()
        self._flat = False  # whether values are (n, C) by now, and no more (n, C, H, W)

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Adds one node; `options` are its ONNX attributes. Returns the name of its output."""
        name = output or next(self._names)
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [name], **options))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            tensor = self._onnx.numpy_helper.from_array(values, next(self._names))
            self._constants[key] = tensor
        return str(self._constants[key].name)

    def layers(self, layers: list[fold.Layer], value: str) -> str:
        for layer in layers:
            value = self._layer(layer, value)
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

    def _layer(self, layer: fold.Layer, value: str) -> str:
        match layer:
            case fold.Convolution():
                options = _spatial(layer)
                if layer.groups != 1:
                    options["group"] = layer.groups
                weight, bias = self._floats(layer.weight), self._bias(layer.bias)
                return self.node("Conv", value, weight, *bias, **options)
            case fold.Dense():
                bias = self._bias(layer.bias)
                operator = "Gemm" if bias else "MatMul"
                return self.node(operator, value, self._floats(layer.weight), *bias)
            case fold.Affine():
                return self._affine(layer, value)
            case fold.Pool():
                options = {"kernel_shape": list(layer.kernel), **_spatial(layer)}
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
                return self.node("Clip", value, self._scalar(0), self._scalar(6))
            case "silu":
                return self.node("Mul", value, self.node("Sigmoid", value))
            case "gelu":  # the runtime recognises this shape and fuses it
                part = self.node("Div", value, self._scalar(2**0.5))
                part = self.node("Add", self.node("Erf", part), self._scalar(1))
                return self.node("Mul", self.node("Mul", value, part), self._scalar(0.5))
            case "gelu_tanh":
                cube = self.node("Mul", self.node("Mul", value, value), value)
                part = self.node("Mul", cube, self._scalar(0.044715))
                part = self.node("Mul", self.node("Add", value, part), self._scalar(0.7978845608))
                part = self.node("Add", self.node("Tanh", part), self._scalar(1))
                return self.node("Mul", self.node("Mul", value, part), self._scalar(0.5))
        return self.node(_ACTIVATIONS[layer.kind], value)

    def _per_channel(self, values: fold.Doubles) -> str:
        if bool(np.all(values == values[0])):
            return self._scalar(float(values[0]))
        return self._floats(values if self._flat else values.reshape(-1, 1, 1))

    def _scalar(self, value: float) -> str:
        return self._floats(np.array(value, np.float64))

    def _floats(self, values: fold.Doubles) -> str:
        return self.constant(np.ascontiguousarray(values, np.float32).reshape(values.shape))

    def _bias(self, bias: fold.Doubles) -> list[str]:
        return [self._floats(bias)] if bool(np.any(bias)) else []

    def model(self, pixels: list[int | str], probabilities: list[int | str]) -> bytes:
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes,
            "g",
            [helper.make_tensor_value_info("pixels", _UINT8, pixels)],
            [helper.make_tensor_value_info("probabilities", _FLOAT, probabilities)],
            list(self._constants.values()),
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))


def _idle(layer: fold.Layer, size: tuple[int, int]) -> bool:
    """Whether a layer enlarges to the size that is there; it can only stand first."""
    return isinstance(layer, fold.Enlarge) and tuple(layer.size) == tuple(size)


def _spatial(layer: fold.Convolution | fold.Pool) -> dict[str, Any]:
    """The attributes that differ from ONNX's defaults; the others need no bytes."""
    given = {
        "strides": (layer.stride, (1, 1)),
        "pads": (layer.pads, (0, 0, 0, 0)),
        "dilations": (layer.dilation, (1, 1)),
    }
    return {name: list(value) for name, (value, default) in given.items() if value != default}


def _names() -> Any:
    """a, b, ... z, A, ... Z, then a0, a1, ..."""
    for number in count():
        for letter in ascii_letters:
            yield letter + (f"{number - 1}" if number else "")
