"""offspring: what all processes have in common that are started here: their environment, their end
with whoever started them, and their last words. No torch.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import IO

import shoestring

ALONE = 3  # exit code of a process whose parent is gone
SILENT = "it said nothing"


def environment(threads: int | None = None) -> dict[str, str]:
    """Of a process that finds this package as this one did, with so many threads of OpenMP."""
    home = str(Path(shoestring.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    return found if threads is None else {**found, "OMP_NUM_THREADS": str(threads)}


def end_with_parent() -> None:
    """From now on this process ends with the one that holds the other end of its standard input,
    however that ends."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    sys.stdin.buffer.read()
    os._exit(ALONE)


def last_words(errors: IO[bytes]) -> str:
    """The last line that a process wrote to its standard error, a file here."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else SILENT
