"""knowledge: all that a plan of a build is made from: what was measured, and what steps came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from shoestring.core.decisions import Step
from shoestring.core.limits import Limits
from shoestring.core.receipt import Plain
from shoestring.core.sizing import Probe

FOLDS = "cross-validation"
FIRST, PROBE, MAIN, JOIN = "first fit", "probe", "main fit", "ensemble"
TEACHER, DISTILLED = "teacher", "distill"
QUANTIZE, PRUNE = "quantize", "prune"
# Deciding examples, all right: so many say that there is nothing left to gain (at most 1% is
# wrong, by the rule of three), and so many that it will not take long.
SURE, EASY = 300, 50
FEWEST_MEMBERS = 3  # of an ensemble: two are hardly better than one that learned twice as long
NO_TIME = "there was no time left for it"


@dataclass(frozen=True)
class Result:
    """What a step came to."""

    step: Step
    seconds: float
    quality: float | None = None  # on the examples that decisions are made on
    loss: float | None = None
    deciding: int = 0  # examples that it was seen on
    size_bytes: int = 0
    latency_ms: float | None = None
    fit_seconds: float = 0.0  # of training alone
    grade_seconds: float = 0.0  # of the process that graded its bundle
    epochs: float = 0.0
    ships: bool = False  # whether it keeps to the limits of size and latency
    failure: str = ""

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def bundled(self) -> bool:
        """Whether it is of a kind that makes a bundle."""
        return self.step.kind != "folds"


@dataclass(frozen=True)
class Known:
    """All that a plan is made from."""

    seconds: float  # left for steps
    total: float  # asked for
    limits: Limits
    network: Plain  # that was chosen
    words: str  # of the technique that it begins with
    size_bytes: int  # of its bundle as predicted, in float32
    small_bytes: int  # in int8
    epoch_seconds: float
    after_seconds: float  # from the end of a fit until its bundle is graded
    enough_epochs: float
    metric: str = "accuracy"
    perfect: float = 1.0
    learning_power: float = 0.3
    seed: int = 0
    probe: Probe | None = None
    finishers: tuple[str, ...] = ()  # techniques on finished runs that a person asked for
    portions: tuple[float, ...] = ()  # of the seconds, of each, beside the 1 of a fit
    done: tuple[Result, ...] = ()
    larger: Plain = field(default_factory=dict)  # the usual network, where limits forbid it
    larger_words: str = ""
    folds: int = 0  # that tiny data can be dealt into; 0: not tiny, or they cannot
    without: frozenset[str] = field(default_factory=frozenset)  # names that were asked to stay out

    def result(self, name: str) -> Result | None:
        return next((one for one in self.done if one.name == name), None)

    @property
    def easy(self) -> bool:
        """Whether the first fit made no fault on examples that are enough to tell."""
        first = self.result(FIRST)
        if first is None or first.quality is None:
            return False
        return first.deciding >= EASY and first.quality >= self.perfect

    @property
    def fits(self) -> tuple[Result, ...]:
        """Members of an ensemble to be: fits of the chosen network that went well."""
        return tuple(r for r in self.done if _is_member(r.name) and not r.failure)

    @property
    def rounds(self) -> bool:
        """Whether the bundle has to be quantized to keep to a limit of bytes."""
        most = self.limits.size_bytes
        first = self.result(FIRST)
        size = first.size_bytes if first is not None and first.size_bytes else self.size_bytes
        return most is not None and size > most and QUANTIZE not in self.without

    def per_member(self) -> int:
        return self.small_bytes if self.rounds else self.size_bytes


def member_name(number: int) -> str:
    return f"member {number}"


def quantized_name(on: str) -> str:
    return QUANTIZE if on != FIRST else f"{QUANTIZE} the {FIRST}"


def _is_member(name: str) -> bool:
    return name == MAIN or name.startswith("member ")
