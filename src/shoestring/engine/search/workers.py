"""workers: processes that do the trials of a search beside each other. No torch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from shoestring.core.errors import RunError
from shoestring.core.trials import TrialLine
from shoestring.engine import offspring
from shoestring.engine.search.study import Study, repaired

POLL_SECONDS = 0.2
GRACE_SECONDS = 1.0  # after the deadline, for a worker to note that its trial was cut off
MOST_STARTS = 3  # of each: one that dies again and again is no accident


@dataclass
class Worker:
    """A process and what it says last."""

    number: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    @property
    def words(self) -> str:
        return offspring.last_words(self.errors)

    @property
    def end(self) -> str:
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"its process {how}; last words: {self.words}"


@dataclass
class Crew:
    """So many workers on one study, each with one thread, until there is nothing more to try, the
    deadline is over, or somebody asks. RunError where none of them can work."""

    folder: Path
    study: Study
    count: int
    threads: int
    deadline: float  # of time.monotonic; infinite without a limit
    asked: Callable[[], bool]
    told: Callable[[TrialLine], None]
    _workers: dict[int, Worker] = field(default_factory=dict)
    _starts: dict[int, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def work(self) -> None:
        self._seen = {line.number for line in self.study.lines()}
        try:
            for number in range(self.count):
                self._start(number)
            while self._workers and not self.asked():
                time.sleep(POLL_SECONDS)
                self._tell()
                self._look_after()
                if time.monotonic() > self.deadline + GRACE_SECONDS:
                    break
        finally:
            for worker in self._workers.values():
                worker.process.kill()
                worker.process.wait()
                worker.errors.close()
        repaired(self.folder)  # where one was killed in the middle of a line
        if not self.asked():
            for number in self._workers:
                self.study.left_by(number, "the seconds of the search were over")
            self._tell()

    def _start(self, number: int) -> None:
        self._starts[number] = self._starts.get(number, 0) + 1
        # The clock of the day is the only one that two processes share everywhere.
        until = "none"
        if self.deadline != float("inf"):
            until = str(time.time() + self.deadline - time.monotonic())
        words = [sys.executable, "-P", "-m", "shoestring.engine.search.trial_process"]
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        process = subprocess.Popen(
            [*words, str(self.folder.resolve()), str(number), until],
            env=offspring.environment(self.threads),
            stdin=subprocess.PIPE,  # closes with this process, however that ends
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for this process
        )
        self._workers[number] = Worker(number, process, errors)

    def _look_after(self) -> None:
        """A worker that died leaves a trial that failed, and is started again."""
        for number, worker in list(self._workers.items()):
            if worker.process.poll() is None:
                continue
            del self._workers[number]
            end, died = worker.end, worker.process.returncode != 0
            worker.errors.close()
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            if not died:
                continue
            self.study.left_by(number, end)
            if self._starts[number] < MOST_STARTS:
                self._start(number)
            elif not self._workers and not self.study.lines():
                raise RunError(f"no trial could be made: {end}")

    def _tell(self) -> None:
        for line in self.study.lines():
            if line.number not in self._seen:
                self._seen.add(line.number)
                self.told(line)
