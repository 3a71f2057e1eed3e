"""jobs: pieces of work that may be done anywhere, and the pool that many of them are done in.

A job is a function of this package, named by its place, and plain values: what does not depend on
where it is done can be done in this process, or on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shoestring.core.receipt import Plain


@dataclass(frozen=True)
class Job:
    """One piece of work."""

    name: str  # no other job of its pool has it
    work: str  # a `Work` of this package, "engine.fits:rung"
    values: Plain
    files: Mapping[str, bytes] = field(default_factory=dict)  # in its folder, at first
    cpus: int = 1
    gpus: int = 0
    urgent: bool = False  # others make room for it, and go on after it from where they were


@dataclass(frozen=True)
class Done:
    """What came of a job: values and files; or why nothing did."""

    job: Job
    values: Plain = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    error: str = ""
    stopped: bool = False  # in the middle, because it was asked to
    where: str = ""  # the host that did it


@dataclass(frozen=True)
class Site:
    """Where a job is done."""

    folder: Path  # its own, with the files of the job and what it left when it was stopped
    asked: Callable[[], bool]  # whether it is to stop, and leave in its folder how to go on


class Work(Protocol):
    """What a job's `work` names. Raises Interrupted where it was asked to stop, and any UserError
    for what a person can put right."""

    def __call__(self, job: Job, site: Site) -> tuple[Plain, Mapping[str, bytes]]: ...


class Pool(Protocol):
    """Where many jobs are done. Whoever submits no more than there is room for has nothing
    waiting, and so decides what comes next with all that is known."""

    def room(self, cpus: int = 1, gpus: int = 0) -> int:
        """How many more jobs of this size could begin now."""

    def size(self, cpus: int = 1, gpus: int = 0) -> int:
        """How many jobs of this size can go on side by side."""

    def submit(self, job: Job) -> None: ...

    def results(self) -> Iterator[Done]:
        """Those that ended since it was last asked; waits a little for one. A job whose host was
        lost is done again elsewhere, and is not told of."""

    def stop(self) -> None:
        """Asks all that go on to stop, and forgets them."""


_POOL: ContextVar[Pool | None] = ContextVar("pool", default=None)


@contextmanager
def at(pool: Pool | None) -> Iterator[None]:
    """Work inside that consists of many jobs is done in this pool."""
    token = _POOL.set(pool)
    try:
        yield
    finally:
        _POOL.reset(token)


def pool() -> Pool | None:
    """The one that work is to be done in; None: in processes of this machine."""
    return _POOL.get()
