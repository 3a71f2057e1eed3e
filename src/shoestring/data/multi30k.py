"""multi30k: finds the English and German captions of Multi30k, or fetches them; checked by hash."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.data import cache, download

KEY = "catalog/multi30k"
PUBLISHED = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
FILES = {  # sha256 of the text, uncompressed
    "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    "test_2017_flickr.en": "ce1450ddc5ab0834502579d77a170849952e15a2938b34cc503bdc25ebb4fb98",
    "test_2017_flickr.de": "c3078bc3b36808bf9d20eb2347ed6137016179ef59ec0d2b9b8ecc3fb2880081",
    "test_2017_mscoco.en": "43051fdfa86fd5395182e718a94ca67b1b227b9f7c79596ff0f6b813216981d2",
    "test_2017_mscoco.de": "58277df3c75f92f7145a11b910b553d1cf82c439249d4dc237c899609eafac22",
}


def here() -> Path | None:
    """The folder on this machine that has all files; None where they must be fetched."""
    for root in filter(None, os.environ.get("SHOESTRING_DATA", "").split(os.pathsep)):
        folder = Path(root).expanduser() / "multi30k"
        if all((folder / f"{name}.gz").is_file() for name in FILES):
            return folder
    return cache.existing(KEY)


def get(progress: Progress) -> Path:
    """The folder with the files (`train.en.gz`, ...), checked; fetched where it is nowhere.
    Raises DataError with the address and what it said."""
    folder = here()
    if folder is not None:
        _check_once(folder)
        return folder
    try:
        with cache.writing(KEY) as writing:
            for name, sha256 in FILES.items():
                _fetch(name, sha256, writing, progress)
    except DataError as error:
        raise DataError(
            "Multi30k is not on this machine and could not be fetched. Put its files (train.en.gz "
            "and so on, raw, as published) in a folder multi30k and name the folder above it in "
            f"SHOESTRING_DATA. Tried: {error}"
        ) from error
    folder = cache.existing(KEY)
    assert folder is not None
    return folder


def _check_once(folder: Path) -> None:
    """Raises DataError unless the files are the published ones; looks once at the same files."""
    if folder == cache.cache_folder() / KEY:
        return  # was checked before it was written, and is digested whenever it is opened
    digest = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=16)
    for name in FILES:
        info = (folder / f"{name}.gz").stat()
        digest.update(f"{name} {info.st_size} {info.st_mtime_ns}\n".encode())
    stamp = f"checked/{digest.hexdigest()}"
    if cache.existing(stamp) is None:
        for name, sha256 in FILES.items():
            path = folder / f"{name}.gz"
            _check(path.read_bytes(), sha256, str(path))
        with cache.writing(stamp):
            pass


def _check(packed: bytes, sha256: str, where: str) -> None:
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} is no gzip file: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{where} is not the published file (its sha256 differs)")


def _fetch(name: str, sha256: str, folder: Path, progress: Progress) -> None:
    url = f"{PUBLISHED}{name}.gz"
    partial = cache.cache_folder() / "partial" / f"multi30k-{name}.gz"
    download.fetch(url, partial, progress)
    packed = partial.read_bytes()
    partial.unlink()
    _check(packed, sha256, url)
    (folder / f"{name}.gz").write_bytes(packed)
