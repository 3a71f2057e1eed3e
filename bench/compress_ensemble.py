"""compress_ensemble: what several networks gain over the best of them, and what one keeps of it.

    python bench/compress_ensemble.py [--only mnist|sign-digits|multi30k]

MNIST: networks of several shapes answer together, and are distilled into one. sign-digits: five
folds with people kept together, few pictures a class, so that there is something left to gain.
Multi30k: four translators that choose each piece together. Every figure is read off the test split
by a bundle in a process without torch; each run opens it once, when it is finished. The best
member is the best on that very split, which favours it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _figures import Figures, arguments, data_folder, spread, verdict
from _one_fit import fitted

import shoestring
from shoestring import plugins
from shoestring.bundle import grade
from shoestring.core.intervals import wilson
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Task
from shoestring.core.receipt import Interval
from shoestring.core.run import Run
from shoestring.engine import evidence, measure, store

NAMES = ("mnist", "sign-digits", "multi30k")
QUICK_STEPS, QUICK_BUDGET = 3, "30s"
GRADE_SECONDS = 3600.0
DRAWS, SEED = 2_000, 0  # of the interval of the share that a student keeps
HARD = "augment:shift=0.06,rotation=12,scale=0.12,shear=0.12"
# Shapes of An et al. 2020 at half their width, two seeds of each, and the shape of short budgets.
MNIST_MEMBERS = (
    "plain:kernel=3,width=16,dropout=0.2",
    "plain:kernel=5,width=16,dropout=0.2",
    "plain:kernel=7,width=24,dropout=0.2",
    "compact:width=64,depth=2,dropout=0.2",
)
ENSEMBLE_GOAL, ENSEMBLE_AIM = 0.9978, 0.9987
STUDENT_GOAL, STUDENT_AIM = 0.9972, 0.9975
Outcomes = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Case:
    """Members on one data set, or on a fold of it."""

    name: str
    source: str
    networks: tuple[str | None, ...]  # a member each; None: the usual one
    techniques: tuple[str, ...]
    options: Mapping[str, Any]
    budget: str  # of each member
    vote: str
    distill: Any  # the technique that makes one network of it; None: none does
    student_budget: str
    epochs: float | None = None  # of members and students, instead of their budgets


@dataclass(frozen=True)
class Answers:
    """What the runs of a case answered to its test split."""

    members: tuple[Outcomes, ...]
    ensemble: Outcomes
    student: Outcomes | None
    task: Task
    facts: Mapping[str, Any]


def main() -> None:
    parser = arguments("Ensembles beside their best member.", 4, "members of one shape")
    parser.add_argument("--only", choices=NAMES, action="append")
    parser.add_argument("--budget", default="20m", help="of each member on MNIST")
    parser.add_argument("--student-budget", default="40m", help="of the one network on MNIST")
    parser.add_argument("--translator-budget", default="10m", help="of each translator")
    parser.add_argument("--picture-budget", default="1m", help="of each member on a fold")
    parser.add_argument(
        "--picture-epochs", type=float, help="of members and students on a fold, not a budget"
    )
    parser.add_argument("--picture-size", type=int, help="side in pixels, on sign-digits")
    parser.add_argument("--per-class", type=int, default=20, help="pictures, on sign-digits")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--member", action="append", metavar="NETWORK", help="on MNIST")
    parser.add_argument("--rounds", type=int, default=2, help="seeds of each shape on MNIST")
    parser.add_argument("--vote", default="soft")
    parser.add_argument("--distill", default="distill:student=same", metavar="WORDS")
    parser.add_argument("--student", default="compact:width=64,depth=2", help="on MNIST")
    parser.add_argument("--without-student", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--epochs", type=float, help="of members and students, not their budgets")
    parser.add_argument("--with", dest="techniques", action="append", help="of members, on MNIST")
    parser.add_argument("--jobs", type=int, default=1, help="members trained at once")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_ensemble", given, given.only)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as temporary:
        folder = given.keep or Path(temporary)
        for name in given.only or NAMES:
            answers = [_answers(case, folder, given, figures) for case in _cases(name, given)]
            row, values = _concluded(name, answers)
            rows.append(row)
            summary[name] = values
            figures.line("together", {"data": name, **values})
    head = ["data", "members, lowest to highest", "together", "gain over the best, 95%"]
    head += ["in one network", "share of the gain kept, 95%", ""]
    figures.finish(head, rows, summary)


def _cases(name: str, given: argparse.Namespace) -> list[Case]:
    count = 2 if given.quick else given.seeds
    vote = f"ensemble:vote={given.vote}"
    distill: Any = None if given.without_student else plugins.technique(given.distill)
    if given.epochs is not None:
        distill = distill and replace(distill, epochs=given.epochs)
    lengths: Any
    if name == "mnist":
        shapes = given.member or list(MNIST_MEMBERS)
        networks = tuple(shapes[:2] if given.quick else shapes * given.rounds)
        distill = distill and replace(distill, student=given.student)
        budgets = given.budget, given.student_budget
        hooks = tuple(given.techniques or (HARD,))
        lengths = vote, distill, budgets[1], given.epochs
        return [Case(name, name, networks, hooks, {}, budgets[0], *lengths)]
    if name == "multi30k":
        budget, options = given.translator_budget, {"source": "en", "target": "de"}
        same = (None,) * count
        lengths = budget, vote, distill, budget, given.epochs
        return [Case(name, name, same, (), options, *lengths)]
    folds = 2 if given.quick else given.folds
    few: dict[str, Any] = {"group_by": "groups.csv", "per_class": given.per_class}
    few |= {"size": given.picture_size} if given.picture_size is not None else {}
    if given.picture_epochs is not None:
        distill = distill and replace(distill, epochs=given.picture_epochs)
    return [
        Case(
            f"{name} fold {fold}",
            str(data_folder(name)),
            (None,) * count,
            (),
            {"fold": f"{fold}/{folds}", **few},
            given.picture_budget,
            vote,
            distill,
            given.picture_budget,
            given.picture_epochs,
        )
        for fold in range(folds)
    ]


def _answers(case: Case, folder: Path, given: argparse.Namespace, figures: Figures) -> Answers:
    home = folder / case.name.replace(" ", "-")
    home.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        started = [
            pool.submit(_member, case, seed, network, home, given)
            for seed, network in enumerate(case.networks)
        ]
        members = [one.result() for one in started]
    for seed, member in enumerate(members):
        figures.line("member", {"data": case.name, "seed": seed, **_shown(member)})
    together = shoestring.apply(case.vote, *(run.path for run in members), out=home / "ensemble")
    said = next(line for line in together.receipts if line.technique == "members")
    known = {
        "disagreement": said.options["disagreement"],
        "said": said.reason.replace(f"{home}/", ""),
    }
    figures.line("ensemble", {"data": case.name, **_shown(together), **known})
    student = None
    if case.distill is not None:
        budget = None if case.epochs is not None else case.student_budget
        budget = QUICK_BUDGET if given.quick else budget
        student = shoestring.apply(case.distill, together.path, budget=budget, out=home / "student")
        figures.line("student", {"data": case.name, **_shown(student)})
    return Answers(
        tuple(_opened(run) for run in members),
        _opened(together),
        None if student is None else _opened(student),
        plugins.task(together.task),
        together.facts,
    )


def _member(
    case: Case, seed: int, network: str | None, home: Path, given: argparse.Namespace
) -> Run:
    out = home / f"member-{seed}"
    if (out / store.RUN).exists():  # of an earlier call that kept it
        return store.read(out)
    job: dict[str, Any] = {
        "source": case.source,
        "options": dict(case.options),
        "seed": seed,
        "techniques": list(case.techniques),
        "out": str(out),
    }
    job |= {"network": network} if network is not None else {}
    job |= {"threads": given.threads} if given.threads is not None else {}
    length = {"budget": case.budget} if case.epochs is None else {"epochs": case.epochs}
    job |= {"steps": QUICK_STEPS} if given.quick else length
    fitted(job)
    return store.read(out)


def _opened(run: Run) -> Outcomes:
    """What the bundle of a run answers to the test split, opened once and written down."""
    outcomes = run.path / "test.npz"
    opening = measure.begin_opening(run.path, run.recipe.source)
    job = grade.Job(
        str((run.path / store.BUNDLE).resolve()),
        recipe=to_plain(run.recipe),
        split="test",
        outcomes=str(outcomes.resolve()),
    )
    opening.complete(measure.run_job(job, GRADE_SECONDS))
    found = grade.read_outcomes(outcomes)
    outcomes.unlink()  # it is no part of a run
    return found


def _shown(run: Run) -> dict[str, Any]:
    scores = run.scores
    assert scores is not None
    seconds = sum(line.cost.wall_seconds for line in run.receipts if line.technique == "total")
    return {
        "network": str((run.architecture or {}).get("kind")),
        "validation": scores.quality,
        "parameters": scores.parameters,
        "size_bytes": scores.size_bytes,
        "latency_ms": scores.latency_ms.get("model", {}).get("median"),
        "seconds": seconds,
    }


# --- what came of it -----------------------------------------------------------------------------


def _concluded(name: str, cases: Sequence[Answers]) -> tuple[list[str], dict[str, Any]]:
    """Folds count together: every picture is in the test split of one of them."""
    task = cases[0].task
    count = min(len(case.members) for case in cases)
    members = [_pooled([case.members[i] for case in cases]) for i in range(count)]
    qualities = [_quality(one, task) for one in members]
    best = members[int(np.argmax(qualities))]
    together = _pooled([case.ensemble for case in cases])
    gain = evidence.paired(best, together, task)
    values: dict[str, Any] = {
        "members": asdict(spread(qualities)),
        "ensemble": _quality(together, task),
        "gain": to_plain(gain),
        "examples": len(together["hashes"]),
    }
    row = [name, spread(qualities).text(4), _told(together, task), _between(gain)]
    students = [case.student for case in cases if case.student is not None]
    if students:
        student = _pooled(students)
        share = _share_kept(best, together, student, task)
        values |= {"student": _quality(student, task), "share_kept": to_plain(share)}
        row += [_told(student, task), _between(share)]
    else:
        row += ["-", "-"]
    said = [verdict(gain.low > 0, "interval above zero")]
    if name == "mnist":
        said += [verdict(values["ensemble"] >= ENSEMBLE_GOAL, f"{ENSEMBLE_GOAL:.2%}")]
        said += [verdict(values["ensemble"] >= ENSEMBLE_AIM, f"aim {ENSEMBLE_AIM:.2%}")]
    if name == "mnist" and students:
        said += [verdict(values["student"] >= STUDENT_GOAL, f"one network {STUDENT_GOAL:.2%}")]
        said += [verdict(values["student"] >= STUDENT_AIM, f"aim {STUDENT_AIM:.2%}")]
    return [*row, "; ".join(said)], {**values, "verdicts": said}


def _pooled(parts: Sequence[Outcomes]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(outcomes: Outcomes, task: Task) -> tuple[np.ndarray[Any, Any], Any]:
    """(B, S) numbers of each example in the order of the hashes, and the metric of their sums."""
    order = np.argsort(outcomes["hashes"], kind="stable")
    known = task.statistics(outcomes)
    if known is not None:
        return known.rows_BS[order], known.metric
    right = np.asarray(outcomes["right"], np.float64)[order]
    return np.stack([right, np.ones_like(right)], axis=1), lambda sums: sums[:, 0] / sums[:, 1]


def _quality(outcomes: Outcomes, task: Task) -> float:
    rows, metric = _rows(outcomes, task)
    return float(metric(rows.sum(axis=0)[None])[0])


def _share_kept(best: Outcomes, together: Outcomes, student: Outcomes, task: Task) -> Interval:
    """How much of the gain over the best member a student keeps, with a bootstrap over examples;
    wide where the gain is small."""
    (first, metric), (second, _), (third, _) = (
        _rows(outcomes, task) for outcomes in (best, together, student)
    )
    draws, count = np.random.default_rng(SEED), len(first)
    picked = draws.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
    a, b, c = (metric(picked @ rows) for rows in (first, second, third))
    low, high = np.nanpercentile((c - a) / np.where(b == a, np.nan, b - a), [2.5, 97.5])
    a, b, c = (float(metric(rows.sum(axis=0)[None])[0]) for rows in (first, second, third))
    value = (c - a) / (b - a) if b != a else float("nan")
    return Interval(value, float(low), float(high), method="bootstrap over examples, one seed")


def _told(outcomes: Outcomes, task: Task) -> str:
    quality = _quality(outcomes, task)
    if task.statistics(outcomes) is not None:
        return f"{quality:.2f}"
    found = wilson(int(outcomes["right"].sum()), len(outcomes["right"]))
    return f"{quality:.2%} ({found.low:.2%} to {found.high:.2%})"


def _between(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


if __name__ == "__main__":
    main()
