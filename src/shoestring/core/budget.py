"""budget: what a command may spend, and what was spent."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shoestring.core.errors import UserError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?\s*", re.ASCII)


def parse_seconds(text: str | float) -> float:
    """Seconds in `60`, `"60s"`, `"5m"`, `"1h30m"`, `"0.5h"`.

    Raises UserError for anything else, and for a duration that is not above zero.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    else:
        words = str(text).strip().lower()
        pieces = list(_DURATION.finditer(words))
        # Only the last number may go without a unit: `1 2` is a slip, not three seconds.
        whole = bool(pieces) and "".join(p.group(0) for p in pieces) == words
        if not whole or not all(p.group(2) for p in pieces[:-1]):
            raise UserError(f"budget {text!r} is not a duration; write it like 60s, 5m, 1h30m")
        seconds = sum(float(p.group(1)) * _UNITS[p.group(2) or "s"] for p in pieces)
    if not 0 < seconds < float("inf"):
        raise UserError(
            f"budget {text!r} must be above zero and finite; write it like 60s, 5m, 1h30m"
        )
    return seconds


@dataclass(frozen=True)
class Cost:
    """What something spent. Parts add up; `wall_seconds` of parts that ran side by side do not,
    so a parent counts its own wall clock once and adds only the rest of its children."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0  # of this process and its finished children
    evaluation_seconds: float = 0.0  # of these, measuring quality; of a technique export too
    steps: int = 0  # optimizer steps
    examples: int = 0  # training examples seen
    peak_bytes: int = 0  # highest resident memory; the larger of two when added
    labels: int = 0  # of these examples: one of a picture, all target pieces of a sentence

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.evaluation_seconds + other.evaluation_seconds,
            self.steps + other.steps,
            self.examples + other.examples,
            max(self.peak_bytes, other.peak_bytes),
            self.labels + other.labels,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_seconds - other.wall_seconds,
            self.cpu_seconds - other.cpu_seconds,
            self.evaluation_seconds - other.evaluation_seconds,
            self.steps - other.steps,
            self.examples - other.examples,
            self.peak_bytes,
            self.labels - other.labels,
        )


@dataclass(frozen=True)
class Allowance:
    """A frozen part of a budget, fit to be sent to another process."""

    seconds: float | None = None
    steps: int | None = None


@dataclass
class Meter:
    """Filled in while a block runs; `cost` is complete once the block has ended."""

    cost: Cost = Cost()

    def count(
        self,
        *,
        steps: int = 0,
        examples: int = 0,
        labels: int = 0,
        evaluation_seconds: float = 0.0,
    ) -> None:
        self.cost += Cost(
            steps=steps, examples=examples, labels=labels, evaluation_seconds=evaluation_seconds
        )


class Budget:
    """The clock of one command, from its start to its end.

    `spent` seconds were used before this process began (an interrupted command that goes on);
    the time between is nobody's.
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        steps: int | None = None,
        epochs: float | None = None,
        spent: float = 0.0,
        started: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("steps", steps), ("epochs", epochs)):
            if value is not None and not value > 0:
                raise UserError(f"{name} must be above zero, not {value!r}")
        self.seconds = None if seconds is None else parse_seconds(seconds)
        self.steps = steps
        self.epochs = epochs
        self.spent = spent
        self._clock = clock
        self._started = (clock() if started is None else started) - spent

    def elapsed(self) -> float:
        return self._clock() - self._started

    def remaining(self) -> float:
        """Seconds left, below zero once the budget is overdrawn; infinite without a limit."""
        return float("inf") if self.seconds is None else self.seconds - self.elapsed()

    def part(self, share: float, more: float = 0.0) -> Budget:
        """A clock that ends after this share of what is left, and `more` seconds; at least one
        second. Without a limit, this one."""
        if self.seconds is None:
            return self
        spent, left = self.elapsed(), max(0.0, self.remaining())
        until = spent + max(1.0, min(left, share * left + more))
        return Budget(until, spent=spent, clock=self._clock)

    def share(self, fraction: float) -> Allowance:
        """A frozen `fraction` (0 to 1) of what is left now."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"a share is between 0 and 1, not {fraction}")
        seconds = None if self.seconds is None else max(0.0, self.remaining()) * fraction
        return Allowance(seconds, None if self.steps is None else int(self.steps * fraction))

    @contextmanager
    def meter(self) -> Iterator[Meter]:
        """Measures what the block spends."""
        meter = Meter()
        wall, cpu = self._clock(), _cpu_seconds()
        try:
            yield meter
        finally:
            meter.cost += Cost(
                wall_seconds=self._clock() - wall,
                cpu_seconds=_cpu_seconds() - cpu,
                peak_bytes=peak_bytes(),
            )


def process_age() -> float:
    """Seconds since this process was started by the system, so that a command's budget covers
    the interpreter's own start; 0 where the system does not tell (only Linux does here)."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
        return max(0.0, uptime - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


def peak_bytes() -> int:
    """Highest resident memory of this process so far; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _cpu_seconds() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system
