"""mixture: what the members of an ensemble know alone and together, and how much each counts.

Every task is next-label prediction, so that all is read off the probabilities of given labels: of
a picture, or of each piece of a reference. Shapes: M members, N labels, C classes or pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.core import voting
from shoestring.core.protocols import Feed, Network

BATCH = 64  # examples
ROUNDS = 50  # of greedy selection, and so the finest weight is 1/50
TEMPERATURES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
LEAST = 0.2  # of an equal share: a smaller weight is dropped
PRIOR = 16  # labels
STEPS, ENOUGH = 500, 1e-7  # of the search for weights, and the gain in nats at which it ends

Floats = NDArray[np.float64]
Net = tuple[Network, torch.nn.Module]


@dataclass(frozen=True)
class Rated:
    """How given labels are predicted."""

    right: float  # share of labels that are the likeliest
    loss: float  # nats a label


@dataclass(frozen=True)
class Added:
    """What a member does for the others."""

    alone: Rated
    without: Rated  # the others without it


@dataclass(frozen=True)
class Together:
    """An ensemble and its members on some examples."""

    whole: Rated
    members: tuple[Added, ...]
    disagreement: float  # share of labels on which two members differ, the mean over all pairs
    labels: int


def _logits(nets: Sequence[Net], feed: Feed) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
    """Batch by batch each member's (N, C) logits, and the (N,) labels."""
    for ids in torch.split(torch.arange(len(feed)), BATCH):
        batch = feed.batch(ids)
        found, labels_N = [], batch.targets
        with torch.inference_mode():
            for network, model in nets:
                inputs = feed.prepare(batch.inputs)
                logits_NC, labels_N = network.logits(model, inputs, batch.targets)
                found.append(logits_NC.float())
        yield found, labels_N


def truths(nets: Sequence[Net], feed: Feed) -> Floats:
    """(M, N) the probability that each member gives each true label, at the temperature at which
    the member is right as often as it says (Guo et al. 2017). Without that the surest member would
    get all the weight, of members that label smoothing made unsure."""
    found: list[list[list[NDArray[np.float64]]]] = [[[] for _ in TEMPERATURES] for _ in nets]
    for logits, labels_N in _logits(nets, feed):
        for rows, one_NC in zip(found, logits, strict=True):
            for row, temperature in zip(rows, TEMPERATURES, strict=True):
                shares_NC = (one_NC / temperature).softmax(1)
                row.append(shares_NC.gather(1, labels_N[:, None])[:, 0].double().numpy())
    best = []
    for rows in found:
        shares_TN = np.maximum(np.stack([np.concatenate(row) for row in rows]), voting.FLOOR)
        best.append(shares_TN[np.log(shares_TN).mean(axis=1).argmax()])
    return np.stack(best)


def weighted(truths_MN: Floats) -> Floats:
    """(M,) the weights, which come to 1, of the mixture that predicts the labels best: its loss is
    convex in them, and each step of expectation and maximisation (Dempster et al. 1977) lowers it.
    `PRIOR` labels more, which speak for all alike, keep weights near each other where few labels
    tell the members apart."""
    (count, labels), before = truths_MN.shape, np.inf
    weights_M: Floats = np.full(count, 1 / count)
    for _ in range(STEPS):
        mixed_N = weights_M @ truths_MN
        loss = penalized(weights_M, truths_MN)
        if before - loss < ENOUGH:
            break
        before = loss
        spoken_M = weights_M * (truths_MN / mixed_N).sum(axis=1) + PRIOR / count
        weights_M = spoken_M / (labels + PRIOR)
    return weights_M


def penalized(weights_M: Floats, truths_MN: Floats) -> float:
    """Nats a label of a mixture with these weights, and what the prior takes off for them."""
    spoken = float(np.log(weights_M @ truths_MN).sum())
    return -(spoken + PRIOR * float(np.log(weights_M).mean())) / len(truths_MN[0])


def greedy(truths_MN: Floats, rounds: int = ROUNDS) -> Floats:
    """(M,) the share of times that each member was taken, where the one that lowers the loss most
    is added again and again, and the best of all these bags is kept (Caruana et al. 2004)."""
    counts_M = np.zeros(len(truths_MN), np.int64)
    sum_N, best, kept = np.zeros(truths_MN.shape[1]), np.inf, counts_M
    for size in range(1, rounds + 1):
        losses_M = -np.log((sum_N + truths_MN) / size).mean(axis=1)
        taken = int(losses_M.argmin())
        counts_M = counts_M.copy()
        counts_M[taken] += 1
        sum_N = sum_N + truths_MN[taken]
        if losses_M[taken] < best - ENOUGH:
            best, kept = float(losses_M[taken]), counts_M
    shares_M: Floats = kept / kept.sum()
    return shares_M


def settled(weights_M: Floats) -> list[float]:
    """Weights without those that hardly count, whose members would cost more than they add."""
    kept_M = np.where(weights_M < LEAST / len(weights_M), 0.0, weights_M)
    found: list[float] = (kept_M / kept_M.sum()).tolist()
    return found


def together(nets: Sequence[Net], weights: Sequence[float], vote: str, feed: Feed) -> Together:
    """Members and whole on the examples of a feed, and the whole without each of them."""
    count = len(nets)
    # Rows: the whole, each member alone, the others without it. Columns: right, loss.
    sums = np.zeros((1 + 2 * count, 2))
    apart, labels = 0.0, 0
    for logits, labels_N in _logits(nets, feed):
        shares = [one_NC.softmax(1) for one_NC in logits]
        groups = [list(range(count)), *([i] for i in range(count))]
        groups += [[j for j in range(count) if j != i] or [i] for i in range(count)]
        for row, group in enumerate(groups):
            total = sum(weights[i] for i in group)
            # The others of the only member that counts, and a member that does not, count alike.
            own = [weights[i] / total if total else 1 / len(group) for i in group]
            logs_NC = voting.pooled([shares[i] for i in group], own, vote)
            own_N = logs_NC.gather(1, labels_N[:, None])[:, 0]
            sums[row] += float((logs_NC.argmax(1) == labels_N).sum()), -float(own_N.double().sum())
        answers = [one.argmax(1) for one in shares]
        pairs = [(i, j) for i in range(count) for j in range(i)]
        apart += sum(float((answers[i] != answers[j]).sum()) for i, j in pairs) / len(pairs or [0])
        labels += len(labels_N)
    rated = [Rated(right / labels, loss / labels) for right, loss in sums.tolist()]
    members = tuple(Added(rated[1 + i], rated[1 + count + i]) for i in range(count))
    return Together(rated[0], members, apart / labels, labels)
