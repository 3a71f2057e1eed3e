"""digits: the 1,797 small digits that ship inside scikit-learn."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from shoestring.core.errors import DataError, MissingExtra
from shoestring.core.protocols import Progress
from shoestring.data import cache

KEY = "catalog/digits"
PIXELS_SHA256 = "b41ca9fd335466eee997366c2e6f6bbe0a1b4582afe091fc4eba35f4a254182f"


def here() -> Path | None:
    return cache.existing(KEY)


def get(progress: Progress) -> Path:
    """A folder with pictures.npz: x (1797, 8, 8) uint8 and y. Raises MissingExtra."""
    folder = here()
    if folder is not None:
        return folder
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("scikit-learn", "digits", "the catalogue entry 'digits'") from error
    found = load_digits()
    x = np.rint(found.images * (255 / 16)).astype(np.uint8)  # they come as 0 to 16
    if hashlib.sha256(x.tobytes()).hexdigest() != PIXELS_SHA256:
        raise DataError("scikit-learn's digits are not the published ones (their sha256 differs)")
    with cache.writing(KEY) as writing:
        np.savez(writing / "pictures.npz", x=x, y=np.asarray(found.target, np.int64))
    folder = here()
    assert folder is not None
    return folder
