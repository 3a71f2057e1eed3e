"""placement: how the training loop meets devices and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    import torch

Tensors: TypeAlias = "list[torch.Tensor]"


@dataclass(frozen=True)
class Totals:
    """What a step was made of, over all processes."""

    loss_sum: torch.Tensor  # over the labels, still on the device
    right: torch.Tensor  # labels that were, still on the device
    labels: int
    examples: int


class Objective(Protocol):
    """What a step makes smaller. The logits and the loss of them stand apart, for where the two
    are computed by different processes."""

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C) and their (N,) labels."""

    def loss_of(
        self, logits: torch.Tensor, labels: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss, and how many labels were right."""

    def foresee(self) -> None:
        """Makes the next batch ready, at a moment when the processor would wait for others."""


class Placement(Protocol):
    """How the loop meets devices and ranks. The loop knows of neither.

    Every process of a fit makes the same calls in the same order; all but `lead` are promises of
    the same answer everywhere.
    """

    device: str
    lead: bool  # whether this process writes files, measures and talks to the person
    workers: int  # processes of the fit
    stream: int  # of the draws of a step: the same where processes share an example

    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module:
        """The model as it is run. Its weights may be cut and lie elsewhere from now on."""

    def judge(
        self, model: torch.nn.Module, fresh: Callable[[], torch.nn.Module]
    ) -> torch.nn.Module:
        """The whole model that the lead looks at: this one, or a fresh one where it was cut."""

    def shares(self, ids: torch.Tensor) -> Sequence[torch.Tensor]:
        """This process's part of a batch, in as many pieces as it is to be taken in. The parts of
        all processes have no example in common and leave none out; where there are fewer examples
        than processes, some part is empty."""

    def backward(self, objective: Objective, batches: Sequence[Batch]) -> Totals:
        """Adds up the gradients of the mean loss over all labels of all processes' batches."""

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        """Scales all gradients together down to this norm."""

    def stops(self, wish: bool) -> bool:
        """Whether any process wishes to stop. Told along with the steps: a wish may be heard only
        after one more."""

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it."""

    def told(self, value: Any) -> Any:
        """The lead's value, which is plain."""

    def settle(self, model: torch.nn.Module) -> None:
        """Makes what processes keep each for themselves, statistics of normalisation, the same."""

    def whole(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copies, put together where they were cut, in the lead; elsewhere they may be missing."""

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """A whole tensor cut as this weight is, on the device, in the weight's memory order."""

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's part of a tensor that is cut, in the same memory."""

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        """`way` of whole matrices, cut again as they were."""

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        """Writes a checkpoint, whole or not at all; every process calls it."""

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Whole tensors, however many processes wrote them, and values."""
