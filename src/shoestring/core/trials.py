"""trials: what a search for better values of a recipe tried, and what it came to.

A run that was tuned holds it as `trials.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shoestring.core.receipt import Plain

Ending = Literal["finished", "stopped early", "failed", "cut off"]
TRIALS_VERSION = 1


@dataclass(frozen=True)
class TrialLine:
    """One trial."""

    number: int
    ending: Ending
    values: Plain = field(default_factory=dict)  # by the names of the ranges
    quality: float | None = None  # of the longest fit that it had
    loss: float | None = None
    steps: int = 0  # of that fit
    part: float = 0.0  # of a whole trial, that it had
    seconds: float = 0.0
    reason: str = ""  # why it failed or was cut off
    origin: str = ""  # "defaults", or the run that its values come from; "": drawn


@dataclass(frozen=True)
class Trials:
    """A search and its trials, in the order in which they began."""

    metric: str
    examples: int  # of the validation split, that they were judged on
    asked: int  # trials
    lines: tuple[TrialLine, ...] = ()
    best: int | None = None  # number of the one whose values were taken
    importance: Plain = field(default_factory=dict)  # shares by range, the largest first
    importance_of: str = ""  # what the shares are of
    ranges: Plain = field(default_factory=dict)  # in words
    warm_starts: tuple[str, ...] = ()  # runs whose values were tried first
    processes: int = 1
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    version: int = TRIALS_VERSION


def counted_endings(lines: Sequence[TrialLine]) -> dict[Ending, int]:
    """How many trials ended in each way."""
    found: dict[Ending, int] = {"finished": 0, "stopped early": 0, "cut off": 0, "failed": 0}
    for line in lines:
        found[line.ending] += 1
    return found
