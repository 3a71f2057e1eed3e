"""tuning: whether `tune` finds the learning rate that a fine grid calls the best.

    python bench/tuning.py

On 1,000 digits of MNIST: a fit at each rate of a grid, with several seeds, judged on two thirds of
the validation split; the rate with the best mean is the best, and every rate whose mean is no
worse than the noise of that is as good. Then searches over the learning rate alone, each with a
seed of its own and the other third of the split. Asked for: within 30 trials, a rate within a
factor of 2 of the best, in 9 of 10 searches.

It is asked twice: of trials as long as the fits of the grid, and of a search as `tune` divides a
budget by itself, with trials about a tenth as long: there the rate has to carry over as well.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, earlier, spread, verdict

import shoestring
from shoestring import plugins
from shoestring.autopilot import asking, train
from shoestring.core.budget import Budget
from shoestring.core.protocols import Dataset, silent
from shoestring.core.run import Recipe, Run
from shoestring.engine import probe, store
from shoestring.engine.pool import Halves

LOWEST, HIGHEST = 1e-4, 1.0  # learning rates
FACTOR = 2.0  # of the best rate, within which a search must end
HELD = 0.9  # of the searches, at least
LONG_SHARE = 0.97  # of all steps, with which a trial is as long as the fit that follows it
SOURCE, PICTURES = "mnist", 100  # of each digit
NETWORK, BATCH = "compact:width=16", 32
# By the word of --only: a name, and the share of all steps that the best trial takes.
KINDS: Mapping[str, tuple[str, float | None]] = {
    "long": ("trials as long as the fit", LONG_SHARE),
    "plain": ("as it is", None),
}
SPACE = f"[learning_rate]\nlow = {LOWEST}\nhigh = {HIGHEST}\nlog = true\n"


@dataclass(frozen=True)
class Best:
    """What the grid says."""

    rate: float
    quality: float  # mean over seeds
    good: tuple[float, float]  # the lowest and the highest rate as good as it, within the noise


def main() -> None:
    parser = arguments("Whether `tune` finds a learning rate.", 10, "searches")
    parser.add_argument("--trials", type=int, default=30, help="of a search, at most")
    parser.add_argument("--steps", type=int, default=300, help="of a fit")
    parser.add_argument("--points", type=int, default=25, help="of the grid")
    parser.add_argument("--repeats", type=int, default=3, help="fits at each point of the grid")
    parser.add_argument("--stop", default="halving", help="how poor trials are ended")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", type=Path, help="JSON lines of an earlier run's grid, as printed")
    parser.add_argument("--only", choices=sorted(KINDS), help="one of the two kinds of search")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.trials, given.steps, given.points, given.repeats = 2, 4, 20, 4, 2
    figures = Figures("tuning", given)
    best = _grid(given, figures) if given.grid is None else _read(given.grid, figures)
    rows, summary = [], {"best": vars(best)}
    for word in [given.only] if given.only else KINDS:
        name, share = KINDS[word]
        row, values = _searched(name, share, best, given, figures)
        rows.append(row)
        summary[name] = values
    head = ["search", "within a factor of 2", "found / best", "as good as the best", "seconds"]
    figures.finish(head, rows, summary)


def _said(given: argparse.Namespace) -> dict[str, Any]:
    return {"batch_size": BATCH, "precision": "float32", "threads": given.threads}


def _grid(given: argparse.Namespace, figures: Figures) -> Best:
    """Every rate with every seed, on the examples that no search decides on."""
    recipe, dataset = _prepared(given)
    ratio = (HIGHEST / LOWEST) ** (1 / (given.points - 1))
    rates = [LOWEST * ratio**i for i in range(given.points)]
    found: dict[float, list[float]] = {}
    for rate in rates:
        one = probe.fixed(replace(recipe, learning_rate=rate), given.steps)
        seeds = [replace(one, seed=1000 + repeat) for repeat in range(given.repeats)]
        found[rate] = [probe.probed(seeded, dataset, Budget()).quality for seeded in seeds]
        figures.line("grid", {"rate": rate, "qualities": found[rate]})
    return _best(found)


def _read(path: Path, figures: Figures) -> Best:
    """What an earlier run of the same size found, printed again."""
    found = {}
    for line in earlier(path):
        if line.pop("measurement", None) == "grid":
            found[line["rate"]] = line["qualities"]
            figures.line("grid", line)
    return _best(found)


def _best(found: Mapping[float, Sequence[float]]) -> Best:
    means = {rate: statistics.fmean(values) for rate, values in found.items()}
    rate = max(means, key=means.__getitem__)
    noise = statistics.stdev(found[rate]) / math.sqrt(len(found[rate]))
    good = [r for r, mean in means.items() if mean >= means[rate] - noise]
    return Best(rate, means[rate], (min(good), max(good)))


def _prepared(given: argparse.Namespace) -> tuple[Recipe, Dataset]:
    """The recipe of every fit, and the data with two thirds of validation to judge on."""
    task = plugins.task_for(SOURCE)
    said = {**_said(given), "network": NETWORK, "device": "cpu"}
    base = asking.asked(
        Recipe(task.name, SOURCE),
        False,
        (),
        {"per_class": PICTURES},
        said,
        {"steps": given.steps},
    )
    dataset = task.load(base, silent)
    run = Run(Path(), task.name, base, facts=dataset.facts)
    run = train.completed(run, (), dataset, Budget(), None)
    halves = Halves.of(dataset)
    return run.recipe, replace(halves.dataset, validation=halves.judged)


def _searched(
    name: str, share: float | None, best: Best, given: argparse.Namespace, figures: Figures
) -> tuple[list[str], dict[str, Any]]:
    ratios, seconds, good = [], [], 0
    words = f"tune:trials={given.trials},stop={given.stop},processes=1,warm=false"
    words += "" if share is None else f",share={share}"
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory(prefix="tuning-") as folder:
            space = Path(folder) / "space.toml"
            space.write_text(SPACE, encoding="utf-8")
            run = shoestring.train(
                SOURCE,
                techniques=[f"{words},search={space}"],
                steps=given.steps,
                network=NETWORK,
                seed=seed,
                device="cpu",
                options={"per_class": PICTURES},
                out=Path(folder) / "run",
                **_said(given),
            )
            trials = store.read_trials(run.path)
        assert trials is not None
        assert run.recipe.learning_rate is not None
        ratio = run.recipe.learning_rate / best.rate
        ratios.append(ratio)
        seconds.append(trials.seconds)
        good += best.good[0] / 1.001 <= run.recipe.learning_rate <= best.good[1] * 1.001
        chosen = next(line for line in trials.lines if line.number == trials.best)
        values = {"search": name, "seed": seed, "rate": run.recipe.learning_rate, "ratio": ratio}
        values |= {"trials": len(trials.lines), "steps": chosen.steps, "seconds": trials.seconds}
        figures.line("search", {**values, "quality": chosen.quality})
    within = sum(1 / FACTOR <= ratio <= FACTOR for ratio in ratios)
    met = within >= HELD * len(ratios)
    row = [
        name,
        verdict(met, f"{within} of {len(ratios)}"),
        spread(ratios).text(2),
        f"{good} of {len(ratios)}",
        spread(seconds).text(0),
    ]
    return row, {"within": within, "searches": len(ratios), "ratios": ratios, "as_good": good}


if __name__ == "__main__":
    main()
