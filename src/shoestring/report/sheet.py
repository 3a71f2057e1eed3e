"""sheet: everything that a receipt shows, read from a run folder or a bundle."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shoestring.bundle import manifest as manifests
from shoestring.core.decisions import Decision
from shoestring.core.errors import BundleError, RunError, UserError
from shoestring.core.limits import Limits
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Finding, Plain, Receipt, Scores
from shoestring.core.run import Recipe
from shoestring.core.trials import Trials
from shoestring.data.names import split_of
from shoestring.engine import derive, store

MANIFEST = "bundle.json"
TOTAL, TEST_OPENED = "total", "test opened"  # lines with a place of their own on the page


@dataclass(frozen=True)
class Sheet:
    """The receipt of a run or a bundle. A bundle knows neither its recipe nor its data's flaws."""

    path: str
    kind: str  # "run" or "bundle"
    task: str
    network: str = ""  # its kind
    recipe: Recipe | None = None
    scores: Scores | None = None
    receipts: tuple[Receipt, ...] = ()
    findings: tuple[Finding, ...] = ()
    openings: tuple[Plain, ...] = ()  # of the test split, oldest first
    parents: tuple[str, ...] = ()
    lineage: Plain = field(default_factory=dict)  # its own branch, where it was made from others
    environment: Plain = field(default_factory=dict)
    curve: tuple[Plain, ...] = ()  # looks at the validation split in the middle of the fit
    pictures: tuple[str, ...] = ()  # files in the run's folder
    trials: Trials | None = None  # of a search before the fit
    decisions: tuple[Decision, ...] = ()  # of a build

    @property
    def used_seconds(self) -> float:
        """The wall clock of the whole command; until that is known, the sum of its lines."""
        if self._total is not None:
            return float(self._total.options["used_seconds"])
        return sum(line.cost.wall_seconds for line in self.receipts)

    @property
    def asked_seconds(self) -> float | None:
        """The wall clock that the command was given; None where it was given none."""
        if self._total is None:
            return None if self.recipe is None else self.recipe.budget_seconds
        asked = self._total.options.get("asked_seconds")
        return None if asked is None else float(asked)

    @property
    def limits(self) -> Limits:
        """What the model was asked to keep to."""
        return Limits.recorded(None if self._total is None else self._total.options.get("limits"))

    @property
    def asked(self) -> Plain:
        """What else a build was told: `options` of the task, `techniques`, `seed` and so on."""
        found = None if self._total is None else self._total.options.get("asked")
        return found if isinstance(found, dict) else {}

    @property
    def _total(self) -> Receipt | None:
        return next((r for r in reversed(self.receipts) if r.technique == TOTAL), None)

    @property
    def lines(self) -> tuple[Receipt, ...]:
        """What was done, in order."""
        return tuple(r for r in self.receipts if r.technique not in (TOTAL, TEST_OPENED))

    @property
    def looks(self) -> tuple[Plain, ...]:
        """Every opening of the test split, oldest first, with what it gave."""
        return self.openings or tuple(
            {"at": r.at, "source": r.after.split, **to_plain(r.after)}
            for r in self.receipts
            if r.technique == TEST_OPENED and r.after is not None
        )

    @property
    def has_details(self) -> bool:
        """Whether there are longer tables to show."""
        from shoestring.report import tables

        tables_there = self.scores is not None and bool(tables.long_tables(self.scores))
        return tables_there or bool(self.curve) or self.trials is not None

    def __str__(self) -> str:
        from shoestring.report import text  # not before something is to be shown

        return text.plain(text.receipt(self))


def _readable(scores: Scores | None) -> Scores | None:
    """Without timings that lack a figure, in a file that somebody changed."""
    if scores is None:
        return None
    whole = {
        name: timing
        for name, timing in scores.latency_ms.items()
        if all(isinstance(timing.get(of), (int, float)) for of in ("median", "p95"))
    }
    return scores if len(whole) == len(scores.latency_ms) else replace(scores, latency_ms=whole)


def receipt(path: str | os.PathLike[str]) -> Sheet:
    """The receipt in a run folder or a bundle; RunError where the folder is neither."""
    folder = Path(path)
    if (folder / MANIFEST).is_file() and not (folder / store.RUN).exists():
        return _of_bundle(folder)
    if folder.is_dir() and not any((folder / name).exists() for name in (store.RUN, store.STARTED)):
        raise RunError(
            f"{folder} is neither a run nor a bundle: it has no {store.RUN} and no {MANIFEST}"
        )
    run = store.read(folder)
    return Sheet(
        path=str(path),
        kind="run",
        task=run.task,
        network=str((run.architecture or run.recipe.network).get("kind", "")),
        recipe=run.recipe,
        scores=_readable(run.scores),
        receipts=run.receipts,
        findings=run.findings,
        openings=tuple(store.read_lines(folder / store.OPENINGS)),
        parents=run.parents,
        lineage=derive.branch(run) if run.lineage else {},
        environment=run.environment,
        curve=run.curve,
        pictures=tuple(sorted(str(path) for path in folder.glob("*.png"))),
        trials=store.read_trials(folder),
        decisions=run.decisions,
    )


def was_trained_on(path: str | os.PathLike[str], source: str, split: str) -> bool:
    """Whether a source that was evaluated, on a split or on all of it, is the run's own, so that
    examples that it learnt from are among those that it was measured on. A bundle does not know
    what it was trained on."""
    folder = Path(path)
    if split_of(split) in ("validation", "test") or not (folder / store.RUN).is_file():
        return False
    own = store.read(folder).recipe.source
    same = os.path.realpath(source) == os.path.realpath(own)
    return same or source in (own, f"{own}:train")


def _of_bundle(folder: Path) -> Sheet:
    file = folder / MANIFEST
    manifest = manifests.read(file)
    try:
        scores = manifest.get("scores")
        return Sheet(
            path=str(folder),
            kind="bundle",
            task=str(manifest["task"]),
            network=str(manifest.get("network", "")),
            scores=None if scores is None else _readable(from_plain(Scores, scores, "scores")),
            receipts=tuple(_line(line) for line in manifest.get("lineage", ())),
            openings=tuple(store.read_lines(folder / store.OPENINGS)),
            environment=manifest.get("versions", {}),
        )
    except UserError as error:
        raise BundleError(f"{file}: {error}") from error


def _line(line: Any) -> Receipt:
    return Receipt(str(line)) if isinstance(line, str) else from_plain(Receipt, line, "lineage")
