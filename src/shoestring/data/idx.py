"""idx: the IDX array format of the MNIST files, plain or gzip-compressed, read and written."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(text): code for code, text in _TYPES.items()}


def read(path: Path) -> NDArray[Any]:
    """The array, in the byte order of this machine. Raises DataError that names the file."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.open(raw) as unpacked:
                    return _parsed(unpacked, path)
            return _parsed(raw, path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as IDX: {reason}") from error


def _parsed(file: BinaryIO | gzip.GzipFile, path: Path) -> NDArray[Any]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        raise DataError(f"{path} is not an IDX file: it begins with {head.hex() or 'nothing'}")
    dtype, axes = np.dtype(_TYPES[head[2]]), head[3]
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{path} is cut off inside its header")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    expected = prod(shape) * dtype.itemsize
    pieces, got = [], 0
    while got <= expected:  # in pieces, so that a header that lies cannot ask for all memory
        piece = file.read(min(1 << 24, expected + 1 - got))
        if not piece:
            break
        pieces.append(piece)
        got += len(piece)
    if got != expected:
        more = "more bytes than" if got > expected else f"{got:,} bytes instead of"
        raise DataError(f"{path} holds {more} the {expected:,} that its header {shape} asks for")
    values = np.frombuffer(b"".join(pieces), dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def write(path: Path, values: NDArray[Any]) -> None:
    """Uncompressed. The dtype must be one that IDX has."""
    dtype = values.dtype.newbyteorder(">")
    head = bytes([0, 0, _CODES[dtype], values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(head + values.astype(dtype).tobytes())
