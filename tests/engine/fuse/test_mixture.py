from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch

from shoestring.core.protocols import Batch, Feed, Network
from shoestring.engine.fuse import mixture

DRAWS = np.random.default_rng(0)
LABELS = torch.from_numpy(DRAWS.integers(0, 3, 200))


@dataclass
class Given:
    """A feed of rows, and a network that answers each with logits of its own."""

    def batch(self, ids: torch.Tensor) -> Batch:
        return Batch(ids, LABELS[ids], ids, len(ids))

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def logits(self, model: Any, inputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return model[inputs], targets

    def __len__(self) -> int:
        return len(LABELS)


FEED = cast(Feed, Given())


def net(knowing: float, seed: int) -> mixture.Net:
    """One whose logits tell a true label by so much more than noise."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(LABELS), 3)))
    logits = noise + knowing * torch.nn.functional.one_hot(LABELS, 3)
    return cast(Network, Given()), cast(torch.nn.Module, logits.float())


def test_truths_are_the_probabilities_of_the_labels_where_these_are_honest() -> None:
    nets = [net(1.0, 0), net(2.0, 1)]
    found = mixture.truths(nets, FEED)
    assert found.shape == (2, 200)
    logits = cast(torch.Tensor, nets[1][1])
    rows = [
        (logits / temperature).softmax(1).gather(1, LABELS[:, None])[:, 0].numpy()
        for temperature in mixture.TEMPERATURES
    ]
    best = max(rows, key=lambda row: float(np.log(row).mean()))
    np.testing.assert_allclose(found[1], best, rtol=1e-5)


def test_the_surest_is_not_the_best() -> None:
    network, logits = net(2.0, 0)
    other = cast(torch.Tensor, net(2.0, 1)[1])
    unsure = cast(torch.nn.Module, other / 3)
    weights = mixture.weighted(mixture.truths([(network, logits), (network, unsure)], FEED))
    assert weights[1] > 0.3


def test_weights_that_were_found_are_the_best_of_all() -> None:
    truths = DRAWS.uniform(0.05, 1, (3, 400)) ** np.array([[1.0], [0.7], [1.5]])
    weights = mixture.weighted(truths)
    assert weights.sum() == pytest.approx(1)
    best = mixture.penalized(weights, truths)
    for other in DRAWS.dirichlet([1, 1, 1], 500):
        assert mixture.penalized(other, truths) >= best - 1e-5


def test_weights_stay_alike_where_few_labels_tell_members_apart() -> None:
    truths = np.full((2, 1000), 0.99)
    truths[0, :2] = 0.2
    found = mixture.weighted(truths)
    assert 0.5 < found[1] < 0.65


def test_one_that_knows_nothing_gets_no_weight() -> None:
    nets = [net(3.0, 0), net(3.0, 1), net(-2.0, 2)]
    truths = mixture.truths(nets, FEED)
    for found in (mixture.weighted(truths), mixture.greedy(truths)):
        weights = mixture.settled(found)
        assert weights[2] == 0
        assert weights[0] > 0.2 and weights[1] > 0.2
        assert sum(weights) == pytest.approx(1)


def test_a_greedy_bag_is_never_worse_than_its_best_member() -> None:
    truths = DRAWS.uniform(0.05, 1, (5, 300))
    found = -np.log(mixture.greedy(truths) @ truths).mean()
    assert found <= (-np.log(truths)).mean(axis=1).min()


def test_together_tells_what_each_member_adds() -> None:
    nets = [net(1.0, 0), net(1.5, 1), net(1.0, 2)]
    weights = [0.25, 0.5, 0.25]
    found = mixture.together(nets, weights, "soft", FEED)
    shares = [cast(torch.Tensor, model).softmax(1) for _, model in nets]

    def rated(parts: list[int]) -> tuple[float, float]:
        total = sum(weights[i] for i in parts)
        mixed = sum(weights[i] / total * shares[i] for i in parts)
        assert isinstance(mixed, torch.Tensor)
        own = mixed.gather(1, LABELS[:, None])[:, 0]
        return float((mixed.argmax(1) == LABELS).float().mean()), float(-own.log().mean())

    assert (found.whole.right, found.whole.loss) == pytest.approx(rated([0, 1, 2]), abs=1e-5)
    for number, others in enumerate(([1, 2], [0, 2], [0, 1])):
        added = found.members[number]
        assert (added.alone.right, added.alone.loss) == pytest.approx(rated([number]), abs=1e-5)
        assert (added.without.right, added.without.loss) == pytest.approx(rated(others), abs=1e-5)
    answers = [one.argmax(1) for one in shares]
    pairs = [(0, 1), (0, 2), (1, 2)]
    apart = np.mean([float((answers[i] != answers[j]).float().mean()) for i, j in pairs])
    assert found.disagreement == pytest.approx(apart)
    assert found.labels == 200


def test_a_member_without_weight_has_figures_too() -> None:
    found = mixture.together([net(2.0, 0), net(1.0, 1)], [1.0, 0.0], "soft", FEED)
    assert found.members[1].without == found.whole == found.members[0].alone
    assert found.members[0].without == found.members[1].alone
