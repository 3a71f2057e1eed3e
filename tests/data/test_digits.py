"""The digits inside scikit-learn: theirs and no others, and a hint where it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from shoestring.core.errors import DataError, MissingExtra
from shoestring.core.protocols import silent
from shoestring.data import digits


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path))


def stand_in(monkeypatch: pytest.MonkeyPatch, images: np.ndarray, target: np.ndarray) -> None:
    module = ModuleType("sklearn.datasets")
    vars(module)["load_digits"] = lambda: SimpleNamespace(images=images, target=target)
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", module)


def test_without_the_package_the_error_says_which_install_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"scikit-learn.*shoestring\[digits\]"):
        digits.get(silent)


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, np.zeros((2, 8, 8)), np.zeros(2))
    with pytest.raises(DataError, match="sha256"):
        digits.get(silent)
    assert digits.here() is None


def test_they_are_kept_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    images = np.arange(128.0).reshape(2, 8, 8) % 17
    pixels = np.rint(images * 255 / 16).astype(np.uint8)
    monkeypatch.setattr(digits, "PIXELS_SHA256", hashlib.sha256(pixels.tobytes()).hexdigest())
    stand_in(monkeypatch, images, np.array([3, 4]))
    folder = digits.get(silent)
    assert digits.get(silent) == digits.here() == folder
    with np.load(folder / "pictures.npz") as arrays:
        assert np.array_equal(arrays["x"], pixels)
        assert arrays["y"].tolist() == [3, 4]
