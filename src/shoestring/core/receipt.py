"""receipt: the lines that techniques, data checks and openings of the test split leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shoestring.core.budget import Cost

# Nested str, int, float, bool, None, list and dict: fit for JSON and TOML.
Plain = Mapping[str, Any]

Verdict = Literal["better", "worse", "within noise", "not measured"]
Status = Literal["applied", "skipped", "failed"]


@dataclass(frozen=True)
class Interval:
    """A number and the interval that holds it with the given confidence."""

    value: float
    low: float
    high: float
    confidence: float = 0.95
    method: str = ""  # for example "Wilson" or "paired bootstrap over examples, one seed each"


@dataclass(frozen=True)
class Scores:
    """What was measured of a model, on the file that ships unless `where` says otherwise."""

    quality: float | None = None  # the task's main metric; higher is better
    metric: str = ""
    interval: Interval | None = None
    loss: float | None = None
    split: str = ""  # which part of the data: validation, or test once it was opened
    examples: int = 0
    parameters: int | None = None
    macs: int | None = None  # multiply-accumulates for one example at the model's input size
    size_bytes: int | None = None  # every file that is needed to predict
    model_bytes: int | None = None  # the graphs and their weights alone
    latency_ms: Plain = field(default_factory=dict)  # {"model": {"median":, "p95":}, "file": {...}}
    peak_bytes: int | None = None  # of memory, of a process that opened the bundle and was timed
    details: Plain = field(default_factory=dict)  # the task's own: classes, calibration, ...
    signature: str = ""  # what is needed to reproduce the figures
    where: str = "bundle"


@dataclass(frozen=True)
class Finding:
    """Something that was seen in the data, counted. Nothing is dropped without one."""

    kind: str  # for example "broken", "duplicate", "leak", "imbalance", "split"
    count: int
    message: str  # one sentence for a person
    examples: tuple[str, ...] = ()  # the first few places, file names or lines
    dropped: int = 0  # how many examples were left out because of it


@dataclass(frozen=True)
class Receipt:
    """One line: what was done, what it cost, and what it bought where that could be measured."""

    technique: str  # its command-line words, or "data", "fit", "export", "test opened"
    options: Plain = field(default_factory=dict)  # every option, defaults written out
    status: Status = "applied"
    before: Scores | None = None
    after: Scores | None = None
    gain: Interval | None = None
    verdict: Verdict = "not measured"
    reason: str = ""  # why it was skipped, why it failed, or why no gain was measured
    cost: Cost = Cost()
    signature: str = ""
    at: str = ""  # UTC time at which the line was written
