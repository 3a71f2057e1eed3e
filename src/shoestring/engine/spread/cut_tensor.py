"""cut_tensor: large matrices cut by their units, as the network says which.

Source: Shoeybi et al. 2019, "Megatron-LM": a pair of matrices cut by columns and then by rows needs
one sum a pass each way; heads of attention are cut whole; the rows of the vocabulary are cut in the
embedding and in the output. What is small, norms and recurrent layers, every process has whole and
computes alike. A matrix in which several stand one after the other is cut part by part.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.distributed.tensor.placement_types import _StridedShard

from shoestring.core.dividing import Matrix
from shoestring.core.layout import Layout
from shoestring.core.placement import Tensors
from shoestring.core.protocols import Network
from shoestring.core.receipt import Plain
from shoestring.engine.spread.cut_scattered import Scattered


class TensorCut(Scattered):
    """Processes that share their examples have each a part of every large matrix."""

    def __init__(self, layout: Layout, device: str, everyone: dist.ProcessGroup) -> None:
        super().__init__(everyone)
        mesh = init_device_mesh(
            device.partition(":")[0],
            (layout.data, layout.tensor),
            mesh_dim_names=("data", "tensor"),
        )
        self._mesh, self._ways = mesh["tensor"], layout.tensor

    def place(self, model: nn.Module, network: Network, architecture: Plain) -> nn.Module:
        found = network.matrices(model, self._ways)
        tied = _tied(model)
        styles = {name: _style(matrix) for name, matrix in found.items() if matrix.parts == 1}
        parallelize_module(model, self._mesh, styles)
        for name, matrix in found.items():
            if matrix.parts > 1:
                fused = cast(nn.Linear, model.get_submodule(name))
                _put(model, name, _FusedLinear(fused, self._mesh, matrix.parts))
        for first, others in tied.items():
            for other in others:
                _put(model, other, model.get_parameter(first))
        self._weights = list(model.parameters())
        return model

    def loose(self, gradients: Tensors) -> Tensors:
        return gradients


def _style(matrix: Matrix) -> ParallelStyle:
    match matrix.way:
        case "columns":
            return ColwiseParallel()
        case "gathered":
            return ColwiseParallel(output_layouts=Replicate())
        case "rows":
            return RowwiseParallel()
        case "table":
            return RowwiseParallel(input_layouts=Replicate())


class _FusedLinear(nn.Module):
    """Columns of several matrices that stand one after the other: what this process's rows of each
    make of inputs that all processes have. torch's own style would cut through the first."""

    def __init__(self, linear: nn.Linear, mesh: DeviceMesh, parts: int) -> None:
        super().__init__()
        self._mesh = mesh
        for name, weight in linear.named_parameters():
            where = [_StridedShard(0, split_factor=parts)]
            cut = distribute_tensor(weight.data, mesh, where, src_data_rank=None)
            self.register_parameter(name, nn.Parameter(cut))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shared = DTensor.from_local(x, self._mesh, [Replicate()], run_check=False)
        x = shared.to_local(grad_placements=[Partial()])  # backward adds up over the processes
        weight, bias = cast(DTensor, self.weight), cast(DTensor, self.bias)
        return F.linear(x, weight.to_local(), bias.to_local())


def _tied(model: nn.Module) -> dict[str, list[str]]:
    """Names of weights that go under several, by the first of them."""
    first: dict[int, str] = {}
    found: dict[str, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(weight), name)
        if known != name:
            found.setdefault(known, []).append(name)
    return found


def _put(model: nn.Module, name: str, new: nn.Parameter | nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, new)
