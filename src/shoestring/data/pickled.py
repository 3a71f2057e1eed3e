"""pickled: reads arrays out of a pickle with an unpickler that can build nothing else.

The one pickle that is read at all is inside a package whose sha256 was checked before
(SECURITY.md). Of that pickle's callables none is imported: three names stand for functions below,
every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError

_NUMBER = re.compile(r"[<>|=]?[fiu][1248]")
_NDARRAY: Final = ("numpy", "ndarray")  # stands in a pickle as an argument; cannot be called


def read(packed: bytes) -> Any:
    """Nested tuples, lists and dicts of plain values and numeric arrays. Raises DataError."""
    try:
        value = _ArraysOnly(io.BytesIO(packed), encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
        MemoryError,
        OverflowError,
        ImportError,
    ) as error:
        raise DataError(f"the pickle holds more than arrays, or is damaged: {error}") from error
    return value


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == _NDARRAY:
            return _NDARRAY
        if module == "numpy" and name == "dtype":
            return _dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any, /) -> Any:
        raise pickle.UnpicklingError("persistent ids are not allowed")


def _dtype(name: object, *_: object) -> np.dtype[Any]:
    if not isinstance(name, str) or not _NUMBER.fullmatch(name):
        raise pickle.UnpicklingError(f"arrays of {name!r} are not allowed")
    return np.dtype(name)


def _empty(kind: object, shape: tuple[int, ...], code: object) -> NDArray[Any]:
    """What numpy makes before it fills an array with a pickled state."""
    if kind != _NDARRAY or shape != (0,):
        raise pickle.UnpicklingError("only plain arrays are allowed")
    return np.ndarray((0,), np.int8)
