"""cut_scattered: what cuts have in common whose tensors know by themselves which part they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from shoestring.core.placement import Objective, Placement, Tensors
from shoestring.core.protocols import Batch
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint
from shoestring.engine.spread import sharded
from shoestring.engine.spread.cut import Cut, summed


class Scattered(Cut):
    """Weights are DTensors. Who takes this says how they are placed (which fills `_weights`), and
    which gradients are still to be added up."""

    cuts = True
    pieces = 1

    def __init__(self, everyone: dist.ProcessGroup) -> None:
        self._everyone = everyone
        self._weights: list[torch.nn.Parameter] = []

    def backward(
        self, objective: Objective, batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return summed(objective, batches)

    def gradients(self) -> Tensors:
        return [sharded.here(w.grad) for w in self._weights if w.grad is not None]

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        sharded.clip(weights, norm, self._everyone)

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return sharded.whole(tensor)

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return sharded.like(tensor, weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return sharded.here(tensor)

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        # One by one: no process has all of a big model at once.
        return [sharded.like(way([sharded.whole(part)])[0], part) for part in updates]

    def save(
        self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path, place: Placement
    ) -> None:
        ready = {name: sharded.written(tensor) for name, tensor in tensors.items()}
        checkpoint.save_parts(path, ready, values, checkpoint.token(place), self._everyone)
