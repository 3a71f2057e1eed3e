"""beside: further processes that work on an ablation side by side with the one that began it.

    python -m shoestring.autopilot.beside FOLDER UNTIL

Each trains the fits that nobody else has taken, and ends when there are none left, at that time
(in seconds since 1970; "none": whenever), or with whoever started it, whose end of its standard
input then closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted
from shoestring.core.listener import Quiet
from shoestring.engine import offspring, store

if TYPE_CHECKING:
    from shoestring.engine.interrupt import Interrupt

LOCKS = ".locks"
POLL_SECONDS = 0.2


@contextmanager
def claimed(home: Path, fit: str) -> Iterator[bool]:
    """Whether the fit of that name is this process's alone inside. The system gives the lock back
    when a process ends, however that comes."""
    try:
        import fcntl
    except ImportError:  # another system, where `Mates` starts nobody
        yield True
        return
    (home / LOCKS).mkdir(exist_ok=True)
    with (home / LOCKS / fit).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def can_share() -> bool:
    """Whether this system has the locks that processes side by side need."""
    return os.name == "posix"


class Mates:
    """So many further processes on the ablation in a folder, with so many threads each; they end
    with the block."""

    def __init__(self, home: Path, count: int, threads: int | None) -> None:
        self.home, self.threads = home, threads
        self._left = count  # to be started
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, clock: Budget) -> None:
        """Starts them, the first time that it is called."""
        for _ in range(self._left):
            self._processes.append(self._started(clock))
        self._left = 0

    def _started(self, clock: Budget) -> subprocess.Popen[bytes]:
        # The clock of the day is the only one that two processes share everywhere.
        until = "none" if clock.seconds is None else str(time.time() + clock.remaining())
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "shoestring.autopilot.beside", str(self.home), until],
            env=offspring.environment(self.threads or None),
            stdin=subprocess.PIPE,  # closes with this process, however that ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what fails there is tried again here, and told of
            start_new_session=True,  # a Ctrl-C is for this process
        )

    def ended(self, clock: Budget, stop: Interrupt) -> bool:
        """Waits for them. False where the clock ran out before they ended. Raises Interrupted
        where somebody asked."""
        while any(process.poll() is None for process in self._processes):
            if stop.asked:
                raise Interrupted("stopped while other processes were at work")
            if clock.remaining() < 0:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def __enter__(self) -> Mates:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        store.remove(self.home / LOCKS)


def main(arguments: Sequence[str]) -> int:
    from shoestring.autopilot.ablation import read_plan
    from shoestring.autopilot.cells import Work
    from shoestring.engine.interrupt import Interrupt

    home, until = Path(arguments[0]), arguments[1]
    seconds = None if until == "none" else float(until) - time.time()
    if seconds is not None and seconds <= 0:
        return 0
    offspring.end_with_parent()
    clock = Budget(seconds)
    Work(home, read_plan(home), clock, Quiet(), resumed=True, leads=False).done(Interrupt())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
