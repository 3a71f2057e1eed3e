"""here: jobs done one after the other in this process: the pool of whoever has no other.

`done` is how every pool does a job, wherever its process is.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from shoestring.core.errors import Interrupted, UserError
from shoestring.core.jobs import Done, Job, Site, Work
from shoestring.engine import store

PACKAGE = "shoestring"


class Here:
    """One job at a time, in folders of its own below `folder`, which go when it ended."""

    def __init__(self, folder: Path, asked: Callable[[], bool] = lambda: False) -> None:
        self.folder, self.asked = folder, asked
        self._waiting: deque[Job] = deque()

    def room(self, cpus: int = 1, gpus: int = 0) -> int:
        return 0 if self._waiting else 1

    def size(self, cpus: int = 1, gpus: int = 0) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def results(self) -> Iterator[Done]:
        while self._waiting and not self.asked():
            job = self._waiting.popleft()
            home = self.folder / job.name
            store.remove(home)
            try:
                yield done(job, Site(home, self.asked))
            finally:
                store.remove(home)

    def stop(self) -> None:
        self._waiting.clear()


def done(job: Job, site: Site) -> Done:
    """What comes of a job at a site, whose folder is made. What values that do not go together
    raise (a shape that torch refuses, memory that ends) is told as well as what a person can put
    right; a job that was asked to stop leaves the files of its folder to go on from."""
    site.folder.mkdir(parents=True, exist_ok=True)
    for name, data in job.files.items():
        store.write_atomically(site.folder / name, data)
    try:
        values, files = _work(job.work)(job, site)
    except Interrupted:
        left = {path.name: path.read_bytes() for path in _files(site.folder)}
        return Done(job, files=left, stopped=True)
    except (UserError, OSError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
        return Done(job, error=_said(error))
    return Done(job, values, files)


def _work(place: str) -> Work:
    """Only of this package: a job from elsewhere cannot name any function there is."""
    module, _, name = place.partition(":")
    return cast(Work, getattr(importlib.import_module(f"{PACKAGE}.{module}"), name))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"[:500]
