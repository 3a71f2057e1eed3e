"""arrays: pictures that lie in IDX files or in an .npz."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.data import idx
from shoestring.data.names import SPLITS, natural_key, split_of
from shoestring.tasks.images.reading.sources import NO_SPLIT, Arrays, Source, file_stamp

_IDX_NAME = re.compile(r"(?P<split>[a-z0-9]+)[-_.](?P<what>images|labels)[-_.]idx[13]-ubyte(\.gz)?")
_NPZ_NAMES = {  # images and labels by the prefix or suffix of a split; "" for an array of all
    "images": re.compile(r"(?:(?:x|images)(?:_(?P<a>[a-z]+))?|(?P<b>[a-z]+)_(?:x|images))"),
    "labels": re.compile(r"(?:(?:y|labels)(?:_(?P<a>[a-z]+))?|(?P<b>[a-z]+)_(?:y|labels))"),
}
_BROKEN_ZIP = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def has_idx(folder: Path) -> bool:
    return any(_IDX_NAME.fullmatch(p.name.lower()) for p in folder.iterdir())


def read_folder(words: str, folder: Path) -> Source:
    """Every pair NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte of a folder, plain or .gz."""
    if (folder / "pictures.npz").is_file() and not has_idx(folder):
        return read_npz(words, folder / "pictures.npz")
    pairs: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_NAME.fullmatch(path.name.lower())
        if match:
            pairs.setdefault(match["split"], {})[match["what"]] = path
    splits: dict[str | None, tuple[Path, Path]] = {}
    for name, files in pairs.items():
        for missing in {"images", "labels"} - set(files):
            raise DataError(f"{folder} has {name} files but none of its {missing}")
        split = "test" if name == "t10k" else split_of(name)
        if split in splits:
            raise DataError(f"{folder} holds more than one pair of IDX files for {split or name}")
        splits[split] = (files["images"], files["labels"])
    order = sorted(splits, key=_rank)
    read_labels = [_idx_labels(splits[s][1]) for s in order]

    def pictures() -> NDArray[np.uint8]:
        parts = [
            _uint8_pictures(idx.read(splits[s][0]), str(splits[s][0]), len(labels))
            for s, labels in zip(order, read_labels, strict=True)
        ]
        return _joined(parts, str(folder))

    every = [path for s in order for path in splits[s]]
    return _source(words, folder, order, read_labels, pictures, file_stamp(every))


def read_npz(words: str, path: Path) -> Source:
    """Arrays x and y (or images and labels), for all or as x_train, y_train, x_test, ..."""
    found: dict[str, dict[str | None, str]] = {"images": {}, "labels": {}}
    for key in _npz_keys(path):
        for what, pattern in _NPZ_NAMES.items():
            match = pattern.fullmatch(key.lower())
            if match:
                word = match["a"] or match["b"]
                split = split_of(word) if word else None
                if word is None or split is not None:
                    found[what][split] = key
    if not found["images"] or found["images"].keys() != found["labels"].keys():
        raise DataError(
            f"{path} holds the arrays {', '.join(_npz_keys(path)) or 'none'}; needed are x and y "
            f"(or images and labels), or x_train, y_train and so on for each split"
        )
    order = sorted(found["images"], key=_rank)
    labels = [
        _checked_labels(_npz(path, found["labels"][s]), f"{path}: {found['labels'][s]}")
        for s in order
    ]

    def pictures() -> NDArray[np.uint8]:
        keys = [found["images"][s] for s in order]
        parts = [
            _uint8_pictures(_npz(path, key), f"{path}: {key}", len(part))
            for key, part in zip(keys, labels, strict=True)
        ]
        return _joined(parts, str(path))

    return _source(words, path, order, labels, pictures, file_stamp([path]))


def _rank(split: str | None) -> int:
    return NO_SPLIT if split is None else SPLITS.index(split)


def _source(
    words: str,
    root: Path,
    order: Sequence[str | None],
    labels: Sequence[NDArray[Any]],
    pictures: Arrays,
    stamp: str,
) -> Source:
    together = np.concatenate(labels) if labels else np.zeros(0, np.int64)
    values, codes = np.unique(together, return_inverse=True)
    named = [str(v) for v in values]
    natural = sorted(range(len(named)), key=lambda i: natural_key(named[i]))
    place = np.empty(len(named), np.int64)
    place[natural] = np.arange(len(named))
    return Source(
        words,
        str(root),
        [
            f"{s or 'all'}/{i}"
            for s, part in zip(order, labels, strict=True)
            for i in range(len(part))
        ],
        tuple(named[i] for i in natural),
        place[codes.reshape(-1)],
        np.concatenate(
            [np.full(len(p), _rank(s), np.int8) for s, p in zip(order, labels, strict=True)]
        ),
        stamp,
        arrays=pictures,
    )


def _idx_labels(path: Path) -> NDArray[Any]:
    return _checked_labels(idx.read(path), str(path))


def _checked_labels(labels: NDArray[Any], where: str) -> NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; one-hot rows become labels with .argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"{where} should be one label a picture, not of shape {labels.shape}{hint}")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "U":
        return labels
    raise DataError(f"{where} holds {labels.dtype} values; labels are integers or strings")


def _uint8_pictures(values: NDArray[Any], where: str, labels: int) -> NDArray[np.uint8]:
    """(N, H, W, C) uint8. Whole numbers of 0..255 and floats of 0..1 are taken as well."""
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or 0 in values.shape[1:]:
        raise DataError(f"{where} is of shape {values.shape}; pictures are N,H,W or N,H,W,C")
    if values.shape[3] not in (1, 3):
        first = values.shape[1] in (1, 3)
        hint = "; channels come last: use .transpose(0, 2, 3, 1)" if first else ""
        raise DataError(f"{where} has {values.shape[3]} channels; 1 or 3 can be read{hint}")
    if len(values) != labels:
        raise DataError(f"{where} holds {len(values):,} pictures but there are {labels:,} labels")
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        return _from_floats(values, where)
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if 0 <= low and high <= 255:
            return values.astype(np.uint8)
        raise DataError(f"{where} holds values from {low} to {high}; pixels are 0 to 255")
    raise DataError(f"{where} holds {values.dtype} values; pixels are uint8")


def _from_floats(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argmax(bad.reshape(len(values), -1).any(axis=1)))
        raise DataError(
            f"{where} holds {int(bad.sum()):,} values that are not finite (NaN or infinite); "
            f"the first is in picture {first}"
        )
    low, high = float(values.min()), float(values.max())
    if 0 <= low and high <= 1:
        return np.asarray(np.rint(values * 255), np.uint8)
    if 0 <= low and high <= 255 and np.array_equal(values, np.rint(values)):
        return values.astype(np.uint8)
    raise DataError(
        f"{where} holds floats from {low:g} to {high:g}; pixels are 0 to 255, or floats 0 to 1"
    )


def _joined(parts: list[NDArray[np.uint8]], where: str) -> NDArray[np.uint8]:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) != 1:
        raise DataError(f"{where}: the splits hold pictures of different shapes: {shapes}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _npz_keys(path: Path) -> list[str]:
    return list(_from_npz(path, lambda archive: archive.files, "it"))


def _npz(path: Path, key: str) -> NDArray[Any]:
    return np.asarray(_from_npz(path, lambda archive: archive[key], f"the array {key!r}"))


def _from_npz(path: Path, taken: Callable[[Any], Any], what: str) -> Any:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(f"{path} cannot be read as .npz: it is no such archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:  # pickled objects are refused
                return taken(archive)
    except _BROKEN_ZIP as error:
        raise DataError(f"{path}: {what} cannot be read: {error}") from error
