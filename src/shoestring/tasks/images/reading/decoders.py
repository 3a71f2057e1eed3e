"""decoders: shares the decoding of many files out over all cores, into one file of pixels.

Worker processes of our own, not those of multiprocessing: these start from any script, guarded by
`if __name__ == "__main__"` or not, and one that a hostile picture kills costs that picture only.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import shoestring
from shoestring.core.machine import cores
from shoestring.tasks.images.reading.preprocess import Resizer
from shoestring.tasks.images.reading.reader import BROKEN, RECORD, Chunk, Plan, read_files

FEW_FILES = 500  # below this (and FEW_BYTES) threads of this process are done before workers start
FEW_BYTES = 32 << 20
_CHUNK = 64
# Of the C library, where it is glibc: a worker keeps the memory of one picture for the next.
# Given back and fetched again for each, it cost a fifth of the time of decoding small ones.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}
_KILLED = "it brings the decoder down (the process that read it died)"

_Process = subprocess.Popen[bytes]
Part = tuple[int, int, set[int], dict[int, str]]  # first, count, statuses, reasons by position


def create(folder: Path, count: int, plan: Plan) -> None:
    """Empty files of the full size; broken pictures stay zero in them."""
    row = plan.height * plan.width * plan.channels
    for name, size in (("pixels", row), ("records", RECORD.itemsize)):
        with (folder / name).open("wb") as file:
            file.truncate(count * size)


def store(folder: Path, start: int, chunk: Chunk) -> None:
    for name, values in (("pixels", chunk.pixels), ("records", chunk.records)):
        if len(values):
            with (folder / name).open("r+b") as file:
                file.seek(start * values[0].nbytes)
                file.write(values.tobytes())


class Crew:
    """Decoders of some files. Worker processes start at once, and get ready while the caller
    looks for a plan; leaving the `with` ends them."""

    def __init__(self, paths: Sequence[str], sizes: Sequence[int]) -> None:
        few = len(paths) < FEW_FILES and sum(sizes) < FEW_BYTES
        self._paths, self._step = paths, 16 if few else _CHUNK
        self._count = min(cores(), max(1, len(paths) // self._step))
        self._own_processes = not few
        self._waiting = [] if few else [_started() for _ in range(self._count)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        while self._waiting:
            _ended(self._waiting.pop())

    def decode(self, plan: Plan, graph: bytes | None, folder: Path) -> Generator[Part, None, None]:
        """Fills `pixels` and `records` in the folder, in chunks and in any order."""
        starts: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        for start in range(0, len(self._paths), self._step):
            starts.put((start, min(start + self._step, len(self._paths))))
        parts: queue.SimpleQueue[Part | None] = queue.SimpleQueue()  # None: a member has ended
        job = _Job(self._paths, plan, graph, folder, starts, parts)
        members = [_Member(job, self._own_processes, self._next()) for _ in range(self._count)]
        with ThreadPoolExecutor(len(members)) as threads:
            working = {threads.submit(member.work) for member in members}
            try:
                while working:
                    part = parts.get()
                    if part is not None:
                        yield part
                        continue
                    ended = next(as_completed(working))
                    working.remove(ended)
                    ended.result()  # raises here what stopped it
            finally:
                for member in members:
                    member.stop()

    def _next(self) -> _Process | None:
        return self._waiting.pop() if self._waiting else None


@dataclass(frozen=True)
class _Job:
    paths: Sequence[str]
    plan: Plan
    graph: bytes | None
    folder: Path
    starts: queue.SimpleQueue[tuple[int, int]]
    parts: queue.SimpleQueue[Part | None]


class _Member:
    """Decodes chunk after chunk in its thread, or has a worker process of its own do it."""

    def __init__(self, job: _Job, own_process: bool, worker: _Process | None) -> None:
        self._job, self._own_process, self._worker = job, own_process, worker
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        worker = self._worker
        if worker is not None:
            worker.kill()

    def work(self) -> None:
        job = self._job
        try:
            if self._own_process:
                self._instruct(self._worker or _started())
            resizer = None
            if self._worker is None and job.graph is not None:
                resizer = Resizer(job.graph)
            while not self._stopped:
                try:
                    start, end = job.starts.get_nowait()
                except queue.Empty:
                    break
                if self._worker is None:
                    job.parts.put(self._decode(start, end, resizer))
                else:
                    job.parts.put(self._ask(start, end))
        finally:
            self._dismiss()
            job.parts.put(None)

    def _decode(self, start: int, end: int, resizer: Resizer | None) -> Part:
        chunk = read_files(self._job.paths[start:end], self._job.plan, resizer)
        store(self._job.folder, start, chunk)
        statuses = {int(s) for s in chunk.records["status"]}
        return start, end - start, statuses, {start + i: r for i, r in chunk.reasons.items()}

    def _ask(self, start: int, end: int) -> Part:
        answer = self._answer([start, list(self._job.paths[start:end])])
        if answer is not None:
            reasons = {start + int(i): words for i, words in answer["reasons"].items()}
            return start, end - start, set(answer["statuses"]), reasons
        if self._stopped:
            return start, end - start, set(), {}
        self._dismiss()
        self._instruct(_started())
        if end - start == 1 or self._worker is None:
            records = np.zeros(end - start, RECORD)
            records["status"] = BROKEN
            shape = (
                end - start,
                self._job.plan.height,
                self._job.plan.width,
                self._job.plan.channels,
            )
            reasons = dict.fromkeys(range(start, end), _KILLED)
            store(self._job.folder, start, Chunk(records, np.zeros(shape, np.uint8), {}))
            return start, end - start, {BROKEN}, reasons
        statuses: set[int] = set()
        together: dict[int, str] = {}
        for i in range(start, end):  # one by one, to find the picture that kills
            _, _, seen, reasons = self._ask(i, i + 1)
            statuses |= seen
            together |= reasons
        return start, end - start, statuses, together

    def _answer(self, question: object) -> dict[str, Any] | None:
        """None where the worker has died."""
        worker = self._worker
        if worker is None or worker.stdin is None or worker.stdout is None:
            return None
        try:
            worker.stdin.write(json.dumps(question).encode() + b"\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        except OSError:
            return None
        if not line.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(line)
        if answer.get("errno") is not None:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), str(self._job.folder))
        return answer

    def _instruct(self, worker: _Process | None) -> None:
        """Makes this the worker; where it is none, or dies of it, this thread decodes by itself."""
        self._worker = worker
        graph = self._job.folder / "resize.onnx"
        job = {
            "plan": asdict(self._job.plan),
            "graph": str(graph) if self._job.graph is not None else None,
            "pixels": str(self._job.folder / "pixels"),
            "records": str(self._job.folder / "records"),
        }
        if self._answer(job) is None:
            self._dismiss()

    def _dismiss(self) -> None:
        worker, self._worker = self._worker, None
        _ended(worker)


def _started() -> _Process | None:
    """A worker that waits for its job; None where no process can be started."""
    here = str(Path(shoestring.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    environment = {
        **_KEEP_MEMORY,
        **os.environ,
        "PYTHONPATH": here + (os.pathsep + others if others else ""),
        "OMP_NUM_THREADS": "1",
    }
    if not sys.executable:
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "shoestring.tasks.images.reading.reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError:
        return None


def _ended(worker: _Process | None) -> None:
    if worker is None:
        return
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                pass  # it died with a question in the pipe
    worker.kill()
    worker.wait()
