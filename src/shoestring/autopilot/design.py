"""design: which recipes an ablation trains, and which of them each of its statements compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from shoestring.core.errors import UserError
from shoestring.core.run import name_of

MOST_FACTORIAL = 5  # techniques of which all combinations are trained: 32 recipes

Kind = Literal["alone", "together", "last", "average", "interaction"]
# What a statement of each kind compares; those of one kind are a family of statements.
TITLES: dict[Kind, str] = {
    "alone": "One at a time: the recipe with it, against the recipe without any of them",
    "together": "All together, against the recipe without any of them",
    "last": "Left out: all of them, against all but this one",
    "average": "On average over all combinations of the others",
    "interaction": "Pairs: what one gains beside the other, less what it gains without it",
}


@dataclass(frozen=True)
class Cell:
    """One recipe: the base with some of the techniques."""

    name: str  # of its folder
    techniques: tuple[str, ...]  # in command-line words

    def __str__(self) -> str:
        return " + ".join(self.techniques) or "none of them"


@dataclass(frozen=True)
class Contrast:
    """What one statement compares: cells by name, each with its weight in the difference."""

    kind: Kind
    technique: str  # in words; two of them joined by " and "
    weights: tuple[tuple[str, float], ...]

    @property
    def pair(self) -> tuple[str, str] | None:
        """The names of the cells before and after, where there are just two."""
        return (self.weights[0][0], self.weights[1][0]) if len(self.weights) == 2 else None


@dataclass(frozen=True)
class Design:
    """The recipes of an ablation. Techniques of one name cannot stand in one recipe, so that with
    such each is only tried alone."""

    techniques: tuple[str, ...]  # in command-line words, all different
    factorial: bool = False  # all combinations

    def __post_init__(self) -> None:
        if not self.techniques:
            raise UserError("say what to ablate: --with augment --with early_stop")
        for words, times in Counter(self.techniques).items():
            if times > 1:
                raise UserError(f"{words} was given {times} times; name each technique once")
        if self.factorial and self.repeated:
            raise UserError(
                f"{' and '.join(self.repeated)} cannot stand in one recipe, which --factorial "
                "asks for; take one of them, or leave --factorial out"
            )
        if self.factorial and len(self.techniques) > MOST_FACTORIAL:
            raise UserError(
                f"--factorial trains all combinations of at most {MOST_FACTORIAL} techniques "
                f"({2**MOST_FACTORIAL} recipes), and {len(self.techniques)} were named; leave "
                "some out, or leave --factorial out"
            )

    @property
    def repeated(self) -> tuple[str, ...]:
        """Techniques that share their name with another."""
        names = Counter(map(name_of, self.techniques))
        return tuple(words for words in self.techniques if names[name_of(words)] > 1)

    @property
    def names(self) -> tuple[str, ...]:
        """A short name of each technique, all different."""
        if not self.repeated:
            return tuple(map(name_of, self.techniques))
        return tuple(f"{name_of(words)}-{i + 1}" for i, words in enumerate(self.techniques))

    def subsets(self) -> list[tuple[int, ...]]:
        """The techniques of each recipe, by their places; the recipe without any stands first."""
        count = len(self.techniques)
        every = range(count)
        if self.factorial:
            return [chosen for size in range(count + 1) for chosen in combinations(every, size)]
        found: list[tuple[int, ...]] = [(), *((i,) for i in every)]
        if count > 1 and not self.repeated:
            found += combinations(every, count - 1) if count > 2 else []
            found.append(tuple(every))
        return found

    def cell(self, chosen: Sequence[int]) -> Cell:
        names, count = self.names, len(self.techniques)
        if not chosen:
            name = "none"
        elif count > 1 and len(chosen) == count:
            name = "all"
        elif count > 2 and len(chosen) == count - 1:
            name = f"all-but-{names[(set(range(count)) - set(chosen)).pop()]}"
        else:
            name = "+".join(names[i] for i in chosen)
        return Cell(name, tuple(self.techniques[i] for i in chosen))

    def cells(self) -> list[Cell]:
        return [self.cell(chosen) for chosen in self.subsets()]

    def contrasts(self) -> list[Contrast]:
        """Every statement, family by family."""
        count, every = len(self.techniques), tuple(range(len(self.techniques)))
        found = [self._pair("alone", self.techniques[i], (), (i,)) for i in every]
        if count > 1 and not self.repeated:
            found.append(self._pair("together", " + ".join(self.techniques), (), every))
        if count > 2 and not self.repeated:
            for i in every:
                rest = tuple(j for j in every if j != i)
                found.append(self._pair("last", self.techniques[i], rest, every))
        if self.factorial and count > 1:
            found += [self._crossed("average", (i,)) for i in every]
            found += [self._crossed("interaction", pair) for pair in combinations(every, 2)]
        return found

    def _pair(
        self, kind: Kind, technique: str, before: Sequence[int], after: Sequence[int]
    ) -> Contrast:
        weights = ((self.cell(before).name, -1.0), (self.cell(after).name, 1.0))
        return Contrast(kind, technique, weights)

    def _crossed(self, kind: Kind, about: Sequence[int]) -> Contrast:
        """Over all recipes: a technique's sign is that of whether it is there."""
        scale = 2.0 ** (len(about) - len(self.techniques))
        weights = []
        for chosen in self.subsets():
            absent = sum(i not in chosen for i in about)
            weights.append((self.cell(chosen).name, scale * (-1.0) ** absent))
        return Contrast(kind, " and ".join(self.techniques[i] for i in about), tuple(weights))
