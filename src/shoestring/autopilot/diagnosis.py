"""diagnosis: the values that `diagnose` finds, as a person and a program read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.core.receipt import Finding, Interval, Plain

State = Literal["overfitting", "underfitting", "balanced", "solved"]


@dataclass(frozen=True)
class Advice:
    """What to do first, and why."""

    words: str  # of the command line: "--with augment", or a sentence
    why: str


@dataclass(frozen=True)
class Suspect:
    """An example whose label is likely wrong."""

    name: str
    split: str
    label: str
    likely: str
    margin: float  # probability of the likely label less that of the given one


@dataclass(frozen=True)
class Labels:
    """What models that had not seen an example made of its label."""

    checked: int
    count: int  # likely wrong
    suspects: tuple[Suspect, ...]  # the clearest
    quality: float  # of those models, on the examples that they had not seen
    folds: int
    steps: int  # of each fit
    sentence: str
    method: str = "confident learning, out of fold (Northcutt et al. 2021)"


@dataclass(frozen=True)
class Measured:
    """A model's answers to a part of a split."""

    split: str
    examples: int
    quality: float
    loss: float | None


@dataclass(frozen=True)
class Fitness:
    """Whether a run learnt too little, or learnt its examples by heart."""

    state: State
    sentence: str
    training: Measured
    validation: Measured
    gap: Interval  # quality on training examples less that on validation examples


@dataclass(frozen=True)
class SharePoint:
    """Fits on one share of the training split."""

    examples: int
    qualities: tuple[float, ...]  # one a fit
    loss: float  # their mean
    epochs: float


@dataclass(frozen=True)
class MoreData:
    """What growing shares of the training split say of more of it; the figures are None where they
    cannot say, and the sentence has the reason."""

    points: tuple[SharePoint, ...]
    steps: int  # of each fit: the same for all shares
    graded: int  # validation examples
    exponent: float | None  # of the part of the error that falls
    doubled: Interval | None  # the mean quality of fits on twice the examples
    gain: Interval | None  # in quality, expected, by twice the examples
    sentence: str


@dataclass(frozen=True)
class Diagnosis:
    """All that was found out of a source or a run. A part that was not looked at is None, and
    `notes` says why."""

    path: str
    kind: Literal["data", "run"]
    task: str
    metric: str
    counts: Plain  # training and validation examples
    findings: tuple[Finding, ...] = ()
    labels: Labels | None = None
    fitness: Fitness | None = None
    curve: tuple[Plain, ...] = ()
    more_data: MoreData | None = None
    advice: tuple[Advice, ...] = ()  # the first is the one to try first
    notes: tuple[str, ...] = ()
    asked_seconds: float | None = None
    used_seconds: float = 0.0
