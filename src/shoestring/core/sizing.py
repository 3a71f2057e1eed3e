"""sizing: the networks that a task offers to a build, from small to large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    from shoestring.core.protocols import Dataset
    from shoestring.core.run import Recipe


@dataclass(frozen=True)
class Candidate:
    """A network that a build may train."""

    network: Plain  # with its kind, as a recipe has it
    parameters: int  # roughly, before it is built
    enough_epochs: float  # after which a longer fit buys less than another network beside it
    words: str = ""  # of the technique that it begins with


@dataclass(frozen=True)
class Probe:
    """A quick try with weights from elsewhere, whose features stay as they are."""

    network: Plain
    words: str  # of the technique that begins with them
    why: str


@dataclass(frozen=True)
class Gauge:
    """Rates of a fit here, measured on steps that were thrown away."""

    precision: str
    threads: int
    step_seconds: float
    epoch_steps: int
    after_seconds: float  # from the end of a fit until its bundle is graded
    pass_seconds: float  # of one pass over the whole validation split
    batch_size: int = 0  # of these steps
    look_seconds: float = 0.0  # of a look, which may take a part of it
    after_looks: float = 0.0  # as many of which stand for the passes in `after_seconds`

    @property
    def epoch_seconds(self) -> float:
        return self.step_seconds * self.epoch_steps


@dataclass(frozen=True)
class Weight:
    """What a network weighs as a bundle, before it has learned anything."""

    parameters: int
    size_bytes: int  # in float32
    small_bytes: int  # in int8
    latency_ms: float | None = None  # of one example, in float32; None: not told before a fit


class Sizing(Protocol):
    """What a task says of the sizes of its networks."""

    def candidates(
        self, recipe: Recipe, dataset: Dataset, seconds: float | None
    ) -> Sequence[Candidate]:
        """From small to large, those worth a fit of so many seconds on these data; only the one
        that the recipe names where it names one whole. No torch."""

    def rounded(self, options: Plain) -> Plain | None:
        """The options with which a fit's own bundle has its weights in whole numbers; None where
        that takes `quantize` after the fit, or where these options say otherwise."""

    def probe(self, recipe: Recipe, dataset: Dataset) -> Probe | None:
        """What to try on data like these with weights that are installed; None for nothing."""
