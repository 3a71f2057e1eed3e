"""sign_digits: accuracy after 5 minutes with people kept together, and what leaking would claim.

    python bench/sign_digits.py

Five folds, so that every one of the 2,062 pictures is a test picture once. By groups, no person
stands on both sides; at random, nearly all do. Folds of the two kinds take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, data_folder, spread
from _one_fit import Fit, fitted, shown

from shoestring.core.intervals import wilson

FOLDER = "sign-digits"
GROUPS = "groups.csv"  # in that folder: path,group
QUICK_STEPS = 3


@dataclass(frozen=True)
class Way:
    """One way to split."""

    name: str
    budget: str
    grouped: bool


def main() -> None:
    parser = arguments(
        "Accuracy on sign-digits, by groups and leaking.", 1, "seeds, each all folds"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--budget", default="5m", help="of each fold with the groups together")
    parser.add_argument("--leak-budget", default="5m", help="of each fold of the random split")
    parser.add_argument("--with", dest="techniques", action="append", default=[], metavar="WORDS")
    parser.add_argument("--network", metavar="WORDS")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    figures = Figures("sign_digits", given)
    source = data_folder(FOLDER)
    pictures = sum(1 for file in source.glob("*/*") if not file.name.startswith("."))
    folds = 2 if given.quick else given.folds
    budgets = [given.budget, given.leak_budget]
    if given.quick:
        budgets = [f"{QUICK_STEPS} steps"] * 2
    ways = (
        Way("groups together", budgets[0], grouped=True),
        Way("random, leaking", budgets[1], grouped=False),
    )
    fits: dict[str, list[Fit]] = {way.name: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        for seed in range(given.seeds):
            for fold in range(folds):
                for way in ways:
                    job = _job(way, source, seed, f"{fold}/{folds}", Path(folder), given)
                    fit = fitted(job)
                    fits[way.name].append(fit)
                    found = {"split": way.name, "fold": job["options"]["fold"], "seed": seed}
                    figures.line("fit", {**found, **shown(fit)})
    rows, summary = [], {}
    for way in ways:
        row, values = _concluded(way, fits[way.name], pictures * given.seeds)
        rows.append(row)
        summary[way.name] = values
    head = ["split", "budget", "accuracy", "95% interval", "folds: lowest to highest", "pictures"]
    figures.finish(head, rows, summary)


def _job(
    way: Way, source: Path, seed: int, fold: str, folder: Path, given: argparse.Namespace
) -> dict[str, Any]:
    options: dict[str, Any] = {"fold": fold}
    if way.grouped:
        options["group_by"] = GROUPS
    # The test part of a fold is known to its run alone, which is told to open it at its end.
    recipe = folder / "recipe.toml"
    recipe.write_text(f"open_test = true\nsource = {json.dumps(str(source))}\n", encoding="utf-8")
    name = f"{way.name}-{fold}-{seed}".replace("/", "-").replace(", ", "-").replace(" ", "-")
    job: dict[str, Any] = {
        "recipe": str(recipe),
        "options": options,
        "seed": seed,
        "techniques": list(given.techniques),
        "out": str(folder / name),
    }
    if given.quick:
        job["steps"] = QUICK_STEPS
    else:
        job["budget"] = way.budget
    for name in ("network", "threads"):
        if getattr(given, name) is not None:
            job[name] = getattr(given, name)
    return job


def _concluded(way: Way, fits: Sequence[Fit], pictures: int) -> tuple[list[str], dict[str, Any]]:
    examples = sum(fit.test_examples for fit in fits)
    right = sum(round((fit.test_accuracy or 0.0) * fit.test_examples) for fit in fits)
    interval = wilson(right, examples)
    folds = spread([fit.test_accuracy or 0.0 for fit in fits])
    summary = {
        "budget": way.budget,
        "right": right,
        "test_examples": examples,
        "pictures": pictures,
        "accuracy": interval.value,
        "low": interval.low,
        "high": interval.high,
        "method": "Wilson, 95%, over pictures (those of one person are not independent)",
        "folds": folds,
        "command_seconds": spread([fit.command_seconds for fit in fits]),
    }
    row = [
        way.name,
        way.budget,
        f"{100 * interval.value:.2f}%",
        f"{100 * interval.low:.2f} to {100 * interval.high:.2f}",
        f"{100 * folds.low:.2f} to {100 * folds.high:.2f} (sd {100 * folds.deviation:.2f})",
        f"{right:,} of {examples:,}" + ("" if examples == pictures else f" (of {pictures:,}!)"),
    ]
    return row, summary


if __name__ == "__main__":
    main()
