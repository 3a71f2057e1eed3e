"""fold: a network as a list of plain layers, every affine folded into a neighbour where exact.

A BatchNorm in evaluation, and the normalisation of the pixels, are a scale and a shift for each
channel. Folded into the weights beside them they cost neither bytes nor time in what ships.
Shapes: O output channels, I input channels, K kernel height and width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError

if TYPE_CHECKING:
    import torch

Doubles = NDArray[np.float64]  # folding is done in float64 and rounded once, when written


@dataclass(frozen=True)
class Convolution:
    weight: Doubles  # (O, I / groups, K, K)
    bias: Doubles  # (O,)
    stride: tuple[int, ...]
    pads: tuple[int, ...]  # top, left, bottom, right
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Dense:
    weight: Doubles  # (I, O)
    bias: Doubles  # (O,)


@dataclass(frozen=True)
class Affine:
    scale: Doubles  # (C,)
    shift: Doubles  # (C,)


@dataclass(frozen=True)
class Pool:
    kind: str  # "MaxPool" or "AveragePool", as ONNX names them
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...] = (1, 1)
    ceil: bool = False
    counts_padding: bool = False


@dataclass(frozen=True)
class GlobalAverage:
    pass


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class Activation:
    kind: str  # "relu", "relu6", "sigmoid", "gelu", "gelu_tanh", "silu", "hardswish", "leaky_relu"
    slope: float = 0.0  # of leaky_relu below zero


@dataclass(frozen=True)
class Residual:
    body: tuple[Layer, ...]  # y = x + body(x)


@dataclass(frozen=True)
class Enlarge:
    size: tuple[int, ...]  # height and width, bilinear


Layer = (
    Convolution | Dense | Affine | Pool | GlobalAverage | Flatten | Activation | Residual | Enlarge
)


@dataclass(frozen=True)
class Step:
    """One value of a network that is no row: layers after another value, or values that meet."""

    kind: str  # "row", "Add", "Mul", "Concat"
    inputs: tuple[int, ...]  # which steps; -1 is the input
    row: tuple[Layer, ...] = ()


def read(model: torch.nn.Module) -> list[Layer]:
    """The layers of a (nested) Sequential in evaluation mode; UserError names one that has no
    place in a graph."""
    from torch import nn

    from shoestring.tasks.images import efficientnet
    from shoestring.tasks.images import model as networks

    if isinstance(model, nn.Sequential):
        return [layer for child in model for layer in read(child)]
    if isinstance(model, networks.Residual):
        return [Residual(tuple(read(model.body)))]
    if isinstance(model, efficientnet.EfficientNetLite):
        return [layer for child in model.in_order() for layer in read(child)]
    if isinstance(model, efficientnet.Block):
        body = [layer for child in model.body.modules for layer in read(child)]
        return [Residual(tuple(body))] if model.adds else body
    if isinstance(model, efficientnet.Entry):
        scale, shift = _array(model.scale_C11).ravel(), _array(model.shift_C11).ravel()
        return [Affine(scale, shift), Enlarge(model.size)]
    if isinstance(model, nn.Identity | nn.Dropout | nn.Dropout2d):
        return []
    if isinstance(model, nn.Conv2d):
        return [_convolution(model)]
    if isinstance(model, nn.Linear):
        weight = _array(model.weight).T
        return [Dense(weight, _bias(model.bias, weight.shape[1]))]
    if isinstance(model, nn.BatchNorm2d | nn.BatchNorm1d):
        return [_batch_norm(model)]
    if isinstance(model, nn.MaxPool2d):
        return [_max_pool(model)]
    if isinstance(model, nn.AvgPool2d):
        return [_average_pool(model)]
    if isinstance(model, nn.AdaptiveAvgPool2d) and model.output_size in (1, (1, 1)):
        return [GlobalAverage()]
    if isinstance(model, nn.Flatten) and (model.start_dim, model.end_dim) == (1, -1):
        return [Flatten()]
    return [_activation(model)]


def fold(layers: Sequence[Layer]) -> list[Layer]:
    """The same function with fewer layers: each affine goes into the weights before it, else
    into those after it, as far as that is exact."""
    folded: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Residual):
            folded.append(Residual(tuple(fold(layer.body))))
        elif isinstance(layer, Affine):
            folded = _fold_back(folded, layer)
        else:
            folded = _fold_ahead(folded, layer)
    return [one for one in folded if not (isinstance(one, Affine) and _trivial(one))]


def _fold_back(before: list[Layer], affine: Affine) -> list[Layer]:
    """`before` followed by `affine`. An average commutes with it; a maximum does so up to the
    sign of the scale, which then stays behind as a factor of 1 or -1."""
    at, sign = len(before) - 1, np.ones_like(affine.scale)
    while at >= 0:
        layer = before[at]
        if isinstance(layer, Pool) and layer.kind == "MaxPool":
            sign = np.where(affine.scale < 0, -1.0, 1.0)
        elif not (
            isinstance(layer, GlobalAverage)
            or (isinstance(layer, Pool) and not (layer.counts_padding and any(layer.pads)))
        ):
            break
        at -= 1
    if at < 0:
        return [*before, affine]
    scale, shift, target = affine.scale * sign, affine.shift * sign, before[at]
    merged: Layer
    if isinstance(target, Convolution):
        weight = target.weight * scale[:, None, None, None]
        merged = replace(target, weight=weight, bias=target.bias * scale + shift)
    elif isinstance(target, Dense):
        merged = Dense(target.weight * scale, target.bias * scale + shift)
    elif isinstance(target, Affine):
        merged = Affine(target.scale * scale, target.shift * scale + shift)
    else:
        return [*before, affine]
    rest = [*before[:at], merged, *before[at + 1 :]]
    return rest if bool(np.all(sign == 1)) else [*rest, Affine(sign, np.zeros_like(sign))]


def _fold_ahead(before: list[Layer], layer: Layer) -> list[Layer]:
    """`before`, perhaps ending in an affine, followed by `layer`."""
    flat = bool(before) and isinstance(before[-1], Flatten)
    at = len(before) - (2 if flat else 1)
    affine = before[at] if at >= 0 else None
    if not isinstance(affine, Affine):
        return [*before, layer]
    rest = [*before[:at], *before[at + 1 :]]
    if isinstance(layer, Dense):
        repeats = layer.weight.shape[0] // affine.scale.size  # Flatten is channel by channel
        scale, shift = np.repeat(affine.scale, repeats), np.repeat(affine.shift, repeats)
        return [*rest, Dense(layer.weight * scale[:, None], layer.bias + shift @ layer.weight)]
    if isinstance(layer, Convolution) and not flat:
        outputs, per_group = layer.weight.shape[:2]
        group_of = np.arange(outputs) // (outputs // layer.groups)
        inputs = group_of[:, None] * per_group + np.arange(per_group)  # (O, I / groups)
        weight = layer.weight * affine.scale[inputs][:, :, None, None]
        if not any(layer.pads):
            bias = layer.bias + np.einsum("oikl,oi->o", layer.weight, affine.shift[inputs])
            return [*rest, replace(layer, weight=weight, bias=bias)]
        if bool(np.all(affine.scale != 0)):
            # The padding is zero after the affine, so the shift has to stay in front of it.
            moved = Affine(np.ones_like(affine.scale), affine.shift / affine.scale)
            return [*rest, moved, replace(layer, weight=weight)]
    return [*before, layer]


def _trivial(affine: Affine) -> bool:
    return bool(np.all(affine.scale == 1) and np.all(affine.shift == 0))


def _convolution(layer: torch.nn.Conv2d) -> Convolution:
    from shoestring.tasks.images import efficientnet

    if layer.padding_mode != "zeros":
        raise UserError(f"padding of mode {layer.padding_mode!r} cannot be exported; use 'zeros'")
    kernel, dilation = _pair(layer.kernel_size), _pair(layer.dilation)
    if isinstance(layer, efficientnet.SameConv2d):
        pads = layer.pads
    elif layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    else:
        height, width = (0, 0) if layer.padding == "valid" else _pair(layer.padding)
        pads = (height, width, height, width)
    weight = _array(layer.weight)
    bias = _bias(layer.bias, weight.shape[0])
    return Convolution(weight, bias, _pair(layer.stride), pads, dilation, layer.groups)


def read_norm(layer: torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) -> Affine:
    """A normalisation with its running statistics, whatever else its class does."""
    return _batch_norm(layer)


def _batch_norm(layer: torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) -> Affine:
    if layer.running_mean is None or layer.running_var is None:
        raise UserError("a BatchNorm without running statistics cannot be exported")
    scale = 1 / np.sqrt(_array(layer.running_var) + layer.eps)
    if layer.affine:
        scale = scale * _array(layer.weight)
    shift = -_array(layer.running_mean) * scale
    return Affine(scale, shift + _array(layer.bias) if layer.affine else shift)


def _max_pool(layer: torch.nn.MaxPool2d) -> Pool:
    pads, kernel = _pair(layer.padding) * 2, _pair(layer.kernel_size)
    stride = _pair(layer.stride)
    return Pool("MaxPool", kernel, stride, pads, _pair(layer.dilation), layer.ceil_mode)


def _average_pool(layer: torch.nn.AvgPool2d) -> Pool:
    pads, kernel = _pair(layer.padding) * 2, _pair(layer.kernel_size)
    counts = layer.count_include_pad and any(pads)
    if layer.divisor_override is not None or (layer.ceil_mode and counts):
        raise UserError(f"{layer} cannot be exported: its averages have no ONNX form")
    return Pool("AveragePool", kernel, _pair(layer.stride), pads, (1, 1), layer.ceil_mode, counts)


def _activation(layer: torch.nn.Module) -> Activation:
    from torch import nn

    if isinstance(layer, nn.GELU):
        return Activation("gelu_tanh" if layer.approximate == "tanh" else "gelu")
    if isinstance(layer, nn.LeakyReLU):
        return Activation("leaky_relu", layer.negative_slope)
    for kind, name in (
        (nn.ReLU6, "relu6"),
        (nn.ReLU, "relu"),
        (nn.SiLU, "silu"),
        (nn.Hardswish, "hardswish"),
    ):
        if isinstance(layer, kind):
            return Activation(name)
    raise UserError(
        f"a network with {type(layer).__name__} cannot be exported; it may have Conv2d, Linear, "
        "BatchNorm, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten, Dropout, Identity, ReLU, "
        "ReLU6, LeakyReLU, GELU, SiLU, Hardswish and Residual"
    )


def _pair(value: object) -> tuple[int, int]:
    pair: Sequence[Any] = value if isinstance(value, Sequence) else (value, value)
    return int(pair[0]), int(pair[1])


def _array(tensor: torch.Tensor) -> Doubles:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)


def _bias(tensor: torch.Tensor | None, size: int) -> Doubles:
    return np.zeros(size) if tensor is None else _array(tensor)
