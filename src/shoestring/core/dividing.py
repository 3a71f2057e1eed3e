"""dividing: what of a network can be divided between the processes of a fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from shoestring.core.receipt import Plain

if TYPE_CHECKING:
    import torch

# columns: a matrix makes some of its units in each process, which stay apart; gathered: as columns,
# and every process is given all of them; rows: it reads units that are apart, and every process is
# given the sum; table: each process looks up some of the rows of an embedding.
Way = Literal["columns", "gathered", "rows", "table"]


@dataclass(frozen=True)
class Matrix:
    """How a module with one weight, and perhaps a bias, is cut by its units."""

    way: Way
    parts: int = 1  # matrices that lie in it one after the other, each cut by itself: q, k, v


@dataclass(frozen=True)
class Stage:
    """Some layers of a network, in a row: what one process of a pipeline does."""

    modules: tuple[str, ...]  # names in the model of what it runs or reads
    # Of what the model is called with, and what the stage before made, to what this one makes; of
    # the last stage, what the model gives.
    work: Callable[[tuple[Any, ...], torch.Tensor | None], torch.Tensor]
    # Of the inputs of a batch, the shape of what it makes; () of the last.
    shape: Callable[[Any], tuple[int, ...]]


class Dividing(Protocol):
    """What a network says of how it may be divided."""

    def blocks(self, model: torch.nn.Module) -> Sequence[torch.nn.Module]:
        """Modules that are called, and whose weights are read in their calls alone: each can be
        put together just before it is called."""

    def matrices(self, model: torch.nn.Module, ways: int) -> Mapping[str, Matrix]:
        """Modules by name that can be cut so many ways. The model is made ready for it: modules
        that count heads count those of one process. Empty where nothing is large enough."""

    def stages(self, model: torch.nn.Module, architecture: Plain, count: int) -> Sequence[Stage]:
        """The model as so many stages of about equal work. UserError where it has fewer."""
