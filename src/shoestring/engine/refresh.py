"""refresh: statistics of batch normalisation computed anew for weights that were averaged.

An average of weights was never run: the means and variances that normalise its activations are
those of no network that it was made of (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.core.protocols import Batch


def normalizes(model: nn.Module) -> bool:
    """Whether a model keeps running statistics at all."""
    return bool(_kept(model))


def statistics(
    model: nn.Module, batches: Iterable[Batch], forward: Callable[[Batch], None]
) -> None:
    """Sets the running statistics to the plain mean over the batches, of those normalisations
    that are in training mode: the others are not what averaging changed (of frozen parts, or
    folded into weights), and keep theirs. Modes and weights stay as they are."""
    norms = [norm for norm in _kept(model).values() if norm.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a mean over all batches
    with torch.no_grad():
        for batch in batches:
            forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def kept_by_all(
    model: nn.Module, members: Sequence[Mapping[str, torch.Tensor]]
) -> Iterator[_BatchNorm]:
    """The normalisations whose statistics are the same in all of these weights: nothing was
    computed on them since the members have been of one kind, because they were frozen or folded
    away."""
    for name, norm in _kept(model).items():
        means = [weights[f"{name}.running_mean"] for weights in members]
        variances = [weights[f"{name}.running_var"] for weights in members]
        if all(torch.equal(one, found[0]) for found in (means, variances) for one in found):
            yield norm


def _kept(model: nn.Module) -> dict[str, _BatchNorm]:
    """The normalisations that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }
