"""parallel_crew: starts the processes of a fit on this machine, looks after them, and takes what
they bring back. No torch until they have ended.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener
from shoestring.engine import offspring, store
from shoestring.engine.spread.parallel_job import ENDED, FOLDER, Job, lost, pass_on

WORKER = "shoestring.engine.spread.parallel_worker"
POLL_SECONDS = 0.05
GRACE_SECONDS = 2.0  # for the others to end by themselves once one has, so that its reason is seen


@dataclass
class Worker:
    """One process, and what it wrote to its standard error."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    own_end: int | None = None  # its exit code, where nobody here ended it

    @property
    def words(self) -> str:
        return offspring.last_words(self.errors)

    @property
    def code(self) -> int | None:
        return self.process.poll()


@dataclass
class Crew:
    """The processes of one fit, from their start to their end. None of them outlives `work`."""

    job: Job
    listener: Listener
    asked: Callable[[], bool]
    _workers: list[Worker] = field(default_factory=list)
    _said: queue.SimpleQueue[bytes] = field(default_factory=queue.SimpleQueue)
    _readers: list[threading.Thread] = field(default_factory=list)
    _error: UserError | None = None
    _ended: int = 0  # processes that have nothing left to do

    @property
    def folder(self) -> Path:
        return self.job.run.path / FOLDER

    def work(self) -> Path:
        """The folder where the lead left what came of the fit. Raises what the processes raised,
        and RunError where one of them died."""
        if self.folder.exists():
            store.remove(self.folder)
        self.folder.mkdir()
        self.job.write(self.folder)
        try:
            for rank in range(self.job.layout.workers):
                self._start(rank)
            told = False
            # Torch takes 1 to 2 s to be taken down (measured): nobody waits for that.
            while self._ended < len(self._workers) and any(w.code is None for w in self._workers):
                self._pass_on(POLL_SECONDS)
                if self.asked() and not told:
                    told = True
                    self._tell(b"stop\n")
                if any(worker.code for worker in self._workers):
                    self._wait(GRACE_SECONDS)
                    break
        finally:
            self._end()
        self._pass_on(0.0)
        lost = self._lost() if any(worker.own_end for worker in self._workers) else None
        for worker in self._workers:
            worker.errors.close()
        if self._error is not None:
            raise self._error
        if lost is not None:
            raise lost
        return self.folder

    def _start(self, rank: int) -> None:
        environment = offspring.environment(self.job.run.recipe.threads or 1)
        environment |= {"LOCAL_RANK": str(rank)}
        if sys.platform == "linux":  # they speak to each other, and nobody else to them
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, str(self.folder.resolve()), str(rank)],
            env=environment,
            stdin=subprocess.PIPE,  # closes with this process, however that ends
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for this process
        )
        self._workers.append(Worker(process, errors))
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._said.put(line)

    def _pass_on(self, seconds: float) -> None:
        """Says what was told since, and waits at most so long for the first of it."""
        try:
            line = self._said.get(timeout=seconds) if seconds else self._said.get_nowait()
            while True:
                if json.loads(line)[0] == ENDED:
                    self._ended += 1
                else:
                    error = pass_on(line, self.listener)
                    self._error = self._error or error
                line = self._said.get_nowait()
        except queue.Empty:
            return

    def _tell(self, words: bytes) -> None:
        for worker in self._workers:
            assert worker.process.stdin is not None
            try:
                worker.process.stdin.write(words)
                worker.process.stdin.flush()
            except BrokenPipeError:
                continue  # it has ended, which the next look shows

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(w.code is None for w in self._workers) and time.monotonic() < until:
            self._pass_on(POLL_SECONDS)

    def _end(self) -> None:
        for worker in self._workers:
            worker.own_end = worker.code
            if worker.code is None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        for reader in self._readers:
            reader.join()
        for worker in self._workers:
            if worker.process.stdout is not None:
                worker.process.stdout.close()

    def _lost(self) -> RunError:
        """Why it ended: one that was killed by somebody else comes first, for the others fail only
        because it is gone."""
        ends = [(rank, w, w.own_end) for rank, w in enumerate(self._workers) if w.own_end]
        rank, worker, code = min(ends, key=lambda end: end[2] > 0)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        count = len(self._workers)
        said = "" if code < 0 else f" ({worker.words})"
        return lost(self.job.run, f"worker {rank + 1} of {count} {how}{said}")
