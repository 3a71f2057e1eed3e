"""thin: units cut out of the weights of a network, or silenced in them, by their slices alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from shoestring.core.units import Kept, Slice, UnitGroup

Tensors = Mapping[str, torch.Tensor]


def cut(weights: Tensors, groups: Sequence[UnitGroup], kept: Kept) -> dict[str, torch.Tensor]:
    """The weights without the units that are not kept. Several groups may stand along one
    dimension of a tensor; what is in no group stays."""
    lost: dict[tuple[str, int], set[int]] = {}
    factors: dict[str, float] = {}
    for group, gone in _gone(groups, kept):
        for part in group.slices:
            places = lost.setdefault((part.tensor, part.dim), set())
            places.update(part.places(group.units, gone))
            share = (group.units - len(gone)) / group.units
            factors[part.tensor] = factors.get(part.tensor, 1.0) * share**part.power
    found = {name: tensor.detach() for name, tensor in weights.items()}
    for (name, dim), places in lost.items():
        tensor = found[name]
        stay = [place for place in range(tensor.shape[dim]) if place not in places]
        found[name] = tensor.index_select(dim, torch.tensor(stay, device=tensor.device))
    for name, factor in factors.items():
        if factor != 1.0:
            found[name] = found[name] * factor
    return {name: tensor.clone() for name, tensor in found.items()}


def silenced(weights: Tensors, groups: Sequence[UnitGroup], kept: Kept) -> dict[str, torch.Tensor]:
    """The weights at their old shapes, with zero wherever a unit that is not kept is made or
    scaled: its value is zero then, a normalisation's shift included."""
    found = {name: tensor.detach().clone() for name, tensor in weights.items()}
    for group, gone in _gone(groups, kept):
        for part in group.slices:
            if part.role in ("makes", "scales"):
                places = torch.tensor(part.places(group.units, gone), dtype=torch.int64)
                found[part.tensor].index_fill_(part.dim, places, 0.0)
    return found


def unit_values(tensor: torch.Tensor, part: Slice, units: int) -> torch.Tensor:
    """(units, values): what of a tensor belongs to each unit."""
    places = torch.tensor(part.places(units, range(units)), device=tensor.device)
    chosen = tensor.detach().float().index_select(part.dim, places).movedim(part.dim, 0)
    return chosen.reshape(part.parts, units, -1).movedim(0, 1).reshape(units, -1)


def _gone(groups: Sequence[UnitGroup], kept: Kept) -> list[tuple[UnitGroup, list[int]]]:
    """Each group of which units go, with these. ValueError for a choice that is none."""
    unknown = set(kept) - {group.name for group in groups}
    if unknown:
        raise ValueError(f"there is no group {min(unknown)!r}")
    found = []
    for group in groups:
        stay = set(kept.get(group.name, range(group.units)))
        if not stay <= set(range(group.units)) or len(stay) < min(group.least, group.units):
            raise ValueError(
                f"{group.name} has {group.units} units, of which {group.least} stay: not {stay}"
            )
        if len(stay) < group.units:
            found.append((group, [unit for unit in range(group.units) if unit not in stay]))
    return found
