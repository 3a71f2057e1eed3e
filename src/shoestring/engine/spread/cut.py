"""cut: what of a model each process of a fit holds, and how its parts come together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from shoestring.core.layout import Layout
from shoestring.core.placement import Objective, Placement, Tensors
from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint
from shoestring.engine.placement import differentiate, like


class Cut(ABC):
    """How a model's weights lie in the processes of a fit."""

    cuts: bool  # whether no process has the whole model
    pieces: int  # in which it takes its part of a batch

    @abstractmethod
    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module: ...

    @abstractmethod
    def backward(
        self, objective: Objective, batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of the sum of the losses of this process's labels, that sum, and how many of
        the labels were right."""

    @abstractmethod
    def gradients(self) -> Tensors:
        """Of this process's weights, as they lie here."""

    @abstractmethod
    def loose(self, gradients: Tensors) -> Tensors:
        """Those of them that were not added up over the parts of a batch yet."""

    @abstractmethod
    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None: ...

    @abstractmethod
    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """Put together from all processes, which all ask for it."""

    @abstractmethod
    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """A whole tensor as a weight lies."""

    @abstractmethod
    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's part, in the same memory."""

    @abstractmethod
    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        """`way` of whole matrices, of which this process may have parts."""

    @abstractmethod
    def save(
        self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path, place: Placement
    ) -> None: ...


class Uncut(Cut):
    """Every process has the whole model."""

    cuts = False
    pieces = 1

    def __init__(self) -> None:
        self._weights: list[torch.nn.Parameter] = []

    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module:
        self._weights = list(model.parameters())
        return model

    def backward(
        self, objective: Objective, batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return summed(objective, batches)

    def gradients(self) -> Tensors:
        return [w.grad for w in self._weights if w.grad is not None]

    def loose(self, gradients: Tensors) -> Tensors:
        return gradients

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        torch.nn.utils.clip_grad_norm_(weights, norm)

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return like(tensor.to(weight.device), weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        return way(updates)

    def save(
        self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path, place: Placement
    ) -> None:
        if place.lead:
            checkpoint.save_whole(path, tensors, values)


def summed(objective: Objective, batches: Sequence[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward and backward pass a batch, by one process alone."""
    total = right_total = torch.zeros((), device=batches[0].targets.device)
    for batch in batches:
        loss, right = objective.loss_of(*objective.logits(batch), batch)
        differentiate(loss * batch.size)
        total = total + loss.detach() * batch.size
        right_total = right_total + (right if batch.size else 0)
    return total, right_total


def cut_of(
    layout: Layout, device: str, everyone: dist.ProcessGroup, microbatches: int | None
) -> Cut:
    """What a layout asks for. What cuts weights is imported only then: it takes seconds."""
    if layout.fsdp > 1:
        from shoestring.engine.spread.cut_fsdp import FullyCut

        return FullyCut(layout, device, everyone)
    if layout.tensor > 1:
        from shoestring.engine.spread.cut_tensor import TensorCut

        return TensorCut(layout, device, everyone)
    if layout.pipeline > 1:
        from shoestring.engine.spread.cut_pipeline import Pipeline

        return Pipeline(layout, device, everyone, microbatches)
    return Uncut()
