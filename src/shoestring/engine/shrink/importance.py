"""importance: how much a network would lose with each of its units.

Shapes: U units of a group, W values of a unit's weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

import torch
from torch import nn

from shoestring import plugins
from shoestring.core.protocols import Batch, Dataset
from shoestring.core.run import Run
from shoestring.core.units import UnitGroup
from shoestring.engine import refresh
from shoestring.engine.loss import cross_entropy
from shoestring.engine.shrink.thin import unit_values

BATCHES = 24  # of training examples, that first-order importance is summed over
REFRESHED_BATCHES = 40  # that the statistics of normalisation are computed on anew

Scores = dict[str, list[float]]  # by the name of a group: of each unit


def magnitude(model: nn.Module, groups: Sequence[UnitGroup]) -> Scores:
    """The root mean square of the weights that make each unit, by the mean of its group: sizes of
    weights in two layers have no common measure (Li et al. 2017)."""
    state = model.state_dict()
    return {group.name: _by_mean(_magnitude(state, group)) for group in groups}


def scale(model: nn.Module, groups: Sequence[UnitGroup]) -> Scores:
    """The size of what a normalisation multiplies each unit by (Liu et al. 2017), by the mean of
    its group; magnitude where a group has no normalisation."""
    state, found = model.state_dict(), Scores()
    for group in groups:
        sizes = [
            unit_values(state[part.tensor], part, group.units).abs().mean(1)
            for part in group.slices
            if part.role == "scales"
        ]
        found[group.name] = _by_mean(
            torch.stack(sizes).sum(0) if sizes else _magnitude(state, group)
        )
    return found


def taylor(
    run: Run, model: nn.Module, dataset: Dataset, groups: Sequence[UnitGroup], seconds: float = inf
) -> Scores:
    """By how much the training loss would change without each unit, to first order: the square of
    gradient times weight, summed over all that reads the unit, a mean over batches (Molchanov et
    al. 2019). It has the same measure in all layers. After so many seconds no further batch is
    begun."""
    end = time.monotonic() + seconds
    network = plugins.task(run.task).network(run.architecture["kind"])  # type: ignore[index]  # a trained run has one
    sums = {group.name: torch.zeros(group.units) for group in groups}
    # Frozen statistics, no dropout; recurrent layers of some devices refuse a backward pass then.
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.train()
    weights = dict(model.named_parameters(remove_duplicate=False))
    for weight in weights.values():
        weight.requires_grad_(True)
    for batch in batches(run, dataset, BATCHES):
        model.zero_grad()
        logits_NC, labels_N = network.logits(model, batch.inputs, batch.targets)
        loss, _ = cross_entropy(logits_NC, labels_N)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        for group in groups:
            change_U = torch.zeros(group.units)
            for part in group.slices:
                if part.role != "reads":
                    continue
                weight = weights[part.tensor]
                if weight.grad is not None:
                    product = weight.grad * weight.detach()
                    change_U += unit_values(product, part, group.units).sum(1)
            sums[group.name] += change_U.square()
        if time.monotonic() > end:
            break
    model.zero_grad()
    model.eval()
    return {name: values_U.tolist() for name, values_U in sums.items()}


def refreshed(run: Run, model: nn.Module, dataset: Dataset) -> None:
    """Statistics of normalisation as the network's own activations have them now."""
    network = plugins.task(run.task).network(run.architecture["kind"])  # type: ignore[index]  # a trained run has one
    if refresh.normalizes(model):
        model.train()
        refresh.statistics(
            model,
            batches(run, dataset, REFRESHED_BATCHES),
            lambda batch: _forward(network.logits(model, batch.inputs, batch.targets)),
        )
        model.eval()


def batches(run: Run, dataset: Dataset, count: int) -> Iterator[Batch]:
    """The first training batches of the run's first epoch, unchanged, ready for the network."""
    feed = plugins.task(run.task).feed(dataset.train, dataset.facts, "cpu")
    for ids in feed.order(run.recipe.batch_size or 1, run.recipe.seed, 0)[:count]:
        batch = feed.batch(ids)
        yield replace(batch, inputs=feed.prepare(batch.inputs))


def _forward(logits_and_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    """What is wanted of a pass is the statistics that it leaves behind."""


def _magnitude(state: Mapping[str, torch.Tensor], group: UnitGroup) -> torch.Tensor:
    values_UW = torch.cat(
        [
            unit_values(state[part.tensor], part, group.units)
            for part in group.slices
            if part.role == "makes"
        ],
        1,
    )
    return values_UW.square().mean(1).sqrt()


def _by_mean(values_U: torch.Tensor) -> list[float]:
    mean = float(values_U.mean())
    return (values_U / mean if mean > 0 else values_U).tolist()
