"""cut_fsdp: weights, gradients and optimizer state cut evenly, put together block by block.

Source: Zhao et al. 2023, "PyTorch FSDP: experiences on scaling fully sharded data parallel", in its
second form (torch's fully_shard); Rajbhandari et al. 2020, "ZeRO". With data as well, groups that
each have the whole model between them add up what they found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from shoestring.core.layout import Layout
from shoestring.core.placement import Objective, Placement
from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint, sharded
from shoestring.engine.cut import Cut, Tensors, summed


class FullyCut(Cut):
    """Every process has its part of each weight, and its part of each batch."""

    cuts = True
    pieces = 1

    def __init__(self, layout: Layout, device: str, everyone: dist.ProcessGroup) -> None:
        sizes = (layout.data, layout.fsdp) if layout.data > 1 else (layout.fsdp,)
        names = ("data", "fsdp")[-len(sizes) :]
        self._mesh = init_device_mesh(device.partition(":")[0], sizes, mesh_dim_names=names)
        self._everyone = everyone
        self._weights: list[torch.nn.Parameter] = []

    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module:
        for weight in model.parameters():  # fully_shard takes no other memory order
            weight.data = weight.data.contiguous()
        for block in network.blocks(model):
            fully_shard(block, mesh=self._mesh)
        fully_shard(model, mesh=self._mesh)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)  # sums: the labels divide them
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        self._weights = list(model.parameters())
        return model

    def backward(
        self, objective: Objective, batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return summed(objective, batches)

    def gradients(self) -> Tensors:
        return [sharded.here(w.grad) for w in self._weights if w.grad is not None]

    def loose(self, gradients: Tensors) -> Tensors:
        return []

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        sharded.clip(weights, norm, self._everyone)

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return sharded.whole(tensor)

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return sharded.like(tensor, weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return sharded.here(tensor)

    def orthogonal(
        self, update: torch.Tensor, way: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        return sharded.like(way(sharded.whole(update)), update)

    def save(
        self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path, place: Placement
    ) -> None:
        checkpoint.save_parts(path, tensors, values, checkpoint.token(place), self._everyone)
