"""transfer: up to how many pictures weights from elsewhere beat a network from nothing.

    python bench/transfer.py --folds 2 --threads 1

sign-digits, people kept together. For each number of pictures a class, each fold is trained on in
three ways that cost about the same processor seconds: the usual network from nothing,
EfficientNet-Lite0 as a linear probe, and the same with all of it learning. Judged on the test
split of the fold, with the weights that each fit ends with: nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _figures import Figures, arguments, data_folder, verdict

from shoestring import plugins
from shoestring.autopilot import asking, train
from shoestring.core.budget import Budget
from shoestring.core.intervals import wilson
from shoestring.core.protocols import Dataset, silent
from shoestring.core.receipt import Interval
from shoestring.core.run import Recipe, Run
from shoestring.data import resample
from shoestring.engine import device, probe

COUNTS = (2, 5, 10, 20)  # pictures a class
ASKED = 0.10  # over a network that begins from nothing, at 20 a class
QUICK_STEPS = 2
PRETRAINED = "transfer:start=efficientnet_lite0"


@dataclass(frozen=True)
class Way:
    """One way to train."""

    name: str
    techniques: tuple[str, ...]
    steps: float  # for one of a network from nothing, at about as many processor seconds
    network: str | None = None


@dataclass(frozen=True)
class Fitted:
    """What one fit came to on the pictures of its fold."""

    right_B: Any  # (B,) bool
    seconds: float
    steps: int


def main() -> None:
    parser = arguments("From how few pictures on transfer pays on sign-digits.", 1)
    parser.add_argument("--folds", type=int, default=5, help="of five, that are trained on")
    parser.add_argument("--steps", type=int, default=400, help="of the network from nothing")
    parser.add_argument("--fine-tune", type=float, default=0.16, help="steps for one of those")
    parser.add_argument("--probe", type=float, default=0.4, help="steps for one of those")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    figures = Figures("transfer", given)
    ways = (
        Way("from nothing", (), 1.0, "compact"),
        Way("linear probe", (f"{PRETRAINED},freeze=all",), given.probe),
        Way("fine-tuned", (PRETRAINED,), given.fine_tune),
    )
    rows, summary = [], {}
    for count in given.counts[:1] if given.quick else given.counts:
        found: dict[str, list[Fitted]] = {way.name: [] for way in ways}
        for seed in range(given.seeds):
            for fold in range(1 if given.quick else given.folds):
                for way in ways:
                    fit = _fitted(way, count, fold, seed, given)
                    found[way.name].append(fit)
                    values = {"accuracy": float(fit.right_B.mean()), "pictures": len(fit.right_B)}
                    said = {"count": count, "way": way.name, "fold": fold, "seed": seed}
                    spent = {"steps": fit.steps, "seconds": fit.seconds}
                    figures.line("fit", {**said, **values, **spent})
        more, values = _told(count, ways, found)
        rows += more
        summary[str(count)] = values
    head = ["a class", "way", "accuracy", "over nothing, points", "seconds", "steps", "asked"]
    figures.finish(head, rows, summary)


def _fitted(way: Way, count: int, fold: int, seed: int, given: argparse.Namespace) -> Fitted:
    recipe, dataset = _prepared(way, count, fold, given)
    test = dataset.test()
    found = probe.probed(replace(recipe, seed=seed), dataset, Budget(), held=[test])
    labels_B = probe.labels_of(recipe.task, test, dataset.facts)
    return Fitted(found.answers[0].argmax(1) == labels_B, found.seconds, found.steps)


def _prepared(way: Way, count: int, fold: int, given: argparse.Namespace) -> tuple[Recipe, Dataset]:
    """A recipe with its steps fixed, and the data of the fold."""
    source = str(data_folder("sign-digits"))
    task = plugins.task_for(source)
    options = {"group_by": "groups.csv", "fold": f"{fold}/5", "per_class": count}
    said = {"threads": given.threads, "network": way.network, "precision": "float32"}
    recipe = asking.asked(Recipe(task.name, source), False, (), options, said, {})
    dataset = task.load(recipe, silent)
    recipe = replace(recipe, device=device.resolve(recipe.device))
    steps = QUICK_STEPS if given.quick else max(1, round(way.steps * given.steps))
    run = Run(Path(), task.name, recipe, facts=dataset.facts).with_recipe(steps=steps)
    chosen = tuple(map(plugins.technique, way.techniques))
    run = train.completed(run, chosen, dataset, Budget(), None)
    return probe.fixed(run.recipe, steps), dataset


def _told(
    count: int, ways: Sequence[Way], found: dict[str, list[Fitted]]
) -> tuple[list[list[str]], dict[str, Any]]:
    """The rows of one number of pictures, and their values."""
    base = np.concatenate([fit.right_B for fit in found[ways[0].name]])
    rows, values = [], {}
    for way in ways:
        fits = found[way.name]
        right_B = np.concatenate([fit.right_B for fit in fits])
        accuracy = wilson(int(right_B.sum()), len(right_B))
        gain = _gain(base, right_B)
        met = gain.low > 0 and gain.value >= ASKED
        seconds = sum(fit.seconds for fit in fits) / len(fits)
        rows.append(
            [
                str(count),
                way.name,
                f"{100 * accuracy.value:.1f}%",
                "" if way is ways[0] else _points(gain),
                f"{seconds:.1f}",
                str(fits[0].steps),
                verdict(met, "10 points") if count == COUNTS[-1] and way is ways[-1] else "-",
            ]
        )
        values[way.name] = {
            "accuracy": accuracy.value,
            "low": accuracy.low,
            "high": accuracy.high,
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "seconds": seconds,
            "fits": len(fits),
        }
    return rows, values


def _gain(before_B: Any, after_B: Any) -> Interval:
    """Of the share of right answers, with an interval over pictures alone."""

    def mean(sums_RS: Any) -> Any:
        return sums_RS[:, 0] / sums_RS[:, 1]

    ones_B = np.ones(len(before_B))
    sides = [np.stack([right_B.astype(float), ones_B], axis=1) for right_B in (before_B, after_B)]
    return resample.paired_interval(*sides, mean)


def _points(gain: Interval) -> str:
    return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


if __name__ == "__main__":
    main()
