"""traced: networks of timm, and any module as a graph of the layers that `fold` knows.

A network that is no row is traced: rows of layers between the places where values meet. Only what
is named below has a place in a graph; all else is refused by its name.
Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from shoestring.core.errors import MissingExtra, UserError
from shoestring.core.protocols import Donor
from shoestring.core.receipt import Plain
from shoestring.tasks.images import fold
from shoestring.tasks.images.efficientnet import Entry
from shoestring.tasks.images.fold import Step

_SUMS = (operator.add, operator.iadd, torch.add)
_PRODUCTS = (operator.mul, operator.imul, torch.mul)
_RELU = fold.Activation("relu")
# What a function is called that does the work of a layer.
_LAYERS: Mapping[Any, fold.Layer] = {
    F.relu: _RELU,
    torch.relu: _RELU,
    "relu": _RELU,
    "relu_": _RELU,
    F.relu6: fold.Activation("relu6"),
    F.silu: fold.Activation("silu"),
    F.hardswish: fold.Activation("hardswish"),
    F.sigmoid: fold.Activation("sigmoid"),
    torch.sigmoid: fold.Activation("sigmoid"),
    "sigmoid": fold.Activation("sigmoid"),
}


class TimmNetwork(nn.Module):
    """A network of timm behind the preprocessing that it was trained with."""

    def __init__(self, architecture: Plain) -> None:
        super().__init__()
        entry, dropout = architecture["entry"], architecture.get("dropout", 0.0)
        self._entry = Entry(entry["scale"], entry["shift"], entry["size"])
        self.body: nn.Module = _timm().create_model(
            architecture["name"],
            pretrained=False,
            in_chans=architecture["input"][0],
            num_classes=architecture["classes"],
            **({"drop_rate": dropout} if dropout else {}),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.body(self._entry(x_BCHW)))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """The children that hold weights, in the order in which timm lists them."""
        return [
            (name, child)
            for name, child in self.body.named_children()
            if any(True for _ in child.parameters())
        ]


def preprocessing(name: str) -> dict[str, list[float]]:
    """Mean and deviation, of values from 0 to 255, that a network of timm was trained with."""
    found = _timm().get_pretrained_cfg(name)
    if found is None:
        raise UserError(f"timm has no weights for {name!r}")
    return {
        "mean": [255.0 * float(value) for value in found.mean],
        "std": [255.0 * float(value) for value in found.std],
    }


def timm_donor(name: str) -> Donor:
    """The weights that timm has of that name; it downloads them where they are not cached."""
    model = _timm().create_model(name, pretrained=True)
    tensors = {f"body.{n}": tensor for n, tensor in model.state_dict().items()}
    return Donor(tensors, {"channels": 3, "labels": []}, {})


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingExtra("timm", "timm", "a network of timm") from error
    return timm


def counted_macs(model: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-accumulates of convolutions and matrices for one picture of (C, H, W), seen in a
    pass through the network."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d | nn.Linear):
            total += output.numel() * (module.weight.numel() // len(module.weight))

    handles = [module.register_forward_hook(count) for module in model.modules()]
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return total


# --- as a graph ---------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Looks into every module but those that are layers of ours."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        layer = isinstance(module, nn.BatchNorm2d | Entry)  # timm's come with an activation inside
        return layer or bool(super().is_leaf_module(module, name))


def steps(model: nn.Module) -> list[Step]:
    """What the network does to its input, in order; the last step is the answer. UserError names
    what has no place in a graph."""
    model = model.eval()
    try:
        graph = _Tracer().trace(model)
    except fx.proxy.TraceError as error:
        raise UserError(f"this network cannot be exported: {error}") from error
    found: list[Step] = []
    place: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            place[node] = -1
        elif node.op == "output":
            return found[: place[cast(fx.Node, node.args[0])] + 1]
        elif node.op == "get_attr" or node.target is torch._assert:
            continue
        else:
            place[node] = _step(model, node, place, found)
    raise AssertionError("a trace ends with its output")


def _step(model: nn.Module, node: fx.Node, place: Mapping[fx.Node, int], found: list[Step]) -> int:
    """Adds what a node does, and returns where its value stands."""
    before = [place[one] for one in node.all_input_nodes if one in place]
    row: Sequence[fold.Layer] | None = None
    if node.op == "call_module":
        row = _layers(model.get_submodule(str(node.target)))
    elif node.target in _SUMS and len(before) == 2:
        return _added(found, Step("Add", tuple(before)))
    elif node.target in _PRODUCTS and len(before) == 2:
        return _added(found, Step("Mul", tuple(before)))
    elif node.target is torch.cat and _axis(node, 1) == 1:
        return _added(found, Step("Concat", tuple(before)))
    else:
        row = _function(node)
    if row is None or len(before) != 1:
        raise UserError(f"a network with {node.target} cannot be exported")
    (source,) = before
    if source >= 0 and found[source].kind == "row" and len(_users(node)) == 1:
        found[source] = Step("row", found[source].inputs, (*found[source].row, *row))
        return source
    return _added(found, Step("row", (source,), tuple(row)))


def _users(node: fx.Node) -> list[fx.Node]:
    """Who reads what this node reads."""
    (source,) = [one for one in node.all_input_nodes if one.op != "get_attr"]
    return list(source.users)


def _added(found: list[Step], step: Step) -> int:
    found.append(step)
    return len(found) - 1


def _layers(module: nn.Module) -> list[fold.Layer]:
    """A leaf's layers; a normalisation of timm carries its activation as a child."""
    if isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:
        return [fold.read_norm(module), *(x for c in module.children() for x in fold.read(c))]
    return fold.read(module)


def _function(node: fx.Node) -> list[fold.Layer] | None:
    if node.target in _LAYERS:
        return [_LAYERS[node.target]]
    if node.target in (torch.flatten, "flatten") and _axis(node, 0) == 1:
        return [fold.Flatten()]
    averaged = node.target in (torch.mean, "mean") and _axis(node, None) in ((2, 3), (-2, -1))
    if averaged or (node.target is F.adaptive_avg_pool2d and node.args[1] in (1, (1, 1))):
        keeps = not averaged or bool(node.kwargs.get("keepdim", len(node.args) > 2))
        return [fold.GlobalAverage(), *([] if keeps else [fold.Flatten()])]
    if node.target in (F.dropout, "contiguous", "detach"):
        return []
    return None


def _axis(node: fx.Node, usual: Any) -> Any:
    """The axis or axes that a function works along."""
    given = node.args[1] if len(node.args) > 1 else usual
    given = node.kwargs.get("dim", node.kwargs.get("start_dim", given))
    return tuple(given) if isinstance(given, list) else given
