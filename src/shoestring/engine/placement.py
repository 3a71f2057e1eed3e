"""placement: where a fit runs. One process on one device here; parallel.py brings the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from shoestring.core.protocols import Batch
from shoestring.core.receipt import Plain
from shoestring.engine import store


class Local:
    """One process, one device."""

    lead = True

    def __init__(self, device: str) -> None:
        self.device = device

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        return model.to(self.device)

    def shard(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def forward_backward(
        self, loss: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]], batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        value, right = loss(batch)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        return value.detach(), right

    def mean(self, total: float, count: float) -> float:
        return total / max(count, 1.0)

    def agree(self, stop: bool) -> bool:
        return stop

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        store.save_tensors(path, tensors, values)

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return store.load_tensors(path)
