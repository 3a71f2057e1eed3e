"""transfer: weights of other models in the shapes of a network for pictures.

Shapes: O output channels, I input channels, K kernel, F features, N classes, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Aligned, Donor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.images import fold, pretrained
from shoestring.tasks.images.efficientnet import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PASSED = ("Relu", "Clip", "MaxPool", "Flatten", "Softmax", "Cast", "Transpose", "Resize")


def published() -> Donor:
    """EfficientNet-Lite0 as trained on ImageNet. Its file is the published one, by its hash, and
    nothing but tensors is taken out of it."""
    tensors = torch.load(pretrained.weights_file(), map_location="cpu", weights_only=True)
    mean, deviation = [pretrained.MEAN] * 3, [pretrained.DEVIATION] * 3
    return Donor(tensors, {"channels": 3, "mean": mean, "std": deviation, "labels": []}, {})


def aligned(model: nn.Module, donor: Donor, run: Run) -> Aligned:
    """The first convolution for as many channels as pictures have here; the last matrix only where
    its classes have the same names."""
    state = model.state_dict()
    tensors, notes, own = dict(donor.tensors), list[str](), list[str]()
    first, last = _ends(model)
    given = tensors.get(f"{first}.weight")
    here = state.get(f"{first}.weight")
    if given is not None and here is not None and given.ndim == 4:
        channels = given.shape[1], here.shape[1]
        if channels[0] != channels[1]:
            tensors[f"{first}.weight"] = _for_channels(given, channels[1])
            notes.append(
                f"{first}.weight was made for {channels[1]} of {channels[0]} input channels"
            )
    if list(donor.facts.get("labels", ())) != list(run.facts["labels"]):
        own += [name for name in state if name.startswith(f"{last}.")]
        notes.append("its classes are others, so that the last matrix begins from nothing")
    return Aligned(tensors, tuple(notes), tuple(own))


def _ends(model: nn.Module) -> tuple[str, str]:
    """The names of the first convolution and of the last matrix."""
    named = list(model.named_modules())
    convolutions = [name for name, module in named if isinstance(module, nn.Conv2d)]
    matrices = [name for name, module in named if isinstance(module, nn.Linear)]
    return (convolutions or matrices)[0], (matrices or convolutions)[-1]


def _for_channels(weight_OIKK: torch.Tensor, channels: int) -> torch.Tensor:
    """The weights for grey pictures see the sum of all colours; those for colours share a grey
    one out, so that a grey picture gives what it gave."""
    grey = weight_OIKK.sum(1, keepdim=True)
    return grey if channels == 1 else grey.expand(-1, channels, -1, -1) / channels


# --- out of a bundle ----------------------------------------------------------------------------


def unpacked(model: nn.Module, data: bytes, facts: Plain) -> Donor:
    """The weights in a model.onnx that `graph.to_onnx` made of a network like this one. What was
    folded into a convolution comes back as a normalisation that does nothing else."""
    import onnx

    graph = onnx.load_from_string(data).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    rows = iter(_rows(graph.node, constants))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    row = next(rows)
    mean, deviation = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    for module in model.modules():
        if isinstance(module, Entry):  # the first convolution reads what comes out of it
            own = module.scale_C11.double().numpy().ravel(), module.shift_C11.double().numpy()
            deviation = deviation / own[0]
            mean = mean - own[1].ravel() * deviation
    scale, shift = deviation, mean  # from the network's own pixels to those that the graph reads
    while isinstance(row, fold.Affine):
        scale, shift = scale * row.scale, shift * row.scale + row.shift
        row = next(rows)
    weights = [name for name, module in _matrices(model)]
    norms = _norms(model)
    for place, name in enumerate(weights):
        if isinstance(row, fold.Affine):
            raise BundleError("the bundle's graph has a normalisation where none can stand")
        weight, bias = row.weight, row.bias
        if place == 0:
            bias = bias + _seen(weight, shift)
            weight = _scaled(weight, scale)
        _put(state, f"{name}.weight", weight.T if weight.ndim == 2 else weight)
        row = next(rows, fold.Affine(np.ones(1), np.zeros(1)))
        sign = np.ones(len(bias))
        if isinstance(row, fold.Affine) and place + 1 < len(weights):
            sign, bias = sign * row.scale, bias * row.scale + row.shift
            row = next(rows)
        if name in norms:
            norm = norms[name]
            units = len(bias)
            _put(state, f"{norm}.weight", np.broadcast_to(sign, units))
            _put(state, f"{norm}.bias", bias)
            _put(state, f"{norm}.running_mean", np.zeros(units))
            eps = cast(nn.BatchNorm2d, model.get_submodule(norm)).eps
            _put(state, f"{norm}.running_var", np.full(units, 1 - eps))
        elif f"{name}.bias" in state:
            _put(state, f"{name}.bias", bias)
    return Donor(state, facts, {}, folded=True)


Row = fold.Convolution | fold.Dense | fold.Affine


def _rows(nodes: Sequence[Any], constants: Mapping[str, NDArray[Any]]) -> Iterator[Row]:
    """What a graph of ours has of weights, in order."""
    for node in nodes:
        own = [constants[name].astype(np.float64) for name in node.input if name in constants]
        if node.op_type == "Conv":
            bias = own[1] if len(own) > 1 else np.zeros(len(own[0]))
            yield fold.Convolution(own[0], bias, (), (), (), 1)
        elif node.op_type in ("Gemm", "MatMul"):
            yield fold.Dense(own[0], own[1] if len(own) > 1 else np.zeros(own[0].shape[1]))
        elif node.op_type in ("Mul", "Add") and own:
            flat = own[0].ravel()
            nothing = np.zeros_like(flat), np.ones_like(flat)
            one = (flat, nothing[0]) if node.op_type == "Mul" else (nothing[1], flat)
            yield fold.Affine(*one)
        elif node.op_type not in (*_PASSED, "Add", "GlobalAveragePool"):
            raise BundleError(f"weights are not taken out of a graph with {node.op_type}")


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module


def _norms(model: nn.Module) -> dict[str, str]:
    """The name of the normalisation behind each convolution that has one."""
    found, before = {}, ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            before = name
        elif isinstance(module, nn.BatchNorm2d):
            found[before] = name
    return found


def _seen(weight: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a constant input adds up to in each output."""
    if weight.ndim == 4:
        return np.asarray(np.einsum("oikl,i->o", weight, np.broadcast_to(shift, weight.shape[1])))
    return np.asarray(np.repeat(shift, weight.shape[0] // shift.size) @ weight)


def _scaled(weight: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    if weight.ndim == 4:
        return weight * np.broadcast_to(scale, weight.shape[1])[None, :, None, None]
    return weight * np.repeat(scale, weight.shape[0] // scale.size)[:, None]


def _put(state: dict[str, torch.Tensor], name: str, values: NDArray[np.float64]) -> None:
    if tuple(state[name].shape) != values.shape:
        raise BundleError(
            f"the bundle's graph has {values.shape} where its network has {name} of "
            f"{tuple(state[name].shape)}: it was changed after its training; start from its run"
        )
    state[name] = torch.from_numpy(np.array(values)).to(state[name].dtype)
