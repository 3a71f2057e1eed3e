"""alone: one process at a time works in the folder of a run, a build or an ablation."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shoestring.core.errors import RunError

if sys.platform != "win32":  # which has no such lock: nothing is held there
    import fcntl

TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Holds the folder inside; the system lets go of it when the process ends, however it ends.
    RunError where another process works in it: two that go on with one run would overwrite each
    other's files. A folder that is not there, and a file system that holds nothing, are nobody's
    business here."""
    held = _opened(folder)
    try:
        if held is not None:
            _hold(held, folder)
        yield
    finally:
        if held is not None:
            os.close(held)


def _opened(folder: Path) -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None


def _hold(held: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            raise RunError(
                f"another process works in {folder}; wait until it has ended, or stop it"
            ) from error
