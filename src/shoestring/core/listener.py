"""listener: how long work tells whoever watches where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Look:
    """What a look at the validation split in the middle of a fit showed."""

    step: int
    total: int
    epoch: float  # passes over the training split so far
    train_loss: float  # mean since the look before
    metric: str
    quality: float
    loss: float


class Listener(Protocol):
    """Told what goes on; must return quickly and never raise."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Countable work other than training: files decoded, sentences translated."""

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        """Once in a while during a fit: means over labels since the last call; `rate` in labels a
        second."""

    def evaluation(self, look: Look) -> None:
        """A look at the validation split."""

    def say(self, text: str) -> None:
        """A sentence worth keeping on the screen."""


class Quiet:
    """The listener of whoever wants to hear nothing."""

    def stage(self, what: str, done: int, total: int) -> None:
        pass

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        pass

    def evaluation(self, look: Look) -> None:
        pass

    def say(self, text: str) -> None:
        pass
