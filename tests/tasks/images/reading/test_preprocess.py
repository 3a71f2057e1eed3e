"""The graph that resizes: exact where nothing is to be done, and close to Pillow where it is."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from shoestring.tasks.images.reading.preprocess import Resizer, resize_graph
from tests.tasks.images.drawn import noise


def test_the_size_itself_is_left_as_it_is() -> None:
    draws = np.random.default_rng(0)
    for channels in (1, 3):
        pixels = draws.integers(0, 256, (3, 24, 40, channels), dtype=np.uint8)
        assert np.array_equal(Resizer(resize_graph((24, 40)))(pixels), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (7, 13), (100, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_becomes_the_asked_one(shape: tuple[int, int], channels: int) -> None:
    pixels = np.full((1, *shape, channels), 77, np.uint8)
    resized = Resizer(resize_graph((16, 16)))(pixels)
    assert resized.shape == (1, 16, 16, channels)
    assert (resized == 77).all()


def test_it_smooths_as_pillow_does() -> None:
    image = noise(1, 100)
    ours = Resizer(resize_graph((32, 32)))(np.asarray(image)[None])[0]
    theirs = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_a_grey_picture_in_three_channels_resizes_as_in_one() -> None:
    grey = np.asarray(noise(2, 50, "L"))[None, :, :, None]
    resizer = Resizer(resize_graph((16, 16)))
    assert np.array_equal(resizer(np.repeat(grey, 3, 3)), np.repeat(resizer(grey), 3, 3))


def test_the_graph_is_valid_and_the_same_each_time() -> None:
    graph = resize_graph((16, 16))
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    assert graph == resize_graph((16, 16))


def test_an_installation_that_only_predicts_resizes_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    pixels = np.full((1, 9, 9, 3), 5, np.uint8)
    assert Resizer(resize_graph((16, 16)))(pixels).shape == (1, 16, 16, 3)
