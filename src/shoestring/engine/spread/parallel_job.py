"""parallel_job: what the processes of a fit are given, what the lead of them tells, and what comes
back. No torch.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from shoestring.core import errors
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import RunError, UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Listener, Look
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import Run

FOLDER = ".workers"  # in the run's folder, as long as they work
JOB, RENDEZVOUS, FITTED = "job.json", "rendezvous", "fitted.safetensors"
ENDED = "ended"  # what each process tells last, when nobody needs it any more


@dataclass(frozen=True)
class Job:
    """A fit as each of its processes is given it."""

    run: Run
    layout: Layout
    seconds: float | None  # the limit of the command
    spent: float  # of it, when this was written
    written: float = field(default_factory=time.time)  # the only clock that processes share
    log_every: int | None = None
    microbatches: int | None = None  # of a pipeline

    def budget(self) -> Budget:
        """The command's clock, which has run on since this was written."""
        spent = self.spent + max(0.0, time.time() - self.written)
        return Budget(self.seconds, spent=spent)

    def write(self, folder: Path) -> None:
        (folder / JOB).write_text(json.dumps(to_plain(self)), encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Job:
        return from_plain(Job, json.loads((folder / JOB).read_text(encoding="utf-8")), JOB)


@dataclass(frozen=True)
class Fitted:
    """What the lead brings back beside the weights."""

    run: Run
    cost: Cost  # what the fit counted: steps, examples, labels, looks
    began: float  # the day's clock, when all processes were ready
    sent_bytes: int | None  # between the processes, over all of them; None: nobody counts here
    ideal_bytes: float  # what a ring all-reduce of the gradients sends


class Teller:
    """A listener whose words go to another process, a line each."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def stage(self, what: str, done: int, total: int) -> None:
        self.tell("stage", [what, done, total])

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        self.tell("step", [step, total, seconds_left, loss, accuracy, rate])

    def evaluation(self, look: Look) -> None:
        self.tell("evaluation", to_plain(look))

    def say(self, text: str) -> None:
        self.tell("say", text)

    def tell(self, what: str, value: Any) -> None:
        self._stream.write(json.dumps([what, value]).encode() + b"\n")
        self._stream.flush()


def pass_on(line: bytes, listener: Listener) -> UserError | None:
    """Says to a listener what a Teller told; an error that it told is returned."""
    what, value = json.loads(line)
    if what == "stage":
        listener.stage(*value)
    elif what == "step":
        listener.step(*value)
    elif what == "evaluation":
        listener.evaluation(from_plain(Look, value))
    elif what == "say":
        listener.say(value)
    else:
        return _error(value)
    return None


def plain_error(error: UserError) -> Plain:
    return {"kind": type(error).__name__, "message": str(error)}


def _error(plain: Plain) -> UserError:
    kinds = (errors.DataError, errors.BundleError, errors.RunError, errors.Interrupted)
    kind = {k.__name__: k for k in kinds}.get(plain["kind"], UserError)
    return kind(plain["message"])


def resumable(run: Run) -> str:
    """The words that say how to go on."""
    return f"go on with: shoestring train --resume {run.path}"


def lost(run: Run, how: str) -> RunError:
    return RunError(f"{how}; the others were ended. What was noted is kept: {resumable(run)}")
