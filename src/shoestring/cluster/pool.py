"""pool: jobs as tasks of a Ray cluster, placed by the cpus and gpus that they ask for.

Hosts, placement and retries are Ray's. What is decided here is only what to submit and what to
cancel: no more than the cluster has place for, and an urgent job has others make room, which go on
after it from the checkpoints that they left.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from shoestring.cluster.nodes import Surroundings
from shoestring.cluster.session import Session
from shoestring.core.jobs import Done, Job, Site
from shoestring.engine import derive, interrupt
from shoestring.engine.here import done

MOST_TRIES = (
    4  # of a job whose worker or host is lost: one that dies again and again is no accident
)
POLL_SECONDS = 0.2


@dataclass
class _Going:
    """A job that Ray knows."""

    job: Job
    ref: Any  # of what comes of it
    yields: bool = False  # was asked to make room


class RayPool:
    """A pool on the cluster of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._surroundings = Surroundings.here()
        self._going: dict[str, _Going] = {}
        self._aside: deque[Job] = deque()  # that made room, with what they left

    # --- what there is room for ---

    def size(self, cpus: int = 1, gpus: int = 0) -> int:
        return max(1, self.session.size(cpus, gpus))

    def room(self, cpus: int = 1, gpus: int = 0) -> int:
        """By what the nodes have and what this pool has begun: what Ray says to be free is some
        seconds old. UserError where not one such job has a place, and none appears within the
        seconds that a person gave for it."""
        if self._aside:
            return 0
        most = self.session.size(cpus, gpus)
        if not most and not self._going:
            self.session.wait_for(1, cpus, gpus)
            return 1
        found = min(most, self._free("cpus") // cpus) if cpus else most
        return max(0, min(found, self._free("gpus") // gpus) if gpus else found)

    # --- jobs ---

    def submit(self, job: Job) -> None:
        if job.urgent:
            self._make_room(job)
        self._send(job)

    def _send(self, job: Job) -> None:
        task = _task().options(
            num_cpus=job.cpus, num_gpus=job.gpus, max_retries=MOST_TRIES - 1, name=job.name
        )
        self._going[job.name] = _Going(job, task.remote(job, self._surroundings))

    def _make_room(self, job: Job) -> None:
        """Asks those that began last to stop until an urgent job has a place."""
        import ray

        leaving = [going.job for going in self._going.values() if going.yields]
        short_cpus = job.cpus - self._free("cpus") - sum(other.cpus for other in leaving)
        short_gpus = job.gpus - self._free("gpus") - sum(other.gpus for other in leaving)
        for going in reversed(list(self._going.values())):
            if short_cpus <= 0 and short_gpus <= 0:
                return
            if not going.job.urgent and not going.yields:
                going.yields = True
                ray.cancel(going.ref, force=False, recursive=False)
                short_cpus -= going.job.cpus
                short_gpus -= going.job.gpus

    def _free(self, what: str) -> int:
        there = sum(getattr(node, what) for node in self.session.nodes())
        return int(there - sum(getattr(g.job, what) for g in self._going.values()))

    def results(self) -> Iterator[Done]:
        import ray

        self.session.pulse.check()
        self._resume()
        refs = {going.ref: name for name, going in self._going.items()}
        if not refs:
            return
        ready, _ = ray.wait(list(refs), num_returns=1, timeout=POLL_SECONDS, fetch_local=False)
        for ref in ready:
            going = self._going.pop(refs[ref])
            found = _got(going)
            if found.stopped and going.yields:
                self._aside.append(replace(going.job, files={**going.job.files, **found.files}))
            else:
                yield found

    def _resume(self) -> None:
        """Jobs that made room go on where there is some again, the first to stop first."""
        if any(going.job.urgent for going in self._going.values()):
            return
        while self._aside:
            job = self._aside[0]
            short = self._free("cpus") < job.cpus or self._free("gpus") < job.gpus
            if self._going and short:
                return
            self._aside.popleft()
            self._send(job)

    def stop(self) -> None:
        import ray

        for going in self._going.values():
            ray.cancel(going.ref, force=False, recursive=False)
        self._going.clear()
        self._aside.clear()


def _got(going: _Going) -> Done:
    """What came of a task that ended, or why nothing did."""
    import ray

    try:
        found: Done = ray.get(going.ref)
    except ray.exceptions.TaskCancelledError:  # before it began
        return Done(going.job, stopped=True)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        return Done(
            going.job,
            error=f"its worker was lost {MOST_TRIES} times: {_first_line(error)}",
        )
    except ray.exceptions.RayError as error:
        return Done(going.job, error=_first_line(error))
    return replace(found, job=going.job)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:500]


@cache
def _task() -> Any:
    import ray

    return ray.remote(_done)


_DESK = derive.Desk()  # of a worker: data are read once, whatever jobs come


def _done(job: Job, surroundings: Surroundings) -> Done:
    """One job, in a worker of Ray, in a folder that goes with it. A cancelled task sees a Ctrl-C,
    as a person's command would."""
    surroundings.enter()
    with (
        tempfile.TemporaryDirectory(prefix="shoestring-") as folder,
        interrupt.listening() as stop,
        derive.at(_DESK),
    ):
        import ray

        found = done(job, Site(Path(folder), lambda: stop.asked))
        where = ray.util.get_node_ip_address()
    return replace(found, job=_bare(job), where=where)


def _bare(job: Job) -> Job:
    """Without what whoever submitted it has anyway."""
    empty: Mapping[str, bytes] = {}
    return replace(job, values={}, files=empty)
