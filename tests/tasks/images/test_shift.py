"""Corrupted pictures: each kind does what its name says, more of it at each severity."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shoestring.core.protocols import silent
from shoestring.tasks.images.data import ImageExamples, load
from shoestring.tasks.images.options import SHIFTS, ImageOptions
from shoestring.tasks.images.shift import KINDS, shifted


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> ImageExamples:
    """Smooth blobs of two sizes, in color, 24 x 20."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:24, :20]
    pictures = []
    for i in range(40):
        cy, cx = draws.uniform(8, 14, 2)
        blob = 200 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (6 + 20 * (i % 2)))
        pictures.append(np.stack([blob, 0.5 * blob, 30 + 0.2 * blob], axis=2))
    path = tmp_path_factory.mktemp("blobs") / "blobs.npz"
    np.savez(path, x=np.array(pictures).astype(np.uint8), y=np.arange(40) % 2)
    return load(str(path), ImageOptions(), silent).train


def pixels(examples: ImageExamples) -> NDArray[np.float64]:
    return np.asarray(examples.pixels(), np.float64)


def test_the_kinds_are_those_that_the_task_names() -> None:
    assert tuple(KINDS) == SHIFTS


@pytest.mark.parametrize("kind", SHIFTS)
def test_each_severity_spoils_more_than_the_one_before(kind: str, examples: ImageExamples) -> None:
    clean = pixels(examples)
    apart = [
        np.abs(pixels(shifted(examples, kind, severity)) - clean).mean() for severity in range(1, 6)
    ]
    assert apart[0] > 0
    # Coarse ones need not rise at each step on pictures as small as these.
    assert apart[4] > apart[2] > 0.9 * apart[0]


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_spoilt_picture_is_a_picture_of_the_same_shape(
    kind: str, examples: ImageExamples
) -> None:
    found = shifted(examples, kind, 5).take(np.array([0, 7]))
    assert found.dtype == np.uint8
    assert found.shape == (2, 24, 20, 3)
    assert shifted(examples, kind, 5).take(np.array([], np.int64)).shape == (0, 24, 20, 3)


def test_blur_keeps_the_light_and_a_flat_picture() -> None:
    flat = np.full((1, 9, 9, 1), 120, np.float32)
    assert np.allclose(KINDS["blur"](flat, np.array([1], np.uint64), 4), 120, atol=1e-3)
    assert np.allclose(KINDS["pixelate"](flat, np.array([1], np.uint64), 4), 120, atol=1e-3)


def test_rotation_turns_about_the_centre() -> None:
    picture = np.zeros((1, 21, 21, 1), np.float32)
    picture[0, 10, :] = 255
    turned = KINDS["rotation"](picture, np.array([0], np.uint64), 4)[0, :, :, 0]
    assert turned[10, 10] > 200
    assert turned[10, 0] < 60
    assert max(turned[3, 3], turned[3, 17]) > 150  # by 45 degrees


def test_a_grey_picture_goes_through_jpeg_as_well() -> None:
    picture = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1) * 4
    found = KINDS["jpeg"](picture, np.array([0], np.uint64), 0)
    assert found.shape == picture.shape
    assert np.abs(found - picture).mean() < 40
