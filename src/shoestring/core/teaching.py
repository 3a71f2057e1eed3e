"""teaching: what a task offers to a student that learns from the answers of another model.

Shapes: B examples, N labels, C classes or pieces, K the likeliest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from shoestring.core.budget import Budget
from shoestring.core.receipt import Finding, Plain
from shoestring.core.run import Run

if TYPE_CHECKING:
    import torch

    from shoestring.core.protocols import Answering, Batch, Feed, Predictor


class Opinion(NamedTuple):
    """What a teacher thinks of the labels of a batch."""

    logs_NK: torch.Tensor  # logarithms of probabilities, up to a constant for each label
    classes_NK: torch.Tensor | None = None  # which classes they are of; None: all, in order


Tutor = Callable[["Batch"], Opinion]  # of a batch as the network reads it


class Placed(Protocol):
    """What a feed says of its labels, so that what was said of each can be looked up."""

    @property
    def label_count(self) -> int:
        """Of all its examples, each unchanged."""

    def places(self, batch: Batch) -> torch.Tensor:
        """(N,) which of them those of an unchanged batch are, in the order of logits."""


@dataclass(frozen=True)
class Lesson:
    """What is asked of a teacher before a fit: answers that are learned from as if they stood in
    the data."""

    teacher: str  # its words, for messages
    opened: Answering | None = None  # a run's bundle, or a bundle
    file: Path | None = None  # outputs that somebody wrote for the training inputs
    train: bool = True  # whether the training inputs are answered
    unlabelled: str = ""  # more inputs, whose answers nobody knows
    beam: int = 1  # hypotheses of a search, where there is one
    pick: str = "best"  # of several answers to an input; "closest" to the one in the data
    key: str = ""  # of what came of it when the recipe was recorded


@dataclass(frozen=True)
class Learned:
    """What came of a lesson."""

    key: str  # of the answers in the cache; "": there are none
    findings: tuple[Finding, ...] = ()


class Teaching(Protocol):
    """What a task offers to a student of another model."""

    presets: Mapping[str, str]  # small networks by their names, as words of a network

    def unlike(self, facts: Plain, files: Mapping[str, bytes], run: Run) -> str:
        """Why a teacher of these facts and files cannot rate every label of the run's data, though
        it can answer whole inputs; "" where it can. UserError where it knows other classes or
        languages, and so can teach nothing."""

    def taught(
        self,
        run: Run,
        lesson: Lesson,
        assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
        budget: Budget,
    ) -> Learned:
        """Asks the teacher, and keeps its answers in the cache. `assembled` makes a predictor of a
        manifest and the files of a bundle. Raises DataError for outputs that are not those of the
        training inputs."""

    def remembers(self, key: str) -> bool:
        """Whether the answers of a key are in the cache."""

    def learning(self, feed: Feed, key: str, alone: bool) -> Feed:
        """The training feed with the answers of a key behind its examples, or in their place."""

    def tutor(
        self, run: Run, opened: Answering | None, key: str
    ) -> Callable[[Batch], torch.Tensor] | None:
        """(N, C) logarithms of the probabilities that a bundle, or the outputs of a key, give the
        labels of a batch; None where these say no probabilities. Imports torch."""

    def seen(self, inputs: Any, facts: Plain, theirs: Plain) -> Any:
        """Inputs of a network of these facts as one of other facts reads them."""
