"""cluster_efficiency: examples a second of 2 processes of 1 thread against 1 process of 2 threads.

    python bench/cluster_efficiency.py

The same recipe of MNIST and of Multi30k, the same global batch. Fits take turns, and every second
pair begins with the other; each is timed from its first line of the log to its last, so that start,
warm-up and validation stand apart. MNIST again with larger batches: what a step costs beside its
arithmetic does not grow with them. Beside it the start of the processes, and the bytes that the
system counted on their connections against those of a ring all-reduce of the gradients.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _figures import Figures, arguments, spread, verdict

if TYPE_CHECKING:
    from shoestring.core.listener import Look
    from shoestring.core.protocols import Dataset
    from shoestring.core.run import Run

ASKED, MOST_BYTES = 0.9, 1.1
# What is trained, steps on the clock, the network, and the batch where it is not the usual one.
SOURCES: dict[str, tuple[str, int, dict[str, Any], int | None]] = {
    "MNIST": ("mnist", 400, {}, None),
    "MNIST, batches of 512": ("mnist", 100, {}, 512),
    "Multi30k": ("multi30k", 40, {}, None),
}
WORKERS = 2


class Clock:
    """A listener that reads the clock at each line of the log."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, float]] = []

    def stage(self, what: str, done: int, total: int) -> None:
        pass

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        self.lines.append((step, time.perf_counter()))

    def evaluation(self, look: Look) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    @property
    def steps_per_second(self) -> float:
        """From the first line to the last."""
        (first, began), (last, ended) = self.lines[0], self.lines[-1]
        return (last - first) / (ended - began)


@dataclass(frozen=True)
class Rate:
    """What a fit showed."""

    examples_per_second: float
    start_seconds: float
    times_ideal: float | None  # bytes; None: one process, or nobody counts


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3, meaning="pairs of fits")
    parser.add_argument("--steps", type=int, default=0, help="on the clock; 0: as each data set's")
    given = parser.parse_args()
    figures = Figures("cluster_efficiency", given)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    for name, (source, usual, network, batch_size) in SOURCES.items():
        steps = 10 if given.quick else given.steps or usual
        run, dataset = _prepared(source, steps, network, batch_size)
        one: list[Rate] = []
        two: list[Rate] = []
        for pair in range(given.seeds):
            for workers in (1, WORKERS) if pair % 2 == 0 else (WORKERS, 1):
                found = _fitted(run, dataset, workers)
                (one if workers == 1 else two).append(found)
                figures.line(f"{name}, {workers} processes", vars(found))
        ratio = spread(
            [b.examples_per_second / a.examples_per_second for a, b in zip(one, two, strict=True)]
        )
        sent = spread([rate.times_ideal or 0.0 for rate in two])
        start = spread([rate.start_seconds for rate in two])
        alone, beside = (spread([r.examples_per_second for r in rates]) for rates in (one, two))
        summary[name] = {"ratio": ratio, "times_ideal": sent, "start_seconds": start}
        summary[name] |= {"one": alone, "two": beside, "load": os.getloadavg()[0]}
        rows.append(
            [
                name,
                alone.text(0),
                beside.text(0),
                ratio.text(),
                verdict(ratio.median >= ASKED, f"at least {ASKED}"),
                sent.text(),
                verdict(sent.median <= MOST_BYTES, f"at most {MOST_BYTES}"),
                start.text(1),
            ]
        )
    head = ["", "1 x 2 threads, examples/s", "2 x 1 thread, examples/s", "ratio", "asked"]
    figures.finish([*head, "bytes / ideal", "asked", "start, s"], rows, summary)


def _prepared(
    source: str, steps: int, network: dict[str, Any], batch_size: int | None
) -> tuple[Run, Dataset]:
    from shoestring import plugins
    from shoestring.core.protocols import silent
    from shoestring.core.run import Recipe, Run

    task = plugins.task_for(source)
    options = plugins.options_from(task.options, {}, task.name)
    warm = max(2, steps // 10)
    recipe = Recipe(
        task=task.name,
        source=source,
        options=vars(options),
        network=network,
        precision="float32",
        device="cpu",
        batch_size=batch_size,
        steps=warm + steps,
        evaluate_every=warm + steps,  # once, after the clock was read
    )
    dataset = task.load(recipe, silent)
    recipe = task.complete(replace(recipe, fingerprint=dataset.fingerprint), dataset, None)
    return Run(Path(), task.name, recipe, facts=dataset.facts), dataset


def _fitted(run: Run, dataset: Dataset, workers: int) -> Rate:
    """One fit by so many processes of as many threads as make two together."""
    from shoestring.core.budget import Budget
    from shoestring.core.layout import Layout
    from shoestring.engine import device, interrupt, store
    from shoestring.engine.spread import parallel_fit

    run = run.with_recipe(threads=WORKERS // workers)
    clock, budget = Clock(), Budget()
    every = max(2, (run.recipe.steps or 0) // 11)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "run"
        store.create(out)
        store.keep(out, dataset.files)
        run = replace(run, path=out)
        job = parallel_fit.budgeted(run, Layout(data=workers), budget, every)
        with (
            interrupt.listening() as stop,
            device.settled(run.recipe.threads or 1),
            budget.meter() as meter,
        ):
            fitted, _ = parallel_fit.fitted(job, dataset, meter, clock, stop)
    line = next((r for r in fitted.receipts if r.technique == parallel_fit.LINE), None)
    found = {} if line is None else line.options
    each = meter.cost.examples / meter.cost.steps
    return Rate(
        clock.steps_per_second * each,
        float(found.get("start_seconds", 0.0)),
        found.get("times_ideal"),
    )


if __name__ == "__main__":
    main()
