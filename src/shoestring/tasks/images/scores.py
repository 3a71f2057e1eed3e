"""scores: quality of image answers from stored outcomes.

Shapes: B pictures, K labels. Nothing here needs more than numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.core.intervals import wilson
from shoestring.core.protocols import Outcomes
from shoestring.core.receipt import Plain, Scores

CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017
_SMALLEST = float(np.finfo(np.float32).tiny)  # a probability of 0 has no logarithm


def scores(outcomes: Outcomes, facts: Plain) -> Scores:
    """Accuracy with Wilson's 95% interval, negative log-likelihood in nats, and in `details`:
    balanced accuracy, expected calibration error, a row for each label, and the confusion
    matrix (rows are true labels, columns answers)."""
    labels_B = np.asarray(outcomes["labels"], np.int64)
    probabilities_BK = np.asarray(outcomes["probabilities"], np.float32)
    names: list[str] = list(facts["labels"])
    total, kinds = len(labels_B), len(names)
    if not total:
        return Scores(metric="accuracy", details={"labels": names})
    answers_B = probabilities_BK.argmax(axis=1)
    right_B = right(labels_B, probabilities_BK)
    truth_B = probabilities_BK[np.arange(total), labels_B].astype(np.float64)
    confusion_KK = np.bincount(labels_B * kinds + answers_B, minlength=kinds * kinds)
    confusion_KK = confusion_KK.reshape(kinds, kinds)
    support_K, answered_K = confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    hits_K = np.diagonal(confusion_KK)
    recall_K, precision_K = _ratio(hits_K, support_K), _ratio(hits_K, answered_K)
    f1_K = _ratio(2 * hits_K, support_K + answered_K)
    interval = wilson(int(right_B.sum()), total)
    columns = zip(names, precision_K, recall_K, f1_K, support_K, strict=True)
    per_class = [
        {"label": n, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for n, p, r, f, s in columns
    ]
    return Scores(
        quality=interval.value,
        metric="accuracy",
        interval=interval,
        loss=float(-np.log(np.maximum(truth_B, _SMALLEST)).mean()),
        examples=total,
        signature="preprocessing:in graph",
        details={
            "balanced_accuracy": float(recall_K[support_K > 0].mean()),
            "calibration_error": calibration_error(probabilities_BK.max(axis=1), right_B),
            "calibration": f"expected calibration error, {CALIBRATION_BINS} bins of equal width",
            "per_class": per_class,
            "confusion": confusion_KK.tolist(),
        },
    )


def right(labels_B: NDArray[np.int64], probabilities_BK: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(B,) whether the most probable label is the true one; of equal ones the first answers."""
    return np.asarray(probabilities_BK.argmax(axis=1) == labels_B)


def calibration_error(confidence_B: NDArray[np.float32], right_B: NDArray[np.bool_]) -> float:
    """Mean distance of confidence from accuracy over bins of equal width, weighted by their
    share of the answers (Naeini et al. 2015, Guo et al. 2017)."""
    bins_B = np.minimum((confidence_B * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gap_B = confidence_B.astype(np.float64) - right_B
    return float(np.abs(np.bincount(bins_B, gap_B)).sum() / len(confidence_B))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """0 where there is nothing to divide by, as scikit-learn has it."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
