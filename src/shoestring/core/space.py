"""space: what a search may vary in a recipe, and between which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Protocol

from shoestring.core.errors import UserError

if TYPE_CHECKING:
    from shoestring.core.protocols import Dataset
    from shoestring.core.run import Recipe

DIGITS = 3  # significant ones of a value that is drawn: more say nothing, and read badly


@dataclass(frozen=True)
class Range:
    """One thing that is varied: a field of the recipe (`learning_rate`), an option of its network
    (`network.width`) or of a technique (`augment.rotation`); or, where it `scales` some of these,
    one factor on all of them under a name of its own. UserError for a range that holds nothing.

    Choices that are numbers are searched as positions in rising order, others without an order.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False  # drawn evenly in its logarithm
    whole: bool = False
    choices: tuple[Any, ...] = ()
    scales: Mapping[str, Any] = field(default_factory=dict)  # by path: what 1.0 stands for

    def __post_init__(self) -> None:
        if self.choices:
            self._check_choices()
        else:
            self._check_bounds()
        for path, usual in self.scales.items():
            if not isinstance(usual, (int, float)) or isinstance(usual, bool) or not usual:
                raise UserError(
                    f"{self.name}: scales names what 1.0 stands for, a number that is not 0; of "
                    f"{path} it is {usual!r}"
                )
        if self.scales and self.choices and not self.ordered:
            raise UserError(
                f"{self.name} scales other fields, so its choices are numbers, not "
                f"{list(self.choices)}"
            )

    def _check_choices(self) -> None:
        bounds = (self.low, self.high)
        if self.log or bounds != (None, None):
            raise UserError(f"{self.name} has choices, so it takes no low, high or log")
        if len(self.choices) < 2:
            raise UserError(
                f"{self.name} has one choice, {self.choices[0]!r}: there is nothing to search; "
                "name two or more, or leave it out"
            )
        for choice in self.choices:
            if not isinstance(choice, (int, float, str)):  # a truth is an int
                raise UserError(f"{self.name}: choices are numbers, words or truths, not {choice}")
            if isinstance(choice, (int, float)) and not _finite(choice):
                raise UserError(f"{self.name}: a choice is a finite number, not {str(choice)[:9]}")
        if len(set(map(repr, self.choices))) < len(self.choices):
            raise UserError(f"{self.name} names a choice twice: {list(self.choices)}")
        if self.ordered and list(self.choices) != sorted(self.choices):
            object.__setattr__(self, "choices", tuple(sorted(self.choices)))

    def _check_bounds(self) -> None:
        if self.low is None or self.high is None:
            raise UserError(f"{self.name} needs low and high, or choices")
        if not (isfinite(self.low) and isfinite(self.high)):
            raise UserError(f"{self.name}: low and high are finite, not {self.low}, {self.high}")
        if not self.low < self.high:
            raise UserError(
                f"{self.name} has an empty range: low is {self.low} and high is {self.high}; low "
                "is below high"
            )
        if self.log and self.low <= 0:
            raise UserError(
                f"{self.name}: the logarithm of {self.low:g} is not a number; where log = true, "
                "low is above 0"
            )

    @property
    def ordered(self) -> bool:
        """Whether the choices are numbers."""
        return all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in self.choices)

    @property
    def paths(self) -> Mapping[str, float]:
        """Where the value goes, each with what it is multiplied by there."""
        return self.scales or {self.name: 1.0}

    def value(self, drawn: Any) -> Any:
        """What a number that was drawn stands for."""
        if self.choices:
            return self.choices[drawn] if self.ordered else drawn
        return int(drawn) if self.whole else float(f"{drawn:.{DIGITS}g}")

    def drawn(self, value: Any) -> Any:
        """The number nearest to a value that is drawn for it; None where none stands for it."""
        if self.choices:
            if not self.ordered:
                return value if value in self.choices else None
            if not isinstance(value, (int, float)):
                return None
            distances = [_distance(value, choice) for choice in self.choices]
            return min(range(len(distances)), key=distances.__getitem__)
        assert self.low is not None
        assert self.high is not None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.whole else float(inside)

    def __str__(self) -> str:
        if self.choices:
            return " or ".join(map(str, self.choices))
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.log else "")


class Ranging(Protocol):
    """What a task says of what is worth searching."""

    def space(self, recipe: Recipe, dataset: Dataset) -> Sequence[Range]:
        """The usual ranges around a complete recipe: learning rate, batch size, sizes of the
        network, dropout, weight decay, strength of augmentation; those that it has."""


def _finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # of a whole number
        return False


def _distance(a: float, b: float) -> float:
    return abs(log(a / b)) if a > 0 and b > 0 else abs(a - b)
