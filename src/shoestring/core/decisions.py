"""decisions: what a build plans to do, and what it decided on the way and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shoestring.core.limits import Limits
from shoestring.core.receipt import Plain


@dataclass(frozen=True)
class Decision:
    """One choice, as a person reads it."""

    what: str  # was to be decided: "network", "first fit", "ship"
    chosen: str
    why: str
    expected: str = ""  # before it was done
    got: str = ""  # once it was
    at_seconds: float = 0.0  # of the budget, when it was taken


@dataclass(frozen=True)
class Step:
    """One thing that a build does: a fit, a technique on what earlier steps made, or fits of folds
    that are held out in turn."""

    name: str  # "first fit", "main fit", "quantize"
    kind: Literal["fit", "technique", "folds"]
    seconds: float  # that it may take, with what follows a fit until its bundle is graded
    share: float  # of the whole budget
    why: str
    words: str = ""  # of the technique, or those that are added to the fit's recipe, by spaces
    network: Plain = field(default_factory=dict)  # of a fit
    seed: int = 0  # of a fit
    on: tuple[str, ...] = ()  # names of the steps whose runs a technique takes
    gain: str = ""  # what is expected of it


@dataclass(frozen=True)
class BuildPlan:
    """What a build intends, before it does any of it."""

    task: str
    source: str
    seconds: float  # asked for
    limits: Limits
    steps: tuple[Step, ...]
    decisions: tuple[Decision, ...]
    spent_seconds: float  # until the plan was made: start, data, throw-away steps
    reserved_seconds: float  # for the test split and the end
