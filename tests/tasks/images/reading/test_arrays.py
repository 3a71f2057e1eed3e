"""Pictures in IDX files and .npz, and everything that can be wrong with those."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from shoestring.core.errors import DataError
from shoestring.data import idx
from tests.tasks.images.drawn import loaded, noise, sizes


def pictures(count: int, side: int = 10, channels: int | None = None) -> np.ndarray:
    mode = "RGB" if channels == 3 else "L"
    stack = np.stack([np.asarray(noise(i, side, mode)) for i in range(count)])
    return stack[..., None] if channels == 1 else stack


def labels(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count) % classes


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_with_given_splits(tmp_path: Path, zipped: bool) -> None:
    x, y = pictures(40), labels(40).astype(np.uint8)
    for name, part in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        for what, values in (("images-idx3", x), ("labels-idx1", y)):
            path = tmp_path / f"{name}-{what}-ubyte"
            idx.write(path, values[part])
            if zipped:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    dataset = loaded(tmp_path)
    assert sizes(dataset) == (27, 3, 10)
    assert np.array_equal(dataset.test().pixels()[..., 0], x[30:])
    assert dataset.test().labels.tolist() == y[30:].tolist()
    assert dataset.test().names[0] == "test/0"
    assert dataset.facts["size"] == [10, 10]
    assert dataset.facts["channels"] == 1


def test_idx_files_must_come_in_pairs_that_fit(tmp_path: Path) -> None:
    idx.write(tmp_path / "train-images-idx3-ubyte", pictures(6))
    assert "train files but none of its labels" in refused(tmp_path)
    idx.write(tmp_path / "train-labels-idx1-ubyte", np.zeros(5, np.uint8))
    assert "6 pictures but there are 5 labels" in _any(tmp_path)
    idx.write(tmp_path / "train-labels-idx1-ubyte", np.zeros(6, np.float32))
    assert "float32 values; labels are integers" in _any(tmp_path)
    idx.write(tmp_path / "t10k-images-idx3-ubyte", pictures(6, side=12))
    idx.write(tmp_path / "t10k-labels-idx1-ubyte", labels(6).astype(np.uint8))
    idx.write(tmp_path / "train-labels-idx1-ubyte", labels(6).astype(np.uint8))
    assert "different shapes" in _any(tmp_path)
    idx.write(tmp_path / "test-images-idx3-ubyte", pictures(6))
    idx.write(tmp_path / "test-labels-idx1-ubyte", labels(6).astype(np.uint8))
    assert "more than one pair of IDX files for test" in _any(tmp_path)


def _any(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path)
    return str(caught.value)


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("images", "labels"), ("X", "Y")])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_npz_of_everything(tmp_path: Path, x: str, y: str, channels: int | None) -> None:
    dataset = loaded(npz(tmp_path, **{x: pictures(30, 10, channels), y: labels(30)}))
    assert sizes(dataset) == (27, 3, 0)
    assert dataset.facts["channels"] == (channels or 1)


@pytest.mark.parametrize("form", ["{w}_{s}", "{s}_{w}"])
def test_npz_with_splits(tmp_path: Path, form: str) -> None:
    arrays = {}
    for split, part in (("train", slice(0, 12)), ("val", slice(12, 18)), ("test", slice(18, 30))):
        arrays[form.format(s=split, w="images")] = pictures(30)[part]
        arrays[form.format(s=split, w="labels")] = labels(30)[part, None]
    assert sizes(loaded(npz(tmp_path, **arrays))) == (12, 6, 12)


def test_other_ways_to_write_pixels_give_the_same(tmp_path: Path) -> None:
    x, y = pictures(30), labels(30)
    fingerprints = set()
    for same in (x, x.astype(np.int64), x / 255, x.astype(np.float32), (x / 255).astype("f4")):
        fingerprints.add(loaded(npz(tmp_path, x=same, y=y)).fingerprint)
    assert len(fingerprints) == 1
    assert set(np.unique(loaded(npz(tmp_path, x=x > 99, y=y)).train.pixels())) == {0, 255}


def test_labels_may_be_names_or_any_integers(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "10", "9"])[np.arange(40) % 4]
    assert loaded(npz(tmp_path, x=pictures(40), y=names)).facts["labels"] == [
        "9",
        "10",
        "cat",
        "dog",
    ]
    odd = np.array([-5, 7, 1000])[np.arange(30) % 3]
    assert loaded(npz(tmp_path, x=pictures(30), y=odd)).facts["labels"] == ["7", "1000", "-5"]


def test_not_finite_values_name_the_first_picture(tmp_path: Path) -> None:
    x = pictures(30) / 255
    x[7, 3, 3] = np.nan
    x[9, 0, 0] = np.inf
    words = refused(npz(tmp_path, x=x, y=labels(30)))
    assert re.search(r"x holds 2 values that are not finite .* picture 7", words)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": pictures(6) * 1.5, "y": labels(6)}, "floats from"),
        ({"x": pictures(6).astype(int) * 2, "y": labels(6)}, "pixels are 0 to 255"),
        ({"x": pictures(6).astype(int) - 256, "y": labels(6)}, "pixels are 0 to 255"),
        ({"x": pictures(6).astype(complex), "y": labels(6)}, "complex128 values"),
        ({"x": pictures(6).reshape(6, -1), "y": labels(6)}, "pictures are N,H,W"),
        ({"x": pictures(6)[:, :0], "y": labels(6)}, "pictures are N,H,W"),
        ({"x": np.zeros((6, 3, 9, 9), np.uint8), "y": labels(6)}, "channels come last"),
        ({"x": np.zeros((6, 9, 9, 4), np.uint8), "y": labels(6)}, "4 channels"),
        ({"x": pictures(6), "y": labels(5)}, "6 pictures but there are 5 labels"),
        ({"x": pictures(6), "y": labels(6) / 2}, "float64 values; labels are integers"),
        ({"x": pictures(6), "y": np.eye(6)}, "argmax"),
        ({"x": pictures(6), "y": labels(6) > 0}, "bool values"),
        ({"x": pictures(6)}, "holds the arrays x; needed are x and y"),
        ({"x_train": pictures(6), "y_test": labels(6)}, "needed are x and y"),
        ({"pixels": pictures(6)}, "holds the arrays pixels"),
        ({"x": pictures(6), "y": np.zeros(6, int)}, "one class only, '0'"),
        ({"x": pictures(6)[:0], "y": labels(0)}, "no pictures"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    assert words in refused(npz(tmp_path, **arrays))


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    for content in (b"", b"PK\x03\x04 damaged", b"text"):
        path.write_bytes(content)
        assert "cannot be read as .npz" in refused(path)
    whole = npz(tmp_path, x=pictures(30), y=labels(30)).read_bytes()
    path.write_bytes(whole[:400] + b"\xff" * 60 + whole[460:])
    assert "the array 'x' cannot be read" in refused(path)


def test_objects_in_an_archive_are_never_unpickled(tmp_path: Path) -> None:
    path = npz(tmp_path, x=pictures(6), y=np.array([{}] * 6, dtype=object))
    assert "the array 'y' cannot be read" in refused(path)


def test_large_arrays_are_resized_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.tasks.images.reading import pictures as room

    monkeypatch.setattr(room, "_ARRAY_CHUNK", 7)
    dataset = loaded(npz(tmp_path, x=pictures(30, 20), y=labels(30)), size=8)
    assert dataset.facts["size"] == [8, 8]
    assert dataset.facts["resize"] is True
    assert dataset.train.pixels().any(axis=(1, 2, 3)).all()
