"""_one_fit: one `shoestring.train` in a process of its own, with the seconds of its steps.

    python bench/_one_fit.py '{"source": "mnist", "seed": 0, "out": "runs/a", "epochs": 2}'

The job's names are arguments of `shoestring.train`. The last line printed is a JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _figures import environment

LOG_EVERY = 2  # steps between two looks at the clock; a short fit looks at validation often


class Stepping:
    """A listener that adds up steps and seconds between its calls, leaving out every stretch in
    which the fit looked at the validation split, and the first, in which kernels are chosen."""

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0
        self.said: list[str] = []
        self._last: tuple[int, float] | None = None
        self._looked = False

    def stage(self, what: str, done: int, total: int) -> None:
        pass

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        now = time.perf_counter()
        # A step count that went back is a fit that was rolled back: no stretch to count.
        if self._last is not None and not self._looked and step > self._last[0]:
            self.steps += step - self._last[0]
            self.seconds += now - self._last[1]
        self._last, self._looked = (step, now), False

    def evaluation(self, step: int, total: int, quality: float, loss: float) -> None:
        self._looked = True

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class Fit:
    """What one training gave."""

    path: str
    command_seconds: float  # the whole process, interpreter and imports included
    fit_seconds: float  # the receipt's line "fit": planning, steps, looks at validation
    evaluation_seconds: float  # the part of it that looks at validation took
    steps: int
    examples: int
    stepping_steps: int  # of the stretches without a look
    stepping_seconds: float
    batch_size: int
    macs: int  # multiply-accumulates of one example's forward pass
    first_layer_macs: int
    parameters: int
    size_bytes: int  # of the bundle
    validation_accuracy: float
    precision: str
    network: str
    threads: int
    test_accuracy: float | None = None  # where the job's recipe opens the test split
    test_examples: int = 0


def shown(fit: Fit) -> dict[str, Any]:
    """A fit as a line of results: without its path, which is of this machine alone."""
    return {k: v for k, v in asdict(fit).items() if k != "path" and v is not None}


def fitted(job: Mapping[str, Any]) -> Fit:
    """Runs the job in a fresh interpreter. Ends the script with its last words where it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), json.dumps(dict(job))],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"a training failed:\n{done.stderr.strip()[-2000:]}")
    return Fit(command_seconds=seconds, **json.loads(done.stdout.splitlines()[-1]))


def _trained(job: Mapping[str, Any]) -> dict[str, Any]:
    import shoestring
    from shoestring.tasks.images import layers

    watch = Stepping()
    run = shoestring.train(**job, log_every=LOG_EVERY, listener=watch)
    line = next(r for r in run.receipts if r.technique == "fit")
    assert run.scores is not None
    assert run.architecture is not None
    first = run.architecture["layers"][:1]
    test = next((r.after for r in run.receipts if r.technique == "test opened"), None)
    return {
        "path": str(run.path),
        "fit_seconds": line.cost.wall_seconds,
        "evaluation_seconds": line.cost.evaluation_seconds,
        "steps": line.cost.steps,
        "examples": line.cost.examples,
        "stepping_steps": watch.steps,
        "stepping_seconds": watch.seconds,
        "batch_size": run.recipe.batch_size,
        "macs": run.scores.macs,
        "first_layer_macs": layers.macs(first, tuple(run.architecture["input"])),
        "parameters": run.scores.parameters,
        "size_bytes": run.scores.size_bytes,
        "validation_accuracy": run.scores.quality,
        "precision": run.recipe.precision,
        "network": run.architecture["kind"],
        "threads": run.recipe.threads,
        "test_accuracy": None if test is None else test.quality,
        "test_examples": 0 if test is None else test.examples,
    }


if __name__ == "__main__":
    print(json.dumps(_trained(json.loads(sys.argv[1]))))
