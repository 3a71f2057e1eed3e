"""placement: how the training loop meets devices and ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shoestring.core.protocols import Batch
from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    import torch


class Placement(Protocol):
    """How the loop meets devices and ranks. The loop knows of neither."""

    device: str
    lead: bool  # whether this process writes files and talks to the person

    def place(self, model: torch.nn.Module) -> torch.nn.Module: ...

    def shard(self, ids: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch."""

    def forward_backward(
        self, loss: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]], batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs `loss` (mean loss, number right) and its backward; gradients end up global."""

    def mean(self, total: float, count: float) -> float:
        """The global mean of sums and counts."""

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop."""

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None: ...

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]: ...
