"""labels: which labels are likely wrong, by confident learning (Northcutt et al. 2021).

Shapes: B examples, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Doubt(NamedTuple):
    """An example whose label another one seems to fit better."""

    position: int
    label: int  # as given
    likely: int
    margin: float  # probability of the likely label less that of the given one


def doubts(labels_B: NDArray[np.int64], probabilities_BK: NDArray[np.float32]) -> list[Doubt]:
    """The examples off the diagonal of the confident joint, the clearest first. Probabilities must
    come from models that did not see the example.

    A class is confident of an example where its probability is at least the mean of that class'
    probability over the examples that bear its label: the threshold takes care of classes that a
    model is too sure, or never sure, of. Of several confident classes the most probable counts.
    """
    if not len(labels_B):
        return []
    thresholds_K = class_thresholds(labels_B, probabilities_BK)
    confident_BK = probabilities_BK >= thresholds_K
    masked_BK = np.where(confident_BK, probabilities_BK, -1.0)
    likely_B = masked_BK.argmax(axis=1)
    rows = np.arange(len(labels_B))
    margin_B = probabilities_BK[rows, likely_B] - probabilities_BK[rows, labels_B]
    doubted_B = confident_BK.any(axis=1) & (likely_B != labels_B) & (margin_B > 0)
    at = np.flatnonzero(doubted_B)
    at = at[np.argsort(-margin_B[at], kind="stable")]
    return [Doubt(int(i), int(labels_B[i]), int(likely_B[i]), float(margin_B[i])) for i in at]


def class_thresholds(
    labels_B: NDArray[np.int64], probabilities_BK: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(K,) the mean probability of each class over the examples with its label; above 1, which
    nothing reaches, for a class without any."""
    kinds = probabilities_BK.shape[1]
    own_B = probabilities_BK[np.arange(len(labels_B)), labels_B].astype(np.float64)
    counts_K = np.bincount(labels_B, minlength=kinds)
    sums_K = np.bincount(labels_B, weights=own_B, minlength=kinds)
    return np.where(counts_K > 0, sums_K / np.maximum(counts_K, 1), 2.0)
