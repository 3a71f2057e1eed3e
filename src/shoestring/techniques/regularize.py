"""regularize: holds weights and answers back, so that a network learns less by heart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.protocols import State
from shoestring.core.run import Run
from shoestring.core.techniques import Hook

if TYPE_CHECKING:
    import torch

USUAL = {"l2": 0.05, "dropout": 0.2}
FIELDS = {  # of the recipe, by option
    "l2": "weight_decay",
    "label_smoothing": "label_smoothing",
    "clip": "clip",
    "dropout": "network.dropout",
}


@dataclass(frozen=True)
class Regularize(Hook):
    """Penalties on weights (L1, L2), dropout, softer labels and clipped gradients, each alone or
    together; what is not named stays as it is. Without options: l2=0.05, dropout=0.2.

    Helps where the training quality is far above that of validation: few examples, many epochs, a
    wide network. Costs next to nothing a step; a network that is held back wants more epochs.

    L1 is a proximal step (soft thresholding by rate times l1) after the optimizer's own, so small
    weights become exactly zero and stay there until a gradient is larger; the receipt says how
    many, and names a layer that holds nothing else. Its rate is the schedule's for all parts, so
    that parts of a slower rate (transfer:discriminative) are thinned out more. L2 is decoupled: it
    scales weights by rate times l2 and leaves the gradient's moments alone. Both spare biases and
    normalisation. Under Muon, convolutions have a fixed norm: there L2 does nothing, and L1 only
    thins them out; and matrices move a fifth of AdamW's way in a step, so that the same L1 empties
    more of them.

    Source: Tibshirani 1996 (L1), Parikh & Boyd 2014, "Proximal algorithms"; Loshchilov & Hutter
    2019, "Decoupled weight decay regularization"; Srivastava et al. 2014, "Dropout"; Szegedy et
    al. 2016 (label smoothing); Pascanu et al. 2013 (clipping).
    """

    l1: float = field(default=0.0, metadata={"help": "times the rate: what a step takes off"})
    l2: float | None = field(
        default=None, metadata={"help": "times the rate: share that a step takes off"}
    )
    dropout: float | None = field(
        default=None, metadata={"help": "share of units left out, where the network has them"}
    )
    label_smoothing: float | None = field(
        default=None, metadata={"help": "share of the truth spread over all labels"}
    )
    clip: float | None = field(
        default=None, metadata={"help": "largest norm of all gradients; 0: any"}
    )

    def __post_init__(self) -> None:
        if all(getattr(self, f.name) == f.default for f in fields(self)):
            for name, value in USUAL.items():
                object.__setattr__(self, name, value)
        for name in ("l1", "l2", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is a number from 0, not {value}")
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} is a share from 0 to below 1, not {value}")

    @property
    def writes(self) -> tuple[str, ...]:  # type: ignore[override]  # a class attribute there
        return tuple(place for name, place in FIELDS.items() if getattr(self, name) is not None)

    def apply(self, run: Run, budget: Budget) -> Run:
        if self.l2 is not None:
            run = run.with_recipe(weight_decay=self.l2)
        if self.label_smoothing is not None:
            run = run.with_recipe(label_smoothing=self.label_smoothing)
        if self.clip is not None:
            run = run.with_recipe(clip=self.clip)
        if self.dropout is not None:
            run = run.with_recipe(network={**run.recipe.network, "dropout": self.dropout})
        return run.with_hook(plugins.words(self))

    def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
        if not self.l1 or not rate:
            return
        import torch

        with torch.no_grad():
            for weight in _penalized(model):
                weight.copy_(shrunk(weight, rate * self.l1))


def shrunk(weight: torch.Tensor, threshold: float) -> torch.Tensor:
    """The proximal step of the L1 norm: every element nearer to zero by `threshold`, and exactly
    zero where it was nearer than that."""
    return weight.sign() * (weight.abs() - threshold).clamp_(min=0.0)


def _penalized(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Matrices and kernels that this step moved; biases and normalisation have one dimension."""
    for weight in model.parameters():
        if weight.requires_grad and weight.grad is not None and weight.ndim > 1:
            yield weight


TECHNIQUE = Regularize
