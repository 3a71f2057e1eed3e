"""units: what of a network can be taken out whole, and where its weights stand.

A unit is a channel, a hidden unit, an attention head: a number that a layer makes and others read.
Where all of its weights are known, it can be cut out of any state dict by its indices alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from shoestring.core.receipt import Plain

Kept = Mapping[str, Sequence[int]]  # by the name of a group: the units that stay, rising
# What a slice of weights is to its units: it makes their values, reads them, scales them (a
# normalisation's weight), or only follows (running statistics).
Role = Literal["makes", "reads", "scales", "follows"]


@dataclass(frozen=True)
class Slice:
    """Where the units of a group stand along one dimension of a tensor of the state dict: `parts`
    times one after the other, from `begin` on, each time every unit with `block` neighbours."""

    tensor: str
    dim: int
    role: Role
    block: int = 1  # places of a unit that lie together: pixels of a channel, numbers of a head
    parts: int = 1  # how often the units are listed: 4 gates; query, key and value
    begin: int = 0  # where they begin, if others stand before them
    # Values are multiplied by (units kept / units) to this power: what keeps a network's answers
    # the same where a size stands in its arithmetic, as that of a head does in attention.
    power: float = 0.0

    def places(self, units: int, chosen: Sequence[int]) -> list[int]:
        """The indices of the chosen ones of `units` units, rising where these are."""
        return [
            self.begin + (part * units + unit) * self.block + place
            for part in range(self.parts)
            for unit in chosen
            for place in range(self.block)
        ]


@dataclass(frozen=True)
class UnitGroup:
    """Units that are chosen among each other: removing one removes all of its slices. With the
    weights of role "makes" and "scales" at zero, a unit's value is zero for every input."""

    name: str
    units: int
    slices: tuple[Slice, ...]
    least: int = 2  # that always stay
    alike: str = ""  # groups of the same word here keep equally many; "": its own

    @property
    def family(self) -> str:
        return self.alike or self.name


class Prunable(Protocol):
    """What a network says of its units. All slices of an architecture stand for disjoint weights,
    or for the same weights along other dimensions or from other places on."""

    def groups(self, architecture: Plain) -> Sequence[UnitGroup]:
        """From input to output; none where nothing can be taken out. The units that come in and
        the answers are in no group."""

    def thinned(self, architecture: Plain, kept: Kept) -> Plain:
        """The architecture with these units alone in the groups that are named, and the others
        as they are. It is what `cut` weights fit into."""


def prefixed(groups: Sequence[UnitGroup], begin: str, name: str) -> list[UnitGroup]:
    """The groups of a network inside another: their tensors are called `begin` + tensor there,
    and the groups `name` + group."""
    return [
        replace(
            group,
            name=name + group.name,
            alike=name + group.alike if group.alike else "",
            slices=tuple(replace(s, tensor=begin + s.tensor) for s in group.slices),
        )
        for group in groups
    ]


def counts(groups: Sequence[UnitGroup], kept: Kept) -> dict[str, int]:
    """How many units of each group stay."""
    return {g.name: len(kept[g.name]) if g.name in kept else g.units for g in groups}
