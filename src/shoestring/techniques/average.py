"""average: keeps an average of the weights over many steps and ships that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.protocols import State
from shoestring.core.run import Run
from shoestring.core.techniques import Hook

if TYPE_CHECKING:
    import torch

KEPT = "average."  # before the names of averaged weights
CLIMB = 0.2  # share of the fit in which the rate of kind=swa climbs, as that of one_cycle does


@dataclass(frozen=True)
class Average(Hook):
    """Judges and ships an average of the weights in place of the last ones: a moving one over the
    whole fit (kind=ema), or the plain mean over its last part, in which the rate stays where it
    is (kind=swa: the rate climbs, falls to a share of its peak, and stays there).

    Helps while the learning rate is still high, so in the middle of a fit and for swa;
    once the rate has fallen to zero it changes little. Costs one pass over the weights every few
    steps, and at each evaluation some batches through the network, from which the statistics of
    normalisation are computed anew: those of no network fit an average.

    Source: Polyak & Juditsky 1992 (averaging); Izmailov et al. 2018, "Averaging weights leads to
    wider optima and better generalization" (swa).
    """

    kind: Literal["ema", "swa"] = field(
        default="ema", metadata={"help": "ema: moving; swa: plain, over the last part of the fit"}
    )
    decay: float = field(default=0.98, metadata={"help": "ema: share of the old average kept"})
    every: int = field(default=5, metadata={"help": "steps between two updates"})
    start: float = field(
        default=0.75, metadata={"help": "swa: share of the fit after which it averages"}
    )
    rate: float = field(
        default=0.3, metadata={"help": "swa: share of the peak rate that is kept from there on"}
    )
    refresh: int = field(
        default=20, metadata={"help": "batches for the statistics of normalisation; 0: averaged"}
    )

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1 or self.every < 1:
            raise ValueError("decay lies between 0 and 1, every is at least 1")
        if not CLIMB < self.start < 1 or not 0 < self.rate <= 1:
            raise ValueError(f"start lies between {CLIMB} and 1, rate is above 0 and at most 1")
        if self.refresh < 0:
            raise ValueError(f"refresh is a number of batches from 0, not {self.refresh}")
        given = {name: getattr(self, name) for name in ("start", "rate")}
        if self.kind == "ema" and given != {"start": 0.75, "rate": 0.3}:
            raise ValueError("start and rate are of kind=swa; say that too, or leave them out")
        if self.kind == "swa" and self.decay != 0.98:
            raise ValueError("decay is of kind=ema; swa takes the plain mean")

    @property
    def refreshed_batches(self) -> int:  # type: ignore[override]  # a class attribute there
        return self.refresh

    @property
    def decides(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("the learning rate over the fit",) if self.kind == "swa" else ()

    @property
    def writes(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("schedule",) if self.kind == "swa" else ()

    def apply(self, run: Run, budget: Budget) -> Run:
        if self.kind == "swa":
            run = run.with_recipe(schedule="constant")  # `learning_rate` below is the whole shape
        return run.with_hook(plugins.words(self))

    def learning_rate(self, progress: float) -> float:
        if self.kind == "ema":
            return 1.0
        if progress < CLIMB:
            return 0.05 + 0.95 * progress / CLIMB
        fallen = min(1.0, (progress - CLIMB) / (self.start - CLIMB))
        return 1.0 - fallen * (1.0 - self.rate)

    def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
        if self.kind == "swa" and state["progress"] < self.start:
            return
        count = state["average_steps"] = state.get("average_steps", 0) + 1
        first = self.kind == "swa"  # its part may be short: the first step of it counts
        if (count - first) % self.every:
            return
        updates = (count - first) // self.every + first
        if self.kind == "swa":
            share = 1 / updates
        else:
            # Early on the average follows closely, or it would hold the untrained weights long.
            share = 1 - min(self.decay, (1 + updates) / (10 + updates))
        _mixed_in(model, state, share)

    def evaluation_weights(
        self, model: torch.nn.Module, state: State
    ) -> Mapping[str, torch.Tensor] | None:
        found = {n.removeprefix(KEPT): t for n, t in state.items() if n.startswith(KEPT)}
        return found or None


def _mixed_in(model: torch.nn.Module, state: State, share: float) -> None:
    """Moves the average in `state` towards the model's weights by a share of the way. Of a
    matrix, a weight that is exactly zero, as L1 leaves it, is so in the average: else none would
    ship."""
    import torch

    with torch.no_grad():
        for name, weight in model.state_dict().items():
            kept = state.get(KEPT + name)
            if kept is None or not weight.is_floating_point():
                state[KEPT + name] = weight.detach().clone()
            else:
                kept.lerp_(weight, share)
                if weight.ndim > 1:
                    kept.masked_fill_(weight == 0, 0.0)


TECHNIQUE = Average
