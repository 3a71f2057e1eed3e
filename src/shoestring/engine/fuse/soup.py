"""soup: one network of the mean weights of several (Wortsman et al. 2022, "Model soups")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from shoestring import plugins
from shoestring.core.protocols import Batch, Dataset, Examples, Quality
from shoestring.core.run import Run
from shoestring.engine import refresh

BATCHES = 40  # of training examples, that the statistics of normalisation are computed on anew

Weights = Mapping[str, torch.Tensor]


def mean(members: Sequence[Weights]) -> dict[str, torch.Tensor]:
    """The mean of each weight; what is no number with a fraction is the first one's."""
    found = {}
    for name, first in members[0].items():
        found[name] = first
        if first.is_floating_point():
            total = torch.stack([member[name].double() for member in members]).mean(0)
            found[name] = total.to(first.dtype)
    return found


class Pot:
    """Where weights of one architecture are averaged, and judged on some examples."""

    def __init__(self, run: Run, dataset: Dataset, judged: Examples) -> None:
        assert run.architecture is not None
        self._run, self._task = run, plugins.task(run.task)
        self._network = self._task.network(run.architecture["kind"])
        self._model = self._network.build(run.architecture)
        self._train = self._task.feed(dataset.train, dataset.facts, "cpu")
        self._judged = self._task.feed(judged, dataset.facts, "cpu")

    def stirred(self, members: Sequence[Weights]) -> dict[str, torch.Tensor]:
        """Their mean, with statistics of normalisation that are its own."""
        self._model.load_state_dict(mean(members))
        if len(members) > 1 and refresh.normalizes(self._model):
            self._model.train()
            for norm in refresh.kept_by_all(self._model, members):
                norm.eval()
            refresh.statistics(self._model, self._batches(), self._forward)
        self._model.eval()
        return {name: t.detach().clone() for name, t in self._model.state_dict().items()}

    def quality(self, weights: Weights) -> Quality:
        self._model.load_state_dict(dict(weights))
        self._model.eval()
        with torch.no_grad():
            return self._task.quality(self._network, self._model, self._judged)

    def greedy(self, members: Sequence[Weights]) -> list[int]:
        """Which members the soup is made of: the best, then each of the others, from the better to
        the worse, where the soup with it is not worse than without."""
        alone = [self.quality(weights) for weights in members]
        order = sorted(range(len(members)), key=lambda i: (-alone[i].quality, alone[i].loss))
        kept, best = [order[0]], alone[order[0]]
        for number in order[1:]:
            found = self.quality(self.stirred([members[i] for i in (*kept, number)]))
            if (found.quality, -found.loss) >= (best.quality, -best.loss):
                kept, best = [*kept, number], found
        return kept

    def _batches(self) -> Iterator[Batch]:
        recipe = self._run.recipe
        for ids in self._train.order(recipe.batch_size or 1, recipe.seed, 0)[:BATCHES]:
            batch = self._train.batch(ids)
            yield replace(batch, inputs=self._train.prepare(batch.inputs))

    def _forward(self, batch: Batch) -> None:
        self._network.logits(self._model, batch.inputs, batch.targets)
