"""One split: in order, at one size, from the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoestring.tasks.images import examples as room
from tests.tasks.images.drawn import folder_of, loaded


def test_pixels_take_and_chunks_agree(tmp_path: Path) -> None:
    train = loaded(folder_of(tmp_path, {"a": 12, "b": 12})).train
    pixels = train.pixels()
    assert pixels.shape == (len(train), 16, 16, 3)
    assert pixels.dtype == np.uint8
    positions = np.array([5, 0, 5])
    assert np.array_equal(train.take(positions), pixels[positions])
    chunks = list(train.chunks(5))
    assert np.concatenate([at for at, _ in chunks]).tolist() == list(range(len(train)))
    assert np.array_equal(np.concatenate([p for _, p in chunks]), pixels)
    assert max(len(p) for _, p in chunks) == 5
    assert len(train.names) == len(train.labels) == len(train.hashes) == len(train)


def test_splits_that_lie_together_are_views_of_the_file(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "val", {"a": 2, "b": 2}, start=30)
    dataset = loaded(tmp_path)
    assert isinstance(dataset.train.pixels(), np.memmap)
    assert isinstance(dataset.validation.pixels(), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.pixels()[0] = 0


def test_scattered_splits_larger_than_memory_get_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = loaded(folder_of(tmp_path, {"a": 12, "b": 12})).train
    in_memory = train.pixels()
    monkeypatch.setattr(room, "_GATHER_BYTES", 100)
    monkeypatch.setattr(room, "_BLOCK", 7)
    for _ in range(2):
        on_disk = train.pixels()
        assert isinstance(on_disk, np.memmap)
        assert np.array_equal(on_disk, in_memory)
