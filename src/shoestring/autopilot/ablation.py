"""ablation: the values of an ablation: its plan, what its fits gave, the lines of its table.

An ablation is a folder: `ablation.json` holds the plan, `runs/CELL/seed-N` a run of each recipe
and seed. One over folds holds an ablation for each, in `fold-N`. Tables are computed from these
each time, so that nothing can differ from them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from shoestring.autopilot.design import Cell, Design, Kind
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Interval, Plain, Verdict
from shoestring.core.run import Recipe, Run
from shoestring.engine import store

PLAN, RUNS = "ablation.json", "runs"
FIT, JUDGE = "fit", "judge"  # lines of a fit's receipt that are no technique's
VERSION = 1


@dataclass(frozen=True)
class Plan:
    """All that decides an ablation, and what became of it so far."""

    recipe: Recipe  # the base: without any of the techniques
    techniques: tuple[str, ...]
    factorial: bool = False
    seeds: int = 3
    cells: tuple[str, ...] = ()  # names of those that are trained
    fit_seconds: float | None = None  # of each fit; None: as many steps as the recipe says
    judging: Plain = field(default_factory=dict)  # seconds kept back for a fit, by its recipe
    idle: Plain = field(default_factory=dict)  # that a fit keeps back for a bundle: none is made
    made: Plain = field(default_factory=dict)  # by technique: what it made for all its recipes
    limit_seconds: float | None = None  # of the whole
    used_seconds: float = 0.0
    failures: Plain = field(default_factory=dict)  # of cells by name: why their fits failed
    notes: tuple[str, ...] = ()
    processes: int = 1  # that train side by side
    folds: int = 0  # that are held out in turn, each by an ablation in a folder of its own
    held_out: bool = False  # judged on the fold that is held out, its test split
    version: int = VERSION

    @property
    def design(self) -> Design:
        return Design(self.techniques, self.factorial)

    @property
    def trained(self) -> list[Cell]:
        return [cell for cell in self.design.cells() if cell.name in self.cells]


@dataclass(frozen=True)
class Result:
    """What the fits of one recipe gave, a value for each seed."""

    name: str
    techniques: tuple[str, ...]
    qualities: tuple[float, ...] = ()
    shifted: tuple[float, ...] = ()  # mean quality on corrupted examples
    seconds: tuple[float, ...] = ()  # of each fit
    steps: tuple[int, ...] = ()
    paths: tuple[str, ...] = ()
    failure: str = ""

    def __str__(self) -> str:
        return " + ".join(self.techniques) or "none of them"


@dataclass(frozen=True)
class Line:
    """One statement of the table."""

    kind: Kind
    technique: str  # in command-line words
    verdict: Verdict = "not measured"  # of a technique; runs alone prove none
    statement: str = ""
    gain: Interval | None = None
    shifted: Interval | None = None  # the gain on corrupted examples
    shifted_verdict: Verdict = "not measured"
    seconds: float = 0.0  # of a fit with it, on average
    more_seconds: float = 0.0  # than without it
    smallest_seen: float | None = None  # true gain that would be seen four times in five
    reason: str = ""


@dataclass(frozen=True)
class Ablation:
    """An ablation as far as it has come."""

    path: str
    task: str
    source: str
    metric: str
    seeds: int
    examples: int  # of the validation split that the gains were measured on
    results: tuple[Result, ...]
    lines: tuple[Line, ...]
    asked_seconds: float | None = None
    used_seconds: float = 0.0
    fit_seconds: float | None = None
    notes: tuple[str, ...] = ()
    folds: int = 0  # that were held out in turn


def write(folder: Path, plan: Plan) -> None:
    store.write_atomically(folder / PLAN, json.dumps(to_plain(plan), indent=1) + "\n")


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """The plan in an ablation's folder; RunError for any other folder."""
    file = Path(path) / PLAN
    if not file.is_file():
        raise RunError(f"{path} is not an ablation: it has no {PLAN}")
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    version = plain.get("version") if isinstance(plain, dict) else None
    if not isinstance(version, int) or version > VERSION:
        raise RunError(
            f"{file} is of version {version}, and this shoestring reads up to {VERSION}; upgrade "
            "shoestring to read it"
        )
    try:
        return from_plain(Plan, plain, str(file))
    except RunError:
        raise
    except UserError as error:
        raise RunError(f"{error}") from error


def spent(run: Run) -> float:
    """Seconds that the techniques of a run's recipe took before its fit, trained or not."""
    lines = [line for line in run.receipts if line.technique not in (FIT, JUDGE)]
    return sum(line.cost.wall_seconds for line in lines)


def fold_of(home: Path, number: int) -> Path:
    return home / f"fold-{number}"


def folder_of(home: Path, cell: str, seed: int) -> Path:
    return home / RUNS / cell / f"seed-{seed}"
