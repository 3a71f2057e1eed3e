"""divide: how networks for pictures are divided between processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import nn

from shoestring.core.dividing import Matrix, Stage
from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.tasks.images.efficientnet import EfficientNetLite
from shoestring.tasks.images.traced import TimmNetwork

LARGE = 256  # units, from which on a dense layer that another one follows is worth cutting


def blocks(model: nn.Module) -> Sequence[nn.Module]:
    """The layers of the row that hold weights."""
    rows = model.in_order() if isinstance(model, EfficientNetLite) else model.children()
    return [row for row in rows if any(True for _ in row.parameters())]


def matrices(model: nn.Module, ways: int) -> dict[str, Matrix]:
    """Large dense layers in pairs, by columns and rows, and the last one by its labels."""
    if isinstance(model, TimmNetwork):
        return {}  # whatever timm has: nothing is known of what lies between its layers
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # what a cut layer makes is a view of what torch holds
    dense = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    found: dict[str, Matrix] = {}
    for (name, layer), (after, _) in pairwise(dense):
        if name not in found and layer.out_features >= max(LARGE, ways):
            found |= {name: Matrix("columns"), after: Matrix("rows")}
    name, last = dense[-1]
    if name not in found and last.out_features >= ways:
        found[name] = Matrix("gathered")
    return found


def stages(model: nn.Module, architecture: Plain, count: int) -> list[Stage]:
    """Rows of layers, of about as many multiply-accumulates each as parts allow: a stage begins at
    a layer with weights. UserError for networks that are no row, and for too short ones."""
    kind = architecture["kind"]
    if not isinstance(model, nn.Sequential):
        raise UserError(
            f"network {kind} cannot be a pipeline: its layers are no plain row here; "
            "take strategy=data or fsdp"
        )
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # what comes from another stage is kept for its gradient
    rows = list(model.named_children())
    begins = [i for i, (_, row) in enumerate(rows) if isinstance(row, nn.Conv2d | nn.Linear)]
    if len(begins) < count:
        raise UserError(
            f"network {kind} has {len(begins)} layers with weights, too few for {count} stages; "
            f"take workers={len(begins)} or fewer"
        )
    shapes, works = _measured(model, tuple(architecture["input"]))
    chosen = _even([sum(works[a:b]) for a, b in pairwise([*begins, len(rows)])], count)
    ends = [*(begins[i] for i in chosen[1:]), len(rows)]
    found = []
    for first, end in zip([0, *ends], ends, strict=False):
        row = model[first:end]
        names = tuple(name for name, _ in rows[first:end])
        shape = () if end == len(rows) else shapes[end - 1]
        found.append(Stage(names, _work(row), _shape(shape)))
    return found


def _work(row: nn.Module) -> Callable[[tuple[Any, ...], torch.Tensor | None], torch.Tensor]:
    return lambda words, received: row(words[0] if received is None else received)


def _shape(one: tuple[int, ...]) -> Callable[[Any], tuple[int, ...]]:
    return lambda inputs: (len(inputs), *one) if one else ()


def _measured(
    model: nn.Sequential, shape: tuple[int, ...]
) -> tuple[list[tuple[int, ...]], list[float]]:
    """What each layer makes of one picture, and about how many multiply-accumulates it takes."""
    training = model.training
    model.eval()
    x, shapes, works = torch.zeros(1, *shape), [], []
    with torch.no_grad():
        for row in model:
            x = row(x)
            shapes.append(tuple(x.shape[1:]))
            weights = sum(w.numel() for w in row.parameters() if w.ndim > 1)
            works.append(float(weights * prod(x.shape[2:])))
    model.train(training)
    return shapes, works


def _even(works: list[float], count: int) -> list[int]:
    """Where each of so many stretches begins, so that their work is about equal and none is
    empty."""
    begins, done, total = [0], 0.0, sum(works)
    for place, work in enumerate(works):
        missing = count - len(begins)
        if (
            place
            and missing
            and (done >= total * len(begins) / count or len(works) - place == missing)
        ):
            begins.append(place)
        done += work
    return begins
