"""_one_fit: one `shoestring.train` in a process of its own, with the seconds of its steps.

    python bench/_one_fit.py '{"source": "mnist", "seed": 0, "out": "runs/a", "epochs": 2}'

The job's names are arguments of `shoestring.train`, and `count_labels`, which asks for the mean of
labels in a step. The last line printed is a JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _figures import child

if TYPE_CHECKING:
    from shoestring.core.listener import Look
    from shoestring.core.run import Run

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

    def evaluation(self, look: Look) -> None:
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
    validation_quality: float
    precision: str
    network: str
    threads: int
    labels_a_step: float | None = None  # where the job asks: target pieces, of translation
    test_accuracy: float | None = None  # where the job's recipe opens the test split
    test_examples: int = 0
    peak_bytes: int | None = None  # of memory, of the process that trains


def shown(fit: Fit) -> dict[str, Any]:
    """A fit as a line of results: without its path, which is of this machine alone."""
    return {k: v for k, v in asdict(fit).items() if k != "path" and v is not None}


def fitted(job: Mapping[str, Any]) -> Fit:
    """Runs the job in a fresh interpreter. Ends the script with its last words where it fails."""
    done = child([sys.executable, Path(__file__).resolve(), json.dumps(dict(job))], "a training")
    return Fit(command_seconds=done.seconds, peak_bytes=done.peak_bytes, **done.found)


def _trained(job: Mapping[str, Any]) -> dict[str, Any]:
    import shoestring

    watch = Stepping()
    said = {name: value for name, value in job.items() if name != "count_labels"}
    run = shoestring.train(**said, log_every=LOG_EVERY, listener=watch)
    line = next(r for r in run.receipts if r.technique == "fit")
    assert run.scores is not None
    assert run.architecture is not None
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
        "first_layer_macs": _first_layer_macs(run.architecture),
        "parameters": run.scores.parameters,
        "size_bytes": run.scores.size_bytes,
        "validation_quality": run.scores.quality,
        "precision": run.recipe.precision,
        "network": run.architecture["kind"],
        "threads": run.recipe.threads,
        "labels_a_step": _labels_a_step(run) if job.get("count_labels") else None,
        "test_accuracy": None if test is None else test.quality,
        "test_examples": 0 if test is None else test.examples,
    }


def _first_layer_macs(architecture: Mapping[str, Any]) -> int:
    """Of a network of pictures, which is a row of layers; 0 for any other."""
    if "layers" not in architecture:
        return 0
    from shoestring.tasks.images import layers

    return layers.macs(architecture["layers"][:1], tuple(architecture["input"]))


def _labels_a_step(run: Run) -> float:
    """The mean over an epoch, of the labels as the data has them: augmenting may make more."""
    from shoestring import plugins
    from shoestring.core.protocols import silent

    task = plugins.task(run.task)
    dataset = task.load(run.recipe, silent)
    feed = task.feed(dataset.train, dataset.facts, "cpu")
    assert run.recipe.batch_size is not None
    batches = feed.order(run.recipe.batch_size, run.recipe.seed, 0)
    return sum(feed.batch(ids).size for ids in batches) / len(batches)


if __name__ == "__main__":
    print(json.dumps(_trained(json.loads(sys.argv[1]))))
