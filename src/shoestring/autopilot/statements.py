"""statements: what the fits of an ablation allow to be said: of two runs, or of a technique."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoestring import plugins
from shoestring.autopilot.ablation import (
    Ablation,
    Line,
    Plan,
    Result,
    fold_of,
    folder_of,
    read_plan,
    spent,
)
from shoestring.autopilot.design import Cell, Contrast
from shoestring.bundle.grade import read_outcomes
from shoestring.core.protocols import Outcomes, Task
from shoestring.core.receipt import Interval, Verdict
from shoestring.core.run import Run
from shoestring.data.names import counted
from shoestring.engine import effects, evidence, store
from shoestring.engine.remarks import ENDED, ZERO_LAYER

# The two kinds of statement: of runs, where there is one seed, and of a technique.
OF_RUNS: Mapping[Verdict, str] = {
    "better": "this run beats that run",
    "worse": "that run beats this run",
    "within noise": "no difference between these two runs was shown",
}
OF_A_TECHNIQUE: Mapping[Verdict, str] = {
    "better": "helps here",
    "worse": "harms here",
    "within noise": "within noise",
}
IDLE = "changed nothing"
IDLE_REASON = "its fits came out as those without it, answer for answer: it found nothing to do"


def read(path: str | os.PathLike[str]) -> Ablation:
    """The ablation in a folder with its table, from the runs that are finished there."""
    home, plan = Path(path), read_plan(path)
    if plan.folds:
        return _of_folds(home, plan)
    task = plugins.task(plan.recipe.task)
    runs = {cell.name: _runs(home, cell.name, plan) for cell in plan.trained}
    measured = {name: Measured.of(found, task) for name, found in runs.items()}
    results = [
        measured[cell.name].result(cell, runs[cell.name], str(plan.failures.get(cell.name, "")))
        for cell in plan.trained
    ]
    examples = next((r.scores.examples for rs in runs.values() for r in rs if r.scores), 0)
    return Ablation(
        path=str(path),
        task=plan.recipe.task,
        source=plan.recipe.source,
        metric=task.metric,
        seeds=plan.seeds,
        examples=examples,
        results=tuple(results),
        lines=tuple(_lines(plan, task, {r.name: r for r in results}, measured)),
        asked_seconds=plan.limit_seconds,
        used_seconds=plan.used_seconds,
        fit_seconds=plan.fit_seconds,
        notes=(*plan.notes, *_remarks(plan.trained, runs)),
    )


def _remarks(cells: Sequence[Cell], runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """What fits left to be said, a line for each recipe: an early end, a layer of zeros."""
    for cell in cells:
        own = runs[cell.name]
        ended = [line for run in own for line in run.receipts if line.technique == ENDED]
        empty = [found for run in own for found in run.findings if found.kind == ZERO_LAYER]
        fits = counted(len(own), "fit")
        if ended:
            yield f"{cell}: {len(ended)} of {fits} ended early; the first {ended[0].reason}"
        if empty:
            yield f"{cell}: in {len(empty)} of {fits}, {empty[0].message}"


def _of_folds(home: Path, plan: Plan) -> Ablation:
    """One table of ablations that differ in nothing but the fold that was held out: each recipe's
    answers to the examples of all folds are taken together, seed by seed."""
    paths = [fold_of(home, number) for number in range(plan.folds)]
    whole = [read(path) for path in paths]
    plans = [read_plan(path) for path in paths]
    task = plugins.task(plan.recipe.task)
    failures = {name: why for one in plans for name, why in one.failures.items()}
    # Techniques that cannot stand together could not in any fold.
    cells = tuple(name for name in plans[0].cells if all(name in one.cells for one in plans))
    plan = replace(plan, cells=cells, failures=failures)
    results, measured = {}, {}
    for cell in plan.trained:
        runs = [_runs(path, cell.name, plan) for path in paths]
        joint = Measured.joined([Measured.of(found, task) for found in runs], plan.seeds)
        every = [run for found in runs for run in found]
        measured[cell.name] = joint
        results[cell.name] = joint.result(cell, every, str(failures.get(cell.name, "")))
    return replace(
        whole[0],
        path=str(home),
        examples=sum(one.examples for one in whole),
        results=tuple(results.values()),
        lines=tuple(_lines(plan, task, results, measured)),
        asked_seconds=plan.limit_seconds,
        used_seconds=plan.used_seconds,
        notes=tuple(dict.fromkeys(note for one in whole for note in one.notes)),
        folds=plan.folds,
    )


def _runs(home: Path, cell: str, plan: Plan) -> list[Run]:
    """Those that are finished, by seed."""
    first = plan.recipe.seed
    folders = [folder_of(home, cell, first + i) for i in range(plan.seeds)]
    return [store.read(folder) for folder in folders if (folder / store.RUN).exists()]


# --- what the runs of a recipe gave --------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """The outcomes of a recipe's runs, as they are and on corrupted examples."""

    outcomes: tuple[Outcomes, ...] = ()
    plain: effects.Cell | None = None
    shifted: effects.Cell | None = None

    @staticmethod
    def of(runs: Sequence[Run], task: Task) -> Measured:
        if not runs:
            return Measured()
        outcomes = tuple(read_outcomes(run.path / store.OUTCOMES) for run in runs)
        shifted = None
        if all((run.path / effects.SHIFTED).exists() for run in runs):
            kept = [read_outcomes(run.path / effects.SHIFTED) for run in runs]
            qualities_S = np.array([float(one["quality"][0]) for one in kept])
            shifted = effects.Cell(qualities_S, np.stack([one["values"] for one in kept]))
        return Measured(outcomes, effects.cell(outcomes, task), shifted)

    @staticmethod
    def joined(parts: Sequence[Measured], seeds: int) -> Measured:
        """Of the folds of a cross-validation, where each has so many seeds."""
        plain = [part.plain for part in parts if part.plain is not None]
        corrupted = [part.shifted for part in parts if part.shifted is not None]
        whole = len(plain) == len(parts) and all(one.seeds == seeds for one in plain)
        if not whole:
            return Measured()
        outcomes = tuple(
            {name: np.concatenate([one[name] for one in same]) for name in same[0]}
            for same in zip(*(part.outcomes for part in parts), strict=True)
        )
        shifted = effects.joined(corrupted) if len(corrupted) == len(parts) else None
        return Measured(outcomes, effects.joined(plain), shifted)

    def result(self, cell: Cell, runs: Sequence[Run], failure: str) -> Result:
        fits = [next(r.cost for r in run.receipts if r.technique == "fit") for run in runs]
        return Result(
            name=cell.name,
            techniques=cell.techniques,
            qualities=tuple(self.plain.qualities_S.tolist()) if self.plain else (),
            shifted=tuple(self.shifted.qualities_S.tolist()) if self.shifted else (),
            seconds=tuple(
                cost.wall_seconds + spent(run) for cost, run in zip(fits, runs, strict=True)
            ),
            steps=tuple(cost.steps for cost in fits),
            paths=tuple(str(run.path) for run in runs),
            failure=failure,
        )


# --- statements ----------------------------------------------------------------------------------


def _lines(
    plan: Plan, task: Task, results: Mapping[str, Result], measured: Mapping[str, Measured]
) -> list[Line]:
    """A line for every statement, family by family; those that cannot be made say why."""
    contrasts = [
        contrast
        for contrast in plan.design.contrasts()
        if all(name in plan.cells for name, _ in contrast.weights)
    ]
    lines: dict[Contrast, Line] = {}
    for kind in dict.fromkeys(contrast.kind for contrast in contrasts):
        family = [c for c in contrasts if c.kind == kind]
        lacking = {c: _lacking(c, plan, results) for c in family}
        whole = [c for c in family if not lacking[c]]
        timed = {c: _timed(c, results) for c in family}
        if plan.seeds == 1:
            lines |= {c: _of_runs(timed[c], c, task, measured, len(whole)) for c in whole}
        else:
            told = _of_techniques([timed[c] for c in whole], whole, measured)
            lines |= dict(zip(whole, told, strict=True))
        lines |= {c: replace(timed[c], reason=lacking[c]) for c in family if lacking[c]}
        idle = [c for c in whole if _changed_nothing(c, results, measured)]
        lines |= {c: replace(lines[c], statement=IDLE, reason=IDLE_REASON) for c in idle}
    return [lines[contrast] for contrast in contrasts]


def _lacking(contrast: Contrast, plan: Plan, results: Mapping[str, Result]) -> str:
    """Why a statement cannot be made; "" where it can."""
    for name, _ in contrast.weights:
        if results[name].failure:
            return f"the fit of {results[name]} failed: {results[name].failure}"
    done = min(len(results[name].qualities) for name, _ in contrast.weights)
    if done < plan.seeds:
        return f"{done} of {counted(plan.seeds, 'seed')} were trained"
    return ""


def _changed_nothing(
    contrast: Contrast, results: Mapping[str, Result], measured: Mapping[str, Measured]
) -> bool:
    """Whether the fits with a technique are those without it, answer for answer: it found nothing
    to do, such as an early stop that never came."""
    if contrast.pair is None:
        return False
    before, after = contrast.pair
    if results[before].steps != results[after].steps:
        return False
    pairs = zip(measured[before].outcomes, measured[after].outcomes, strict=True)
    return all(
        one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
        for one, other in pairs
    )


def _timed(contrast: Contrast, results: Mapping[str, Result]) -> Line:
    """A line that knows only what its fits took."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for name, weight in contrast.weights:
        sides[weight > 0] += results[name].seconds
    means = {side: sum(found) / len(found) if found else 0.0 for side, found in sides.items()}
    return Line(
        contrast.kind,
        contrast.technique,
        seconds=means[True],
        more_seconds=means[True] - means[False],
    )


def _of_runs(
    line: Line, contrast: Contrast, task: Task, measured: Mapping[str, Measured], count: int
) -> Line:
    """What one seed can say: of two runs, paired over examples."""
    pair = contrast.pair
    if pair is None:
        return replace(line, reason="one seed compares two runs, not averages over several")
    before, after = (measured[name].outcomes[0] for name in pair)
    each = effects.bonferroni(count)
    gain, verdict, doubt = evidence.judged(before, after, task, each)
    note = f"; Bonferroni over {count}" if count > 1 else ""
    shifted = None
    corrupted = [measured[name].shifted for name in pair]
    if corrupted[0] is not None and corrupted[1] is not None:
        shifted = effects.of_runs(corrupted[0], corrupted[1]).interval(each)
    return replace(
        line,
        gain=replace(gain, method=gain.method + note),
        shifted=shifted,
        statement=OF_RUNS[verdict],
        reason=f"{doubt}; " * bool(doubt)
        + f"one seed says nothing of a technique; {effects.FEWEST_SEEDS} or more do",
    )


def _of_techniques(
    lines: Sequence[Line], family: Sequence[Contrast], measured: Mapping[str, Measured]
) -> list[Line]:
    """What several seeds say of the techniques, the family as one."""
    as_it_is = {name: m.plain for name, m in measured.items() if m.plain is not None}
    corrupted = {name: m.shifted for name, m in measured.items() if m.shifted is not None}
    found = _effects(family, as_it_is)
    told = effects.judged(found)
    shifted: list[tuple[Interval | None, Verdict]] = [(None, "not measured")] * len(family)
    if all(name in corrupted for contrast in family for name, _ in contrast.weights):
        shifted = [*effects.judged(_effects(family, corrupted))]
    each = effects.bonferroni(len(family))
    rows = zip(lines, found, told, shifted, strict=True)
    return [
        replace(
            line,
            gain=gain,
            verdict=verdict,
            statement=OF_A_TECHNIQUE.get(verdict, ""),
            shifted=under,
            shifted_verdict=under_verdict,
            smallest_seen=effect.smallest_seen(each),
            reason=""
            if verdict != "not measured"
            else f"{counted(effect.seeds, 'seed')} prove nothing of a technique; "
            f"{effects.FEWEST_SEEDS} or more do",
        )
        for line, effect, (gain, verdict), (under, under_verdict) in rows
    ]


def _effects(family: Sequence[Contrast], cells: Mapping[str, effects.Cell]) -> list[effects.Effect]:
    """The variance between seeds is pooled over every recipe that has all its seeds."""
    most = max((cell.seeds for cell in cells.values()), default=0)
    spread = effects.Spread.pooled([cell for cell in cells.values() if cell.seeds == most])
    return [
        effects.contrast(
            [cells[name] for name, _ in contrast.weights],
            [weight for _, weight in contrast.weights],
            spread,
        )
        for contrast in family
    ]
