"""placement: where a fit runs. One process on one device here; parallel.py brings the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shoestring.core.placement import Objective, Tensors, Totals
from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint


class Local:
    """One process, one device."""

    lead = True
    workers = 1
    stream = 0

    def __init__(self, device: str) -> None:
        self.device = device

    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module:
        return model.to(self.device)

    def judge(
        self, model: torch.nn.Module, fresh: Callable[[], torch.nn.Module]
    ) -> torch.nn.Module:
        return model

    def shares(self, ids: torch.Tensor) -> Sequence[torch.Tensor]:
        return [ids]

    def backward(self, objective: Objective, batches: Sequence[Batch]) -> Totals:
        labels = sum(batch.size for batch in batches)
        total = right_total = torch.zeros((), device=self.device)
        for batch in batches:
            loss, right = objective.loss_of(*objective.logits(batch), batch)
            share = batch.size / labels
            loss = loss if share == 1.0 else loss * share
            differentiate(loss)
            total, right_total = total + loss.detach() * labels, right_total + right
        return Totals(total, right_total, labels, sum(len(batch.ids) for batch in batches))

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        torch.nn.utils.clip_grad_norm_(weights, norm)

    def stops(self, wish: bool) -> bool:
        return wish

    def agree(self, wish: bool) -> bool:
        return wish

    def told(self, value: Any) -> Any:
        return value

    def settle(self, model: torch.nn.Module) -> None:
        """One process keeps nothing that another would have otherwise."""

    def whole(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return like(tensor.to(self.device), weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        return way(updates)

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        checkpoint.save_whole(path, tensors, values)

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return checkpoint.load(path)


def differentiate(loss: torch.Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations


def like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The tensor in the weight's memory order: sums over another order round differently, and a
    resumed fit would drift from an unbroken one."""
    if tensor.shape != weight.shape:
        return tensor
    return torch.empty_like(weight, requires_grad=False).copy_(tensor)
