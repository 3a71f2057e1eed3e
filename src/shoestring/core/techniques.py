"""techniques: what a technique has to offer, and the slots of one that changes how a fit goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from shoestring.core.budget import Budget, Meter
from shoestring.core.listener import Listener
from shoestring.core.protocols import Batch, Dataset, Draws, Feed, Network, State, Task
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.teaching import Tutor

if TYPE_CHECKING:
    import torch


class Interrupting(Protocol):
    """Whether somebody asked to stop."""

    asked: bool

    def ask(self) -> None: ...


@runtime_checkable
class Technique(Protocol):
    """A frozen dataclass of options with one method. `words` gives its command-line form."""

    def apply(self, run: Run, budget: Budget) -> Run:
        """A new run; the argument stays as it was."""


class Finisher:
    """A technique that takes a trained run and makes another one of it. Its `apply` works with
    `engine/derive.py`: data, weights, a folder of its own, a fit that goes on, a new bundle."""

    # Of a budget that is shared by a fit and what follows it, beside the fit's own 1.0.
    portion: float = 0.1
    # Whether it decides something on validation; it does so on `derive.deciding`, and its gain is
    # then measured on the other examples.
    chooses: bool = False
    # More runs that it works on, as paths; the field that holds them, where there is one.
    takes: str = ""
    # Whether it is work for many processes, which a cluster can do.
    spreads: bool = False
    # Whether the weights of its run have nothing of those that it works on.
    renews: bool = False

    @property
    def finishes(self) -> bool:
        """Whether, with these options, it works on trained runs; else it changes a recipe."""
        return True

    def ready(self, task: Task) -> None:
        """Raises UserError for what is wrong on any run of this task, and can be seen before one
        is trained."""


class Searcher:
    """A technique that looks for better values of a complete recipe by trainings of its own, before
    the fit. Its `apply` writes its words into the recipe where no data lie on `derive`'s desk;
    where they do, it searches, and what it found takes the place of its words."""

    spreads: bool = True  # its trainings, which a cluster can do

    @property
    def seconds_share(self) -> float:
        """Of the seconds that a fit would have, what the search takes."""
        return 0.5

    def ready(self) -> None:
        """Raises UserError for what is wrong and can be seen before any data are read."""

    def told(self, names: Collection[str]) -> Searcher:
        """The same, leaving alone the fields of the recipe that a person has decided."""
        return self


class Placer(ABC):
    """A technique that says by which processes, and where, the fit of a recipe is done. Its `apply`
    writes its words into the recipe; the fit is then its own to do."""

    spreads: bool = True  # the fit, over workers that a cluster may have

    @abstractmethod
    def ready(self) -> None:
        """Raises UserError for what is wrong and can be seen before any data are read."""

    @abstractmethod
    def settled(self, run: Run) -> Run:
        """The completed run before anything of its fit is planned, with what the number of
        processes changes in its recipe written down."""

    @abstractmethod
    def fitted(
        self,
        run: Run,
        dataset: Dataset,
        budget: Budget,
        meter: Meter,
        listener: Listener,
        interrupt: Interrupting,
        log_every: int | None,
    ) -> tuple[Run, Mapping[str, torch.Tensor]]:
        """As the fit of one process: the run with its curve, and the best weights. Raises
        Interrupted after saving, and RunError where processes were lost."""


class Hook:
    """A technique that changes how a fit goes. Every slot has a neutral default; a technique
    takes the slots that it needs. No slot sees the loop, the clock or ranks."""

    # Training batches through which the statistics of normalisation are computed anew before the
    # weights of `evaluation_weights` are judged; 0: they come with those weights.
    refreshed_batches: int = 0
    # What is found on throw-away steps before the fit: "rate", "batch".
    finds: tuple[str, ...] = ()
    # Whether `begin` puts weights in place, so that a fit that goes on leaves it out.
    begins: bool = False
    # Whether what it did to the weights is to be kept in fits that go on from them.
    lasts: bool = False
    # Whether weights stop or begin to learn in the middle of a fit, or its slots look at whole
    # weights: then it works where every process has all of them, and is refused where they are cut.
    whole_weights: bool = False
    # Options in which `apply` writes down what it made beside the data, for recipes to share.
    makes: tuple[str, ...] = ()
    # What this technique decides alone, in words; two that decide the same contradict each other.
    decides: tuple[str, ...] = ()
    # Fields of the recipe that `apply` or `finds` sets with these options, `network.NAME` for an
    # option of the network: where a recorded recipe goes on without this technique they are open
    # again.
    writes: tuple[str, ...] = ()

    def change_feed(
        self, task: Task, feed: Feed, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        """The training feed with other batches or more examples. `draws(seed, epoch, ids)` are
        those that `change_batch` will get for these examples."""
        return feed

    def prepare(self, model: torch.nn.Module, network: Network) -> torch.nn.Module:
        return model

    def begin(self, model: torch.nn.Module, network: Network, run: Run) -> str:
        """Once, before the first step: weights to begin with live here. What is to be said of it;
        a resumed fit comes here too, and then takes the weights of its checkpoint."""
        return ""

    def gone(self, run: Run) -> str:
        """Why a fit of this run that goes on from weights has to do without it, where what it
        needs is not there any more; else nothing."""
        return ""

    def tutor(self, run: Run, feed: Feed, device: str) -> Tutor | None:
        """Whom each batch is shown to before the loss, without gradients; what it thinks is in
        `batch.taught`. One of the hooks has one at most."""
        return None

    def parameter_groups(
        self, model: torch.nn.Module, network: Network
    ) -> Sequence[Mapping[str, Any]] | None:
        """Groups for the optimizer with `rate_factor` and `weight_decay`; None: no opinion."""
        return None

    def change_batch(self, task: Task, batch: Batch, draws: Draws) -> Batch:
        return batch

    def change_loss(
        self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        return loss

    def learning_rate(self, progress: float) -> float:
        """A factor on the peak rate at a progress of 0 to 1; several multiply."""
        return 1.0

    def begin_step(self, model: torch.nn.Module, network: Network, progress: float) -> None:
        """Before the forward pass of each step, in training mode: freezing lives here. A weight
        that asks for no gradient is not stepped."""

    def set_modes(self, model: torch.nn.Module, network: Network, progress: float) -> None:
        """Before `begin_step`, and before statistics of normalisation are computed anew, on a
        model in training mode: what keeps its statistics at this progress is put in eval()."""

    def before_step(self, model: torch.nn.Module) -> None:
        """After backward, before the optimizer: clipping lives here."""

    def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
        """After the optimizer: proximal steps and averages live here."""

    def evaluation_weights(
        self, model: torch.nn.Module, state: State
    ) -> Mapping[str, torch.Tensor] | None:
        """Weights to judge and keep instead of the model's own, by state-dict name."""
        return None

    def should_stop(self, curve: Sequence[Plain], state: State) -> bool:
        return False
