"""build_budget: whether `build` ends within its budget, whatever the budget and the load.

    python bench/build_budget.py --seeds 30
    python bench/build_budget.py --kept lines.txt   # of calls that were stopped

Builds of random budgets, log-uniform from 20 seconds to 10 minutes, take turns over the sources of
both tasks; beside every third, another process loads every core from before its start to its end.
The clock is outside: from the start of the process to its end. Asked for: within the budget plus
2% or 2 seconds, whichever is more, and a bundle that `verify` accepts; or, where not one pass over
the data fits, words that say so, within the same time, which are counted apart. A short budget for
Multi30k gets a tenth of its pairs. Worst first in the table.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, cores, data_folder, earlier, spread, verdict
from _one_build import Built, built

from shoestring.core.errors import UserError

SHORTEST, LONGEST = 20.0, 600.0  # seconds
SHARE, LEAST = 0.02, 2.0  # of the budget, and seconds, by which a build may pass it
LOADED_EVERY = 3
WHOLE = 240.0  # seconds, from which a budget for Multi30k gets all of it
REFUSED = 2  # the exit code of what a person can put right
VALID, TOO_FEW = "valid", "refused as too short"
BURN = "while True: pass"


@dataclass(frozen=True)
class Job:
    """One build to be made."""

    source: str
    words: tuple[str, ...]
    budget: float  # seconds
    loaded: bool
    seed: int

    @property
    def allowed(self) -> float:
        """Seconds over the budget."""
        return max(SHARE * self.budget, LEAST)


@dataclass(frozen=True)
class Ended:
    job: Job
    done: Built
    bundle: str  # VALID, TOO_FEW, or what is wrong

    @property
    def over(self) -> float:
        """Seconds past the budget; below 0 where some were left."""
        return self.done.seconds - self.job.budget

    @property
    def met(self) -> bool:
        return self.over <= self.job.allowed and self.bundle in (VALID, TOO_FEW)


def main() -> None:
    parser = arguments("Whether `build` keeps its budget.", 30, "builds")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds of a budget")
    parser.add_argument("--shortest", type=float, default=SHORTEST, help="seconds of a budget")
    parser.add_argument("--draw", type=int, default=0, help="the seed of budgets")
    parser.add_argument("--limits", action="store_true", help="every other build has a --max-size")
    parser.add_argument("--first", type=int, default=0, help="of the builds, to begin with")
    parser.add_argument("--kept", type=Path, help="JSON lines of earlier calls, as printed")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.longest = 3, given.shortest + 10
    figures = Figures("build_budget", given)
    ended = []
    kept = _kept(given.kept)
    for job in _jobs(given):
        if job.seed in kept:
            ended.append(_again(job, kept[job.seed]))
            figures.line("build", _said(ended[-1]))
            continue
        if job.seed < given.first:
            continue
        with tempfile.TemporaryDirectory(prefix="build-budget-") as folder, _load(job.loaded):
            done = built("build", job.source, job.budget, Path(folder) / "run", *job.words)
            one = Ended(job, done, _checked(Path(folder) / "run", done))
        ended.append(one)
        figures.line("build", _said(one))
    ended.sort(key=lambda one: one.over - one.job.allowed, reverse=True)
    met = sum(one.met for one in ended)
    head = ["source", "loaded", "budget", "used", "over", "allowed", "bundle"]
    rows = [_row(one) for one in ended]
    refused = sum(one.bundle == TOO_FEW for one in ended)
    words = f"{met} of {len(ended)} within, {refused} of them refused"
    rows.append([verdict(met == len(ended), words), *[""] * 6])
    shares = spread([one.done.seconds / one.job.budget for one in ended])
    counts = {"within": met, "refused": refused, "builds": len(ended)}
    figures.finish(head, rows, {**counts, "used_of_budget": shares})


def _jobs(given: argparse.Namespace) -> Iterator[Job]:
    drawn = random.Random(given.draw)
    signs = str(data_folder("sign-digits"))
    sources: Sequence[tuple[str, tuple[str, ...], str]] = (
        ("mnist", (), "50KB"),
        ("multi30k", ("--source", "en", "--target", "de"), "5MB"),
        (signs, ("--group-by", "groups.csv"), "500KB"),
        ("multi30k", ("--source", "en", "--target", "de"), "5MB"),
    )
    for number in range(given.seeds):
        source, words, limit = sources[number % len(sources)]
        budget = math.exp(drawn.uniform(math.log(given.shortest), math.log(given.longest)))
        if source == "multi30k" and budget < WHOLE:
            words = (*words, "--train-share", "0.1")
        if given.limits and number % 2:
            words = (*words, "--max-size", limit)
        loaded = number % LOADED_EVERY == LOADED_EVERY - 1
        yield Job(source, (*words, "--seed", str(number)), round(budget, 1), loaded, number)


def _kept(path: Path | None) -> dict[int, dict[str, Any]]:
    """The builds of earlier calls, by their number."""
    return {one["seed"]: one for one in earlier(path) if one.get("measurement") == "build"}


def _again(job: Job, line: dict[str, Any]) -> Ended:
    """A build of an earlier call. UserError where it was asked for something else."""
    if (line["budget"], line["loaded"]) != (job.budget, job.loaded):
        raise UserError(f"build {job.seed} was kept with another budget; leave out --kept")
    return Ended(job, Built(line["used"], line["code"], ""), line["bundle"])


@contextmanager
def _load(wanted: bool) -> Iterator[None]:
    """A process on every core that computes without end, and is ended here."""
    burning = [
        subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(cores() if wanted else 0)
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def _checked(run: Path, done: Built) -> str:
    import shoestring

    if done.code == REFUSED and "too few" in done.said:
        return TOO_FEW
    if not done.shipped:
        return f"code {done.code}: {done.said[-200:]}"
    try:
        shoestring.verify(run)
    except UserError as error:
        return str(error)
    return VALID


def _said(one: Ended) -> dict[str, Any]:
    job = one.job
    found = {"source": Path(job.source).name, "budget": job.budget, "loaded": job.loaded}
    found |= {"used": one.done.seconds, "over": one.over, "allowed": job.allowed}
    return {**found, "seed": job.seed, "code": one.done.code, "bundle": one.bundle, "met": one.met}


def _row(one: Ended) -> list[str]:
    return [
        Path(one.job.source).name,
        "yes" if one.job.loaded else "no",
        f"{one.job.budget:.1f} s",
        f"{one.done.seconds:.1f} s",
        f"{one.over:+.1f} s",
        f"{one.job.allowed:.1f} s",
        one.bundle[:60],
    ]


if __name__ == "__main__":
    main()
