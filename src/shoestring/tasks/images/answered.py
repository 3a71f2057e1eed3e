"""answered: pictures that a teacher labelled, and what it thought of others, kept in the cache.

A key is `COUNT-DIGEST`; it stands in the recipe, so that a repeat learns from the same answers.
Shapes: B pictures, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.data import cache

_BLOCK = 4096  # pictures

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Shares = NDArray[np.float32]


def kept(pixels_BHWC: Pixels, labels_B: Labels) -> str:
    """Stores pictures with their labels and returns their key."""
    digest = hashlib.blake2b(repr(pixels_BHWC.shape).encode(), digest_size=8)
    digest.update(labels_B.astype("<i8").tobytes())
    for first in range(0, len(pixels_BHWC), _BLOCK):
        digest.update(pixels_BHWC[first : first + _BLOCK].tobytes())
    key = f"{len(labels_B)}-{digest.hexdigest()}"
    if not there(key):
        with cache.writing(_entry(key)) as folder:
            np.save(folder / "pixels.npy", pixels_BHWC)
            np.save(folder / "labels.npy", labels_B)
    return key


def kept_shares(shares_BK: Shares) -> str:
    """Stores (B, K) probabilities of the training pictures and returns their key."""
    digest = hashlib.blake2b(repr(shares_BK.shape).encode(), digest_size=8)
    digest.update(shares_BK.astype("<f4").tobytes())
    key = f"{len(shares_BK)}-{digest.hexdigest()}"
    if not there(key):
        with cache.writing(_entry(key)) as folder:
            np.save(folder / "shares.npy", shares_BK)
    return key


def there(key: str) -> bool:
    """Whether the answers of a key are in the cache."""
    return cache.existing(_entry(key)) is not None


def has_pictures(key: str) -> bool:
    """Whether a key is of pictures, not of probabilities."""
    return (_folder(key) / "pixels.npy").exists()


def read(key: str) -> tuple[Pixels, Labels]:
    folder = _folder(key)
    return np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "labels.npy")


def read_shares(key: str) -> Shares:
    found: Shares = np.load(_folder(key) / "shares.npy")
    return found


def _folder(key: str) -> Path:
    """DataError where the cache has the answers no more."""
    found: Path | None = cache.existing(_entry(key))
    if found is None:
        raise DataError(
            f"the answers {key} of this run's teacher are not in the cache any more; start it anew "
            "from its recipe, which asks for them again"
        )
    return found


def _entry(key: str) -> str:
    return f"images/answered-{key}"
