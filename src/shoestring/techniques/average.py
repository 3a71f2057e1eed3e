"""average: keeps an exponential moving average of the weights and ships that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.protocols import Hook, State
from shoestring.core.run import Run

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Average(Hook):
    """Judges and ships a moving average of the weights (EMA) in place of the last ones.

    Helps while the learning rate is still high, so for looks in the middle of a fit; once the
    rate has fallen to zero it changes little. Costs one pass over the weights every few steps.

    Source: Polyak & Juditsky 1992; Izmailov et al. 2018.
    """

    decay: float = field(default=0.98, metadata={"help": "share of the old average kept"})
    every: int = field(default=5, metadata={"help": "steps between two updates"})

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1 or self.every < 1:
            raise ValueError("decay lies between 0 and 1, every is at least 1")

    def apply(self, run: Run, budget: Budget) -> Run:
        return run.with_hook(plugins.words(self))

    def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
        import torch

        count = state["average_steps"] = state.get("average_steps", 0) + 1
        if count % self.every:
            return
        # Early on the average follows closely, or it would hold the untrained weights for long.
        updates = count // self.every
        decay = min(self.decay, (1 + updates) / (10 + updates))
        with torch.no_grad():
            for name, weight in model.state_dict().items():
                kept = state.get(f"average.{name}")
                if kept is None or not weight.is_floating_point():
                    state[f"average.{name}"] = weight.detach().clone()
                else:
                    kept.lerp_(weight, 1 - decay)

    def evaluation_weights(
        self, model: torch.nn.Module, state: State
    ) -> Mapping[str, torch.Tensor] | None:
        found = {
            name.removeprefix("average."): t
            for name, t in state.items()
            if name.startswith("average.")
        }
        return found or None


TECHNIQUE = Average
