"""schedule: how the learning rate goes over a fit, how high, in what batches and what precision."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.run import CLIMBING, Run
from shoestring.core.techniques import Hook

FOUND = {"rate": "learning_rate", "batch": "batch_size"}  # fields of the recipe


@dataclass(frozen=True)
class Schedule(Hook):
    """The shape of the learning rate over the fit, its peak, batches and precision. What is not
    named stays as the data's defaults have it. Without options: shape=cosine.

    Helps where the defaults were found on other data: find=rate runs a range test (the rate climbs
    on weights that are thrown away, until the loss shows that it is too high), find=batch doubles
    the batch while it fits and still gives a tenth more examples a second. A range test is short
    and judges carefully: on MNIST it found a third of the rate that is best over many epochs.
    accumulate adds the gradients of several batches before a step, for batches that do not fit.
    Costs at most a twentieth of the seconds that are left for each search, which has its own line
    on the receipt; shapes cost nothing.

    Source: Smith 2017, "Cyclical learning rates" (range test); Smith 2018 (one cycle); Loshchilov &
    Hutter 2017, "SGDR" (cosine); Goyal et al. 2017 (warm-up); McCandlish et al. 2018, "An
    empirical model of large-batch training".
    """

    shape: Literal["one_cycle", "cosine", "linear", "constant"] | None = field(
        default=None, metadata={"help": "one_cycle, cosine, linear or constant"}
    )
    warm_up: float | None = field(
        default=None, metadata={"help": "share of the fit in which the rate climbs"}
    )
    find: tuple[Literal["rate", "batch"], ...] = field(
        default=(), metadata={"help": "rate, batch, or rate+batch: measured before the fit"}
    )
    accumulate: int | None = field(
        default=None, metadata={"help": "batches whose gradients make one step"}
    )
    precision: Literal["float32", "bfloat16"] | None = field(
        default=None, metadata={"help": "float32 or bfloat16"}
    )

    def __post_init__(self) -> None:
        if all(getattr(self, f.name) == f.default for f in fields(self)):
            object.__setattr__(self, "shape", "cosine")
        if len(set(self.find)) < len(self.find):
            raise ValueError(f"find names {self.find[0]} twice")
        if self.warm_up is not None and not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up is a share from 0 to below 1, not {self.warm_up}")
        if self.warm_up is not None and self.shape not in (None, *CLIMBING):
            raise ValueError(
                f"shape={self.shape} has no warm-up, and warm_up={self.warm_up} asks for one; take "
                f"shape={' or '.join(CLIMBING)}"
            )
        if self.accumulate is not None and self.accumulate < 1:
            raise ValueError(f"accumulate is a number of batches from 1, not {self.accumulate}")

    @property
    def finds(self) -> tuple[str, ...]:  # type: ignore[override]  # a class attribute there
        return self.find

    @property
    def decides(self) -> tuple[str, ...]:  # type: ignore[override]
        shaped = self.shape is not None or self.warm_up is not None
        return ("the learning rate over the fit",) if shaped else ()

    @property
    def writes(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self._changes(), *(FOUND[what] for what in self.find))

    def apply(self, run: Run, budget: Budget) -> Run:
        return run.with_recipe(**self._changes()).with_hook(plugins.words(self))

    def _changes(self) -> dict[str, Any]:
        """What is said of the fields of a recipe."""
        said = {
            "schedule": self.shape,
            "warm_up": self.warm_up,
            "accumulate": self.accumulate,
            "precision": self.precision,
        }
        return {name: value for name, value in said.items() if value is not None}


TECHNIQUE = Schedule
