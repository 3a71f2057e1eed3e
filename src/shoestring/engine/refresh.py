"""refresh: statistics of batch normalisation computed anew for weights that were averaged.

An average of weights was never run: the means and variances that normalise its activations are
those of no network that it was made of (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.core.protocols import Batch


def normalizes(model: nn.Module) -> bool:
    """Whether a model keeps running statistics at all."""
    return any(_kept(model))


def statistics(
    model: nn.Module, batches: Iterable[Batch], forward: Callable[[Batch], None]
) -> None:
    """Sets the running statistics to the plain mean over the batches. The model is left in
    training mode; its weights stay as they are."""
    norms = list(_kept(model))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a mean over all batches
    model.train()
    with torch.no_grad():
        for batch in batches:
            forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _kept(model: nn.Module) -> Iterable[_BatchNorm]:
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            yield module
