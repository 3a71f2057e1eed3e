"""Figures of a split from its outcomes, against scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.tasks.images.scores import calibration_error, scores


def outcomes(labels, probabilities) -> dict[str, np.ndarray]:
    return {
        "labels": np.asarray(labels, np.int64),
        "probabilities": np.asarray(probabilities, np.float32),
        "hashes": np.arange(len(labels), dtype=np.uint64),
    }


FACTS = {"labels": ["a", "b", "c"]}


def test_a_split_by_hand() -> None:
    found = scores(
        outcomes([0, 0, 1, 2], [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0, 1, 0], [0.2, 0.2, 0.6]]),
        FACTS,
    )
    assert found.quality == 0.75
    assert found.metric == "accuracy"
    assert found.examples == 4
    assert found.interval.method == "Wilson"
    assert found.interval.low < 0.75 < found.interval.high
    assert found.loss == pytest.approx(-np.log([0.8, 0.3, 1.0, 0.6]).mean(), rel=1e-6)
    assert found.details["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found.details["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert found.details["per_class"][1] == {
        "label": "b",
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 1,
    }
    assert "15 bins of equal width" in found.details["calibration"]


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 10_000))
def test_as_scikit_learn_has_it(count: int, kinds: int, seed: int) -> None:
    from sklearn import metrics

    random = np.random.default_rng(seed)
    labels = random.integers(0, kinds, count)
    shares = random.dirichlet(np.ones(kinds), count).astype(np.float32)
    found = scores(outcomes(labels, shares), {"labels": [str(k) for k in range(kinds)]})
    answers, every = shares.argmax(axis=1), list(range(kinds))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, answers, labels=every, zero_division=0.0
    )
    table = found.details["per_class"]
    assert [row["precision"] for row in table] == pytest.approx(precision)
    assert [row["recall"] for row in table] == pytest.approx(recall)
    assert [row["f1"] for row in table] == pytest.approx(f1)
    assert [row["support"] for row in table] == support.tolist()
    confusion = metrics.confusion_matrix(labels, answers, labels=every)
    assert found.details["confusion"] == confusion.tolist()
    assert found.quality == pytest.approx(metrics.accuracy_score(labels, answers))
    present = recall[support > 0]
    assert found.details["balanced_accuracy"] == pytest.approx(present.mean())


def test_calibration_is_the_weighted_gap_of_each_bin() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.5, 0.5], np.float32)
    right = np.array([True, True, True, False, False, False])
    expected = (4 * abs(0.95 - 0.75) + 2 * 0.5) / 6
    assert calibration_error(confidence, right) == pytest.approx(expected, rel=1e-6)
    assert calibration_error(np.ones(3, np.float32), np.ones(3, bool)) == 0


def test_a_label_that_was_thought_impossible_has_a_finite_loss() -> None:
    found = scores(outcomes([0], [[0.0, 1.0, 0.0]]), FACTS)
    assert found.loss is not None
    assert 80 < found.loss < 100


def test_an_empty_split_has_no_quality() -> None:
    found = scores(outcomes([], np.zeros((0, 3))), FACTS)
    assert found.quality is None
    assert found.examples == 0
