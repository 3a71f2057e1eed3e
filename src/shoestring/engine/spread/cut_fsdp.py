"""cut_fsdp: weights, gradients and optimizer state cut evenly, put together block by block.

Source: Zhao et al. 2023, "PyTorch FSDP: experiences on scaling fully sharded data parallel", in its
second form (torch's fully_shard); Rajbhandari et al. 2020, "ZeRO". With data as well, groups that
each have the whole model between them add up what they found.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from shoestring.core.layout import Layout
from shoestring.core.placement import Tensors
from shoestring.core.protocols import Network
from shoestring.core.receipt import Plain
from shoestring.engine.spread.cut_scattered import Scattered


class FullyCut(Scattered):
    """Every process has its part of each weight, and its part of each batch."""

    def __init__(self, layout: Layout, device: str, everyone: dist.ProcessGroup) -> None:
        super().__init__(everyone)
        sizes = (layout.data, layout.fsdp) if layout.data > 1 else (layout.fsdp,)
        names = ("data", "fsdp")[-len(sizes) :]
        self._mesh = init_device_mesh(device.partition(":")[0], sizes, mesh_dim_names=names)

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

    def loose(self, gradients: Tensors) -> Tensors:
        return []
