"""allot: how many units each group of a network keeps, and which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from shoestring.core.protocols import Network
from shoestring.core.receipt import Plain
from shoestring.core.units import UnitGroup

MULTIPLES = 4  # a group is rounded to multiples where it has at least so many of them
PORTIONS = 50  # of a group that is not, one of which is taken out at a time
HALVINGS = 40  # of the share that all groups lose

Counts = dict[str, int]  # by the name of a family: units of each of its groups
Size = Callable[[Mapping[str, int]], float]  # of a network whose groups have so many units


@dataclass(frozen=True)
class Family:
    """Groups that keep equally many units; mostly one."""

    name: str
    groups: tuple[UnitGroup, ...]
    scores: tuple[float, ...]  # the lowest first; the k-th of each group together

    @property
    def units(self) -> int:
        return self.groups[0].units

    @property
    def least(self) -> int:
        return max(min(group.least, group.units) for group in self.groups)

    def rounded(self, wanted: float, multiple: int) -> int:
        """A number of units near to what is wanted, that may stay."""
        if multiple > 1 and self.units >= MULTIPLES * multiple:
            wanted = max(multiple, multiple * round(wanted / multiple))
        return min(self.units, max(self.least, round(wanted)))


def families(
    groups: Sequence[UnitGroup], scores: Mapping[str, Sequence[float]]
) -> tuple[Family, ...]:
    """Groups that keep equally many, in order. Those of a family are cut at the same rank."""
    found: dict[str, list[UnitGroup]] = {}
    for group in groups:
        found.setdefault(group.family, []).append(group)
    return tuple(
        Family(
            name,
            tuple(members),
            tuple(
                sum(ranked)
                for ranked in zip(*(sorted(scores[g.name]) for g in members), strict=True)
            ),
        )
        for name, members in found.items()
    )


def size_in(
    of: str,
    network: Network,
    architecture: Plain,
    groups: Sequence[UnitGroup],
    shapes: Mapping[str, Sequence[int]],
) -> Size:
    """What a network with so many units in each family comes to: `units`, `parameters` (`shapes`
    are those of its own) or `macs`."""

    def units(counts: Mapping[str, int]) -> float:
        return sum(counts.get(group.family, group.units) for group in groups)

    def macs(counts: Mapping[str, int]) -> float:
        kept = {group.name: range(counts.get(group.family, group.units)) for group in groups}
        return network.macs(network.thinned(architecture, kept))

    def parameters(counts: Mapping[str, int]) -> float:
        sides = {name: list(shape) for name, shape in shapes.items()}
        seen = set()
        for group in groups:
            gone = group.units - counts.get(group.family, group.units)
            for part in group.slices:
                place = (group.name, part.tensor, part.dim, part.begin)
                if part.tensor in sides and place not in seen:
                    seen.add(place)
                    sides[part.tensor][part.dim] -= gone * part.block * part.parts
        return sum(prod(shape) for shape in sides.values())

    return {"units": units, "parameters": parameters, "macs": macs}[of]


def even(found: Sequence[Family], size: Size, goal: float, multiple: int) -> Counts:
    """Every family loses the same share, as little as reaches the goal."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if size(_without(found, middle, multiple)) > goal:
            low = middle
        else:
            high = middle
    return _without(found, high, multiple)


def _without(found: Sequence[Family], share: float, multiple: int) -> Counts:
    return {one.name: one.rounded(one.units * (1 - share), multiple) for one in found}


def worst_first(found: Sequence[Family], size: Size, goal: float, multiple: int) -> Counts:
    """Units leave a few at a time, those first that lose least for what they save, until the goal
    is reached or only the least of each are there."""
    counts: Counts = {one.name: one.units for one in found}
    whole = size(counts)
    while whole > goal:
        best: tuple[float, str, int, float] | None = None
        for one in found:
            now = counts[one.name]
            after = _one_fewer(one, now, multiple)
            if after == now:
                continue
            smaller = size({**counts, one.name: after})
            # `now - after` of the lowest of those that are still there.
            lost = sum(one.scores[one.units - now : one.units - after])
            worth = lost / max(whole - smaller, 1e-9)
            if best is None or worth < best[0]:
                best = (worth, one.name, after, smaller)
        if best is None:
            break
        _, name, counts[name], whole = best
    return counts


def _one_fewer(family: Family, now: int, multiple: int) -> int:
    """The next smaller number of units that a family may have."""
    if multiple > 1 and family.units >= MULTIPLES * multiple:
        return max(family.least, multiple, (now - 1) // multiple * multiple)
    return max(family.least, now - max(1, family.units // PORTIONS))


def best(
    found: Sequence[Family], counts: Mapping[str, int], scores: Mapping[str, Sequence[float]]
) -> dict[str, list[int]]:
    """The units that stay: so many of each group, those of the highest scores, in their order."""
    kept = {}
    for family in found:
        for group in family.groups:
            worth = scores[group.name]
            order = sorted(range(group.units), key=worth.__getitem__, reverse=True)
            kept[group.name] = sorted(order[: counts[family.name]])
    return kept
