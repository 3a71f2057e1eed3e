"""sharded: tensors that lie in several processes (DTensor): their own parts, their wholes."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from shoestring.engine import placement


def here(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A whole tensor cut as the weight is; each process takes its own part of it."""
    if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
        return placement.like(tensor.to(weight.device), weight)
    if isinstance(tensor, DTensor):
        return tensor
    tensor = tensor.to(weight.device)
    return distribute_tensor(tensor, weight.device_mesh, weight.placements, src_data_rank=None)


def written(tensor: torch.Tensor) -> torch.Tensor:
    """As a checkpoint takes it: a part is one piece of the whole, or all of it."""
    if isinstance(tensor, DTensor) and any(isinstance(p, _StridedShard) for p in tensor.placements):
        return tensor.full_tensor()
    return tensor


def clip(weights: Iterable[torch.nn.Parameter], norm: float, everyone: dist.ProcessGroup) -> None:
    """Scales gradients together down to a norm, as torch's own does: elements that several
    processes hold count once."""
    gradients = [w.grad for w in weights if w.grad is not None]
    square = torch.zeros((), dtype=torch.float64)
    for gradient in gradients:
        part = here(gradient).double().pow(2).sum().cpu()
        square += part / _holders(gradient)
    dist.all_reduce(square, group=everyone)
    factor = min(1.0, norm / (float(square) ** 0.5 + 1e-6))
    torch._foreach_mul_([here(gradient) for gradient in gradients], factor)


def _holders(tensor: torch.Tensor) -> int:
    """How many processes hold each element."""
    if not isinstance(tensor, DTensor):
        return dist.get_world_size()
    sizes = zip(tensor.placements, tensor.device_mesh.shape, strict=True)
    return dist.get_world_size() // prod(n for where, n in sizes if not where.is_replicate())
