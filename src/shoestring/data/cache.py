"""cache: folders of files made once, written whole or not at all, and checked when opened.

An entry is a folder named by a key; its `manifest.json` lists every file with its size and a
digest. Writers work in a folder of their own and rename it, so that several may write the same
entry at once and a killed one leaves nothing that could be taken for an entry.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shoestring.core.errors import DataError

VERSION = 1
_MANIFEST = "manifest.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WHOLE_BYTES = 1 << 20  # files up to this size are digested whole, larger ones at 64 places
_STALE_SECONDS = 24 * 3600.0  # a writer's folder this old belongs to a process that died


def cache_folder() -> Path:
    """Where everything lies that can be made again: $SHOESTRING_CACHE, else the user's cache."""
    own = os.environ.get("SHOESTRING_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "shoestring"


def existing(key: str) -> Path | None:
    """The folder of an entry that is whole; None where there is none or it is damaged."""
    folder = cache_folder() / key
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        if manifest["version"] != VERSION:
            return None
        for name, (size, digest) in manifest["files"].items():
            if os.path.getsize(folder / name) != size or _digest(folder / name) != digest:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return folder


@contextmanager
def writing(key: str) -> Iterator[Path]:
    """A fresh folder to fill; becomes the entry `key` when the block ends without an exception.

    Raises DataError when the disk is full or the cache cannot be written, and leaves nothing.
    """
    final = cache_folder() / key
    folder: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final.parent)
        folder = Path(tempfile.mkdtemp(prefix=f".writing-{final.name[:32]}-", dir=final.parent))
        yield folder
        files = {p.name: (p.stat().st_size, _digest(p)) for p in sorted(folder.iterdir())}
        manifest = {"version": VERSION, "files": files}
        (folder / _MANIFEST).write_text(json.dumps(manifest), "utf-8")
        _move_into_place(folder, final, key)
    except OSError as error:
        raise _explained(error, final) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _explained(error: OSError, final: Path) -> DataError:
    where = cache_folder()
    if error.errno in _FULL:
        return DataError(
            f"the disk is full: {where} has no room for the prepared data; free some space, or "
            f"set SHOESTRING_CACHE to a folder on a larger disk"
        )
    return DataError(
        f"the cache cannot be written ({error.strerror or error}: {error.filename or final}); "
        f"set SHOESTRING_CACHE to a folder that can be written"
    )


def _move_into_place(folder: Path, final: Path, key: str) -> None:
    for _ in range(10):
        try:
            os.rename(folder, final)
            return
        except OSError as error:
            if not final.exists():
                raise
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.ENOTDIR):
                raise
        if existing(key) is not None:
            return  # another process was faster; its entry is as good
        damaged = Path(tempfile.mkdtemp(prefix=".writing-damaged-", dir=final.parent))
        try:
            os.rename(final, damaged / "entry")
        except FileNotFoundError:
            pass  # another process moved it away
        shutil.rmtree(damaged, ignore_errors=True)
    raise DataError(f"{final} is damaged and cannot be replaced; remove it and try again")


def _sweep(parent: Path) -> None:
    """Removes what killed writers left."""
    now = time.time()
    for left in parent.glob(".writing-*"):
        try:
            if now - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # gone already


def _digest(path: Path) -> str:
    """Of the whole file where it is small; of its size and 64 blocks spread over it where not,
    which finds a file that was cut, zeroed or written in part without reading gigabytes."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            digest.update(file.read())
        else:
            for i in range(64):
                file.seek((size - 4096) * i // 63)
                digest.update(file.read(4096))
    return digest.hexdigest()
