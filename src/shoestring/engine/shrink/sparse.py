"""sparse: the smallest weights of a network set to zero, where they stand."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn


def zeroed(model: nn.Module, share: float, across: bool) -> dict[str, torch.Tensor]:
    """The state dict with this share of the weights of convolutions and matrices at zero: the
    smallest of each tensor, or `across` all of them together. The model is changed."""
    weights = list(_matrices(model))
    with torch.no_grad():
        if across:
            sizes = torch.cat([weight.abs().flatten() for weight in weights])
            limits = [_limit(sizes, share)] * len(weights)
        else:
            limits = [_limit(weight.abs().flatten(), share) for weight in weights]
        for weight, limit in zip(weights, limits, strict=True):
            weight.mul_(weight.abs() > limit)
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def places(model: nn.Module) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Each weight of convolutions and matrices, and where it is not zero."""
    return [(weight, weight.detach() != 0) for weight in _matrices(model)]


def counted(model: nn.Module) -> tuple[int, int]:
    """How many weights are zero, of how many in all, biases and normalisations among them."""
    weights = list(model.parameters())
    zeros = sum(int((weight == 0).sum()) for weight in _matrices(model))
    return zeros, sum(weight.numel() for weight in weights)


def _matrices(model: nn.Module) -> Iterator[nn.Parameter]:
    return (weight for weight in model.parameters() if weight.ndim >= 2)


def _limit(sizes: torch.Tensor, share: float) -> torch.Tensor:
    """The size that this share of the values is at or below."""
    count = round(share * len(sizes))
    return sizes.kthvalue(count).values if count else sizes.new_tensor(-1.0)


def compressed(bundle: Path) -> int:
    """Bytes of the graphs and weights of a bundle after zlib."""
    files = [path for path in bundle.iterdir() if path.suffix in (".onnx", ".bin")]
    return sum(len(zlib.compress(path.read_bytes(), 9)) for path in files)
