"""inputs: what a person hands to predict (paths, folders, bytes, pictures, arrays), one by one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError, UserError
from shoestring.data.names import natural_key, printable
from shoestring.tasks.images.reading.folders import folders_around
from shoestring.tasks.images.reading.preprocess import resized
from shoestring.tasks.images.reading.reader import ENDINGS

__all__ = ["listed", "pixels", "resized"]  # what predict takes from here

_NO_PICTURE = "no picture in this folder"


def listed(inputs: Any) -> Iterator[tuple[str, Any]]:
    """(name, source) of every single input, in order; a folder stands for the pictures in it."""
    single = isinstance(inputs, str | os.PathLike | bytes) or not _is_sequence(inputs)
    for number, one in enumerate([inputs] if single else inputs, start=1):
        if not isinstance(one, str | os.PathLike):
            yield f"input {number}", one
            continue
        path = os.fspath(one)
        if not os.path.isdir(path):
            yield printable(path), path
            continue
        empty = True
        for file in _walk(Path(path), folders_around(Path(path))):
            empty = False
            yield printable(str(file)), str(file)
        if empty:
            yield printable(path), DataError(_NO_PICTURE)


def pixels(source: Any, channels: int) -> NDArray[np.uint8]:
    """(H, W, channels) of one source. UserError with the reason where it is not a picture."""
    from shoestring.tasks.images.reading import pixels as files

    if isinstance(source, UserError):
        raise source
    if isinstance(source, str | os.PathLike | bytes):
        return files.decode(source, channels)
    if isinstance(source, np.ndarray):
        return _of_array(source, channels)
    from PIL import Image

    if isinstance(source, Image.Image):
        return _of_picture(source, channels)
    raise DataError(
        f"a {type(source).__name__} is not a picture; give a path, a folder, encoded bytes, "
        "a PIL image or a uint8 array of height x width (x channels)"
    )


def _is_sequence(inputs: Any) -> bool:
    if isinstance(inputs, np.ndarray):
        return inputs.ndim == 4  # (n, H, W, C)
    return isinstance(inputs, Iterable)


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Pictures under `folder` in natural order, one folder's names in memory at a time. Files of
    other kinds are passed over; linked folders are followed, each real folder once and
    none that `seen` holds."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
    except OSError:
        return  # an unreadable folder holds no picture for us
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if os.path.isdir(entry.path):
            yield from _walk(Path(entry.path), seen)
        elif os.path.splitext(entry.name)[1].lower() in ENDINGS:
            yield Path(entry.path)


def _of_array(values: NDArray[Any], channels: int) -> NDArray[np.uint8]:
    shape = "x".join(map(str, values.shape))
    if values.dtype != np.uint8:
        raise DataError(f"an array of {values.dtype} ({shape}); give uint8, 0 to 255")
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or 0 in values.shape:
        raise DataError(f"an array of {shape}; give height x width, or with 1, 3 or 4 channels")
    if values.shape[2] == channels:
        return values
    if values.shape[2] == 1:
        return np.repeat(values, channels, axis=2)
    from PIL import Image

    return _of_picture(Image.fromarray(values), channels)


def _of_picture(image: Any, channels: int) -> NDArray[np.uint8]:
    from shoestring.tasks.images.reading import pixels as files

    buffer = io.BytesIO()
    try:
        exif = image.getexif()
        if image.mode == ("L" if channels == 1 else "RGB") and not exif:
            return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)
        # Every other kind goes the way a file goes, so that both give the same pixels.
        image.save(buffer, "TIFF", exif=exif)
    except files.DECODE_ERRORS as error:
        raise DataError(f"a picture of mode {image.mode} cannot be read: {error}") from error
    return files.decode(buffer.getvalue(), channels)
