"""exhibits: what a task shows of a model's answers, as plain values that any page can draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    from shoestring.core.protocols import Examples, Outcomes, Predictor

Cell = str | int | float  # a float is shown as a figure of its column's name: a share in percent


@dataclass(frozen=True)
class Table:
    """Rows of values under the names of their columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """Counts, true labels down and answers across."""

    title: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    note: str = ""


@dataclass(frozen=True)
class Line:
    """Points from left to right, joined by a line, or bars from zero."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    dashed: bool = False
    bars: bool = False
    marked: bool = True  # whether each point is
    joined: bool = True  # by a line


@dataclass(frozen=True)
class Chart:
    """Lines over an axis. `x_labels` stand below the places of the same number; without them the
    axis gets round numbers."""

    title: str
    x_title: str
    y_title: str
    lines: Sequence[Line]
    x_labels: Sequence[tuple[float, str]] = ()
    y_share: bool = False  # whether y is a share of a whole, shown in percent
    x_from_zero: bool = False
    y_from_zero: bool = True
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG, what stands below it, and what it says to whoever cannot see it."""

    png: bytes
    caption: str
    description: str
    wide: bool = False  # a drawing to be read, not a thumbnail


@dataclass(frozen=True)
class Gallery:
    title: str
    pictures: Sequence[Picture]
    note: str = ""


@dataclass(frozen=True)
class Passage:
    """Texts that belong together, each behind a word that says what it is: ("source", "..."), and
    a picture of them where there is one."""

    texts: Sequence[tuple[str, str]]
    picture: Picture | None = None


@dataclass(frozen=True)
class Passages:
    title: str
    passages: Sequence[Passage]
    note: str = ""


Exhibit = Table | Matrix | Chart | Gallery | Passages


class Showing(Protocol):
    """What a task shows of its models beside their scores."""

    def draw(self, predictor: Predictor, examples: Examples, folder: Path) -> None:
        """Pictures of what a model does, as PNG files in its run's folder; there may be none."""

    def exhibits(
        self,
        outcomes: Outcomes,
        facts: Plain,
        examples: Examples | None,
        predictor: Predictor | None,
    ) -> Sequence[Exhibit]:
        """What a receipt's page shows of the answers to one split, the most telling first. Less
        where the examples are not at hand any more, or the bundle cannot be opened."""
