"""What is shown of answers to pictures: confusions, the worst mistakes, classes, calibration."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.core.exhibits import Chart, Gallery, Matrix, Table
from shoestring.core.protocols import silent
from shoestring.core.run import Recipe
from shoestring.tasks.images.exhibits import LARGEST_THUMBNAIL, exhibits, thumbnail
from shoestring.tasks.images.task import TASK
from tests import tiny

FACTS = {"labels": ["a", "b", "c"]}


def outcomes(labels: list[int], probabilities: list[list[float]]) -> dict[str, np.ndarray]:
    return {
        "hashes": np.arange(len(labels), dtype=np.uint64),
        "labels": np.array(labels),
        "probabilities": np.array(probabilities, np.float32),
    }


FOUND = outcomes([0, 0, 1, 2], [[0.9, 0.1, 0], [0.3, 0.6, 0.1], [0, 0.05, 0.95], [0.1, 0.2, 0.7]])


def test_counts_stand_by_truth_and_answer() -> None:
    matrix, classes, calibration = exhibits(FOUND, FACTS, None)
    assert isinstance(matrix, Matrix)
    assert matrix.counts == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert isinstance(classes, Table)
    assert classes.rows[1] == ["b", 0.0, 0.0, 0.0, 1]
    assert isinstance(calibration, Chart)


def test_confidence_stands_against_the_share_that_is_right() -> None:
    chart = exhibits(FOUND, FACTS, None)[-1]
    assert isinstance(chart, Chart)
    shares, _, right = chart.lines
    assert sum(shares.ys) == pytest.approx(1.0)
    assert list(right.xs) == pytest.approx([0.6, 0.7, 0.9, 0.95])
    assert list(right.ys) == [0.0, 1.0, 1.0, 0.0]


def test_many_labels_become_a_list_of_confusions() -> None:
    count = 40
    shares = np.eye(count, dtype=np.float32)[[1, *range(1, count)]]
    first = exhibits(
        outcomes(list(range(count)), shares.tolist()),
        {"labels": list(map(str, range(count)))},
        None,
    )[0]
    assert isinstance(first, Table)
    assert first.rows == [("0", "1", 1)]


def test_the_worst_mistakes_are_shown_first(tmp_path: Path) -> None:
    recipe = Recipe("images", str(tiny.write_npz(tmp_path / "bars.npz", 60)))
    dataset = TASK.load(recipe, silent)
    examples = dataset.validation
    truth = np.asarray(examples.labels)  # type: ignore[attr-defined]
    shares = np.full((len(truth), 3), 0.01)
    shares[np.arange(len(truth)), truth] = 0.98
    shares[1] = np.roll(shares[1], 1)
    shares[3] = np.roll(shares[3], 1)
    shares[3] = [0.4 if share < 0.5 else 0.2 for share in shares[3]]
    shares[3, truth[3]] = 0.35
    found = TASK.exhibits(outcomes(truth.tolist(), shares.tolist()), FACTS, examples, None)
    gallery = next(one for one in found if isinstance(one, Gallery))
    assert len(gallery.pictures) == 2
    first, second = gallery.pictures
    assert first.caption.startswith(f"is {FACTS['labels'][truth[1]]}, answered ")
    assert examples.names[3] in second.description
    with Image.open(io.BytesIO(first.png)) as picture:
        assert picture.size == (tiny.SIDE, tiny.SIDE)
    assert f"2 of 2 wrong answers of {len(truth)}" in gallery.note


def test_a_faultless_split_has_no_mistakes_and_an_empty_one_nothing(tmp_path: Path) -> None:
    recipe = Recipe("images", str(tiny.write_npz(tmp_path / "bars.npz", 60)))
    examples = TASK.load(recipe, silent).validation
    truth = np.asarray(examples.labels)  # type: ignore[attr-defined]
    right = outcomes(truth.tolist(), np.eye(3)[truth].tolist())
    gallery = TASK.exhibits(right, FACTS, examples, None)[1]
    assert isinstance(gallery, Gallery)
    assert not gallery.pictures
    assert exhibits(outcomes([], []), FACTS, None) == ()


@pytest.mark.parametrize("shape", [(300, 200, 3), (8, 8, 1)])
def test_a_thumbnail_is_small(shape: tuple[int, int, int]) -> None:
    with Image.open(io.BytesIO(thumbnail(np.zeros(shape, np.uint8)))) as picture:
        assert max(picture.size) <= LARGEST_THUMBNAIL
        assert picture.mode == ("RGB" if shape[2] == 3 else "L")
