"""thinning: a network on its way to fewer units: its size, its quality, and what left it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from shoestring import plugins
from shoestring.core.budget import Cost
from shoestring.core.protocols import Quality
from shoestring.core.run import Run
from shoestring.engine.shrink import allot
from shoestring.engine.shrink.allot import Size

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Thin:
    """A network on its way to fewer units."""

    run: Run
    weights: Weights
    cost: Cost  # of the fits so far
    said: str = ""

    def network(self) -> Any:
        return plugins.task(self.run.task).network(str((self.run.architecture or {})["kind"]))

    def model(self) -> torch.nn.Module:
        model: torch.nn.Module = self.network().build(self.run.architecture)
        model.load_state_dict(dict(self.weights))
        return model.eval()

    def size_of(self, of: str) -> Size:
        """What `ratio` is a share of: units, parameters or multiply-accumulates."""
        network, architecture = self.network(), self.run.architecture or {}
        with torch.device("meta"):  # shapes alone
            bare = network.build(architecture)
        shapes = {name: tuple(weight.shape) for name, weight in bare.named_parameters()}
        return allot.size_in(of, network, architecture, network.groups(architecture), shapes)

    def quality(self, feed: Any) -> Quality:
        with torch.no_grad():
            return plugins.task(self.run.task).quality(self.network(), self.model(), feed)


def told(before: Thin, after: Thin) -> str:
    """What left, for the receipt."""
    groups = [one.network().groups(one.run.architecture) for one in (before, after)]
    changed = [
        f"{old.name} {old.units} to {new.units}"
        for old, new in zip(*groups, strict=True)
        if old.units != new.units
    ]
    sizes = {of: [one.size_of(of)({}) for one in (before, after)] for of in ("parameters", "macs")}
    figures = [f"{old:,.0f} to {new:,.0f} {of}" for of, (old, new) in sizes.items()]
    return "; ".join(filter(None, (", ".join(figures), ", ".join(changed), after.said)))
