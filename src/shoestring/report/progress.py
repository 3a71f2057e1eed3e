"""progress: shows work as it goes: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, TextIO

from shoestring.core.listener import Listener, Look, Quiet
from shoestring.core.quantity import plain_quality

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_EVERY_STEPS = 100  # where nothing else was asked and no terminal shows a bar
BAR_EVERY_STEPS = 10
EPOCH_ENDS = 0.02  # of an epoch: batches of varying length seldom end exactly with one
_STAGE_SECONDS = 5.0  # between two lines about the same long work
_REFRESH_SECONDS = 0.2  # a bar drawn more often costs more than it tells


def is_terminal(stream: TextIO) -> bool:
    """Whether a bar can be drawn there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def watch(stream: TextIO, *, quiet: bool = False, lines: bool = False) -> Iterator[Listener]:
    """A listener that writes to `stream`; what it drew is tidied up at the end. `lines` asks for
    plain lines of each step even above a bar."""
    if quiet:
        yield Quiet()
    elif is_terminal(stream):
        with Bar(stream, lines).shown() as bar:
            yield bar
    else:
        yield Lines(stream)


class Lines:
    """A plain line each time, fit to be read by people and by programs:
    `step 100 loss 0.3127 accuracy 0.9213`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ("", 0.0)

    def stage(self, what: str, done: int, total: int) -> None:
        if total <= 0:  # a stage that is not counted
            self.say(what)
            return
        now = time.monotonic()
        name, at = self._stage
        if done >= total or (name == what and now - at >= _STAGE_SECONDS):
            self.say(f"{what} {done:,} of {total:,}")
            self._stage = (what, now)
        elif name != what:
            self._stage = (what, now)

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        self.say(_step_line(step, loss, accuracy))

    def evaluation(self, look: Look) -> None:
        self.say(_evaluation_line(look))

    def say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class Bar:
    """A bar with time left, rate and the last validation quality. Redrawn from within the calls,
    so that no second thread runs beside the fit or stands in the way of a new process."""

    def __init__(self, stream: TextIO, lines: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[words]}", markup=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._lines = lines
        self._shown: tuple[str, TaskID] | None = None
        self._drawn = 0.0
        self._validation = ""

    @contextmanager
    def shown(self) -> Iterator[Bar]:
        with self._progress:
            yield self

    def stage(self, what: str, done: int, total: int) -> None:
        if total <= 0:
            self.say(what)
        else:
            self._draw(what, done, total, f"{done:,} of {total:,}")

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        if self._lines:
            self.say(_step_line(step, loss, accuracy))
        left = f"{clock(seconds_left)} left" if isfinite(seconds_left) else ""
        words = (f"loss {loss:.3f}", self._validation, f"{rate:,.0f}/s", left)
        self._draw("training", step, total, "  ".join(filter(None, words)))

    def evaluation(self, look: Look) -> None:
        if self._lines:
            self.say(_evaluation_line(look))
        self._validation = f"validation {plain_quality(look.quality, look.metric)}"

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _draw(self, what: str, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if self._shown is None or self._shown[0] != what:
            if self._shown is not None:
                self._progress.remove_task(self._shown[1])
            self._shown = (what, self._progress.add_task(what, total=total, words=words))
        elif now - self._drawn < _REFRESH_SECONDS and done < total:
            return
        self._drawn = now
        self._progress.update(self._shown[1], completed=done, total=total, words=words)
        self._progress.refresh()


def clock(seconds: float) -> str:
    """`0:45`, `12:03`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _step_line(step: int, loss: float, accuracy: float) -> str:
    return f"step {step} loss {loss:.4f} accuracy {accuracy:.4f}"


def _evaluation_line(look: Look) -> str:
    """`step 200 validation accuracy 0.9810 loss 0.0700`; where the look falls on the end of an
    epoch, that too, with the loss of training."""
    passed = round(look.epoch)
    whole = passed > 0 and abs(look.epoch - passed) < EPOCH_ENDS
    epoch = f" epoch {passed} train loss {look.train_loss:.4f}" if whole else ""
    quality = plain_quality(look.quality, look.metric)
    return f"step {look.step}{epoch} validation {look.metric} {quality} loss {look.loss:.4f}"
