"""listener: how long work tells whoever watches where it is."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Told what goes on; must return quickly and never raise."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Countable work other than training: files decoded, sentences translated."""

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        """Once in a while during a fit: means since the last call; `rate` in examples a second."""

    def evaluation(self, step: int, total: int, quality: float, loss: float) -> None:
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

    def evaluation(self, step: int, total: int, quality: float, loss: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass
