"""Confident learning: finds flipped labels, and is not led on by unsure or unequal classes."""

from __future__ import annotations

import numpy as np

from shoestring.autopilot.labels import class_thresholds, doubts


def simulated(
    count: int, classes: int, wrong: int, sure: float
) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Labels, `wrong` of them flipped, and the probabilities of a model that is `sure` of the
    truth on the average and sometimes errs."""
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, count)
    logits = random.standard_normal((count, classes))
    logits[np.arange(count), truth] += sure
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = random.choice(count, wrong, replace=False)
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1) % classes
    return labels, probabilities.astype(np.float32), set(flipped.tolist())


def test_flipped_labels_are_found_first() -> None:
    labels, probabilities, flipped = simulated(2_000, 5, 60, sure=6.0)
    found = doubts(labels, probabilities)
    first = {d.position for d in found[:60]}
    assert len(first & flipped) >= 54  # the model errs at times, too
    assert len(found) < 2 * len(flipped)
    margins = [d.margin for d in found]
    assert margins == sorted(margins, reverse=True)
    assert all(d.likely != d.label == labels[d.position] for d in found)


def test_clean_labels_and_a_good_model_raise_next_to_no_doubt() -> None:
    labels, probabilities, _ = simulated(2_000, 5, 0, sure=8.0)
    assert len(doubts(labels, probabilities)) <= 5


def test_a_class_that_the_model_overrates_is_not_believed_at_once() -> None:
    """Where a class gets 0.6 of everything, only more than that says something."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.55, 0.45]] * 3, np.float32)
    assert np.allclose(class_thresholds(labels, probabilities), [0.9, 0.45])
    assert doubts(labels, probabilities) == []


def test_a_class_without_an_example_is_never_the_likely_one() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.2, 0.1, 0.7]] * 4, np.float32)
    assert all(d.likely != 2 for d in doubts(labels, probabilities))
    assert doubts(np.zeros(0, np.int64), np.zeros((0, 3), np.float32)) == []
