"""more_data: whether what `diagnose` tells from half of the data comes true with all of it.

    python bench/more_data.py
    python bench/more_data.py --only mnist --kept lines.txt   # of a call that was stopped

Each repeat draws another half of the training split, trains on growing shares of it, and lets the
power law say what fits on all of it give; then these are made. Asked for: their mean lies in the
interval in at least 8 of 10 repeats, and the interval is no wider than half the error at 50%.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, data_folder, earlier, spread, verdict

from shoestring import plugins
from shoestring.autopilot import asking, more_data, train
from shoestring.core.budget import Budget
from shoestring.core.protocols import Dataset, silent
from shoestring.core.run import Recipe, Run
from shoestring.data.names import counted
from shoestring.engine import device, part, probe
from shoestring.engine.probe import Probe

HELD = 0.8  # of the repeats, at least
WIDEST = 0.5  # of the error at half of the data
QUICK_STEPS, QUICK_EXAMPLES = 4, 400


@dataclass(frozen=True)
class Case:
    """A data set, and how it is trained on."""

    name: str
    source: str
    steps: int  # of a fit: from seconds they would differ between machines
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What half of the data said of all of it, and what came."""

    value: float
    low: float
    high: float
    half: float  # mean error of the fits on the whole half
    truth: float
    examples: int
    points: list[tuple[int, float]]  # examples and error of each fit on the half
    graded: int  # examples that judge each fit
    seen: float  # examples that each fit looks at in all its steps

    @property
    def holds(self) -> bool:
        return self.low <= self.truth <= self.high

    @property
    def width(self) -> float:
        """Of the interval, in errors at half of the data."""
        return (self.high - self.low) / self.half


def main() -> None:
    parser = arguments("What half of the data tells of all of it.", 10, "repeats, each a half")
    parser.add_argument("--repeats", type=int, default=3, help="fits on each share")
    parser.add_argument("--mnist-steps", type=int, default=400, help="of a fit")
    parser.add_argument("--sign-digits-steps", type=int, default=200, help="of a fit")
    parser.add_argument("--multi30k-steps", type=int, default=1500, help="of a fit")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only", metavar="NAME", help="one data set")
    parser.add_argument(
        "--kept",
        type=Path,
        help="lines that an earlier call printed: what their fits say is told anew, and only the "
        "repeats that are missing are made",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    figures = Figures("more_data", given, [given.only] if given.only else None)
    # More validation pictures than by default, which are 190: too few errors to tell of.
    groups = {"group_by": str(data_folder("sign-digits") / "groups.csv")}
    cases = [
        Case("mnist", "mnist", given.mnist_steps),
        Case(
            "sign-digits",
            str(data_folder("sign-digits")),
            given.sign_digits_steps,
            {**groups, "test_share": 0.0, "validation_share": 0.3, "size": 32},
        ),
        Case(
            "multi30k",
            "multi30k",
            given.multi30k_steps,
            {"source": "en", "target": "de"},
        ),
    ]
    rows, summary = [], {}
    for case in cases:
        if given.only in (None, case.name):
            row, values = _measured(case, given, figures)
            rows.append(row)
            summary[case.name] = values
    head = ["data", "in the interval", "width over error at 50%", "error at 50%", "at 100%", "told"]
    figures.finish(head, rows, summary)


def _measured(
    case: Case, given: argparse.Namespace, figures: Figures
) -> tuple[list[str], dict[str, Any]]:
    told = []
    kept = _kept(case, given)
    prepared = None
    for repeat in range(given.seeds):
        if repeat in kept:
            found = _again(case, kept[repeat])
        else:
            prepared = prepared or _prepared(case, given)
            found = _one(*prepared, repeat, given)
        told.append(found)
        values = {**vars(found), "holds": found.holds, "width": found.width}
        figures.line("half", {"data": case.name, "repeat": repeat, **values})
    holds = sum(one.holds for one in told)
    widths = spread([one.width for one in told])
    half, truth = (spread([getattr(one, n) for one in told]) for n in ("half", "truth"))
    enough = holds >= HELD * len(told)
    row = [
        case.name,
        verdict(enough, f"{holds} of {counted(len(told), 'repeat')}"),
        verdict(widths.median <= WIDEST, widths.text(2)),
        half.text(4),
        truth.text(4),
        spread([one.value for one in told]).text(4),
    ]
    summary = {"holds": holds, "repeats": len(told), "width": widths.median, "steps": case.steps}
    return row, summary


def _kept(case: Case, given: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """The repeats of a data set that an earlier call made, by number."""
    return {one["repeat"]: one for one in earlier(given.kept) if one.get("data") == case.name}


def _again(case: Case, kept: dict[str, Any]) -> Told:
    """What the fits of an earlier call say by the law of now."""
    task, graded, seen = plugins.task_for(case.source), kept["graded"], kept["seen"]
    probes = [
        Probe(count, task.perfect - error, 0.0, graded, case.steps, seen / count, 0.0)
        for count, error in kept["points"]
    ]
    told = more_data.law_of(probes, task.perfect).expected(kept["examples"])
    names = ("half", "truth", "examples", "points", "graded", "seen")
    return Told(told.value, told.low, told.high, **{name: kept[name] for name in names})


def _prepared(case: Case, given: argparse.Namespace) -> tuple[Recipe, Dataset, Any]:
    """The recipe with its steps fixed, the data set and its labels: loaded once for all repeats."""
    task = plugins.task_for(case.source)
    said = {n: getattr(given, n) for n in ("device", "threads", "precision")}
    base = Recipe(task.name, case.source)
    recipe = asking.asked(base, False, (), case.options, said, {})
    dataset = task.load(recipe, silent)
    recipe = replace(recipe, device=device.resolve(recipe.device))
    run = Run(Path(), task.name, recipe, facts=dataset.facts)
    run = run.with_recipe(steps=case.steps)  # which sizes network and batches
    run = train.completed(run, (), dataset, Budget(), None)
    recipe = probe.fixed(run.recipe, QUICK_STEPS if given.quick else case.steps)
    return recipe, dataset, probe.labels_of(recipe.task, dataset.train, dataset.facts)


def _one(
    recipe: Recipe, dataset: Dataset, labels_B: Any, repeat: int, given: argparse.Namespace
) -> Told:
    """One half, what it tells, and the truth: fits on all of it with seeds of their own."""
    perfect = plugins.task(recipe.task).perfect
    seed = 100 * repeat
    half = part.shared(dataset.train, labels_B, 0.5, seed)
    if given.quick:
        half = half[:QUICK_EXAMPLES]
    some = part.part_of(dataset, half)
    own = None if labels_B is None else labels_B[half]
    seeded = replace(recipe, seed=seed)
    probes = more_data.grown(some, seeded, own, Budget(), silent, repeats=given.repeats)
    law = more_data.law_of(probes, perfect)
    seeds = range(seed + 50, seed + 50 + given.repeats)
    wholes = [probe.probed(replace(recipe, seed=s), dataset, Budget()) for s in seeds]
    truth = sum(perfect - whole.quality for whole in wholes) / len(wholes)
    told = law.expected(wholes[0].examples)
    largest = [p for p in probes if p.examples == len(half)]
    halves = sum(perfect - p.quality for p in largest) / len(largest)
    points = [(p.examples, perfect - p.quality) for p in probes]
    seen = sum(p.epochs * p.examples for p in probes) / len(probes)
    return Told(
        value=told.value,
        low=told.low,
        high=told.high,
        half=halves,
        truth=truth,
        examples=wholes[0].examples,
        points=points,
        graded=probes[-1].graded,
        seen=seen,
    )


if __name__ == "__main__":
    main()
