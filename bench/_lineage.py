"""_lineage: runs made one from the other for the scripts on compression, and how two compare."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from _figures import verdict
from _one_fit import fitted
from _shipped import Outcomes, batch_seconds

import shoestring
from shoestring import plugins
from shoestring.core.intervals import wilson
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Interval, Receipt
from shoestring.core.run import Run
from shoestring.engine import evidence, store

QUICK_STEPS = 3
BATCH, ROUNDS = 64, 9


@dataclass(frozen=True)
class Training:
    """A first run of a lineage."""

    source: str
    network: str
    seed: int
    length: Mapping[str, Any]  # `epochs` or `budget`
    options: Mapping[str, Any] = field(default_factory=dict)  # of the task
    recipe: Mapping[str, Any] = field(default_factory=dict)  # further arguments of `train`


def first(training: Training, out: Path, given: argparse.Namespace) -> Run:
    """The trained run, or the one that an earlier call kept."""
    if not (out / store.RUN).exists():
        job: dict[str, Any] = {
            "source": training.source,
            "network": training.network,
            "seed": training.seed,
            "options": dict(training.options),
            "techniques": ["augment"],
            "out": str(out),
            **training.recipe,
        }
        job |= {"threads": given.threads} if given.threads is not None else {}
        job |= {"steps": QUICK_STEPS} if given.quick else dict(training.length)
        fitted(job)
    return store.read(out)


def then(words: str, run: Run, out: Path, given: argparse.Namespace) -> Run:
    """What a technique, by its words, makes of a run; in a try with hardly any fit."""
    if not (out / store.RUN).exists():
        technique: Any = plugins.technique(words)
        if given.quick and hasattr(technique, "epochs"):
            name, _, rest = words.partition(":")
            kept = [piece for piece in rest.split(",") if piece.partition("=")[0] != "epochs"]
            technique = plugins.technique(f"{name}:{','.join([*kept, 'epochs=0.01'])}")
        shoestring.apply(technique, run.path, out=out)
    return store.read(out)


def line_of(run: Run) -> Receipt:
    """The last line of a technique on a run's receipt: what made it."""
    names = plugins.technique_names()
    return next(x for x in reversed(run.receipts) if x.technique.partition(":")[0] in names)


def faster(whole: Run, other: Run, given: argparse.Namespace) -> list[float]:
    """How many times as fast the other's bundle is on a batch, in each round."""
    bundles = [run.path / store.BUNDLE for run in (whole, other)]
    slow, quick = batch_seconds(bundles, BATCH, 2 if given.quick else ROUNDS)
    return [a / b for a, b in zip(slow, quick, strict=True)]


def gain(before: Outcomes, after: Outcomes, task: str) -> tuple[Interval, dict[str, Any]]:
    """Of the second over the first, paired by example, with what both are."""
    found = evidence.paired(before, after, plugins.task(task))
    told = {name: accuracy(one) for name, one in (("before", before), ("after", after))}
    return found, {"gain": to_plain(found), "examples": len(before["hashes"]), **told}


def accuracy(outcomes: Outcomes) -> str:
    found = wilson(int(outcomes["right"].sum()), len(outcomes["right"]))
    return f"{found.value:.2%} ({found.low:.2%} to {found.high:.2%})"


def between(interval: Interval) -> str:
    """In points, of 100."""
    return f"{100 * interval.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def size(run: Run) -> int:
    assert run.scores is not None
    assert run.scores.size_bytes is not None
    return run.scores.size_bytes


def shown(**runs: Run) -> dict[str, Any]:
    """Runs as a line of results."""
    found: dict[str, Any] = {}
    for name, run in runs.items():
        assert run.scores is not None
        found[name] = {
            "validation": run.scores.quality,
            "parameters": run.scores.parameters,
            "macs": run.scores.macs,
            "size_bytes": run.scores.size_bytes,
            "model_bytes": run.scores.model_bytes,
            "seconds": sum(x.cost.wall_seconds for x in run.receipts if x.technique == "total"),
        }
    return found


def judged(goals: Sequence[tuple[bool, str]]) -> list[str]:
    return [verdict(met, words) for met, words in goals]


def middle(numbers: Sequence[float]) -> float:
    return median(numbers)
