"""compare: whether one run beats another on the same examples, and on which they differ."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle.grade import read_outcomes
from shoestring.core.errors import UserError
from shoestring.core.protocols import Examples, Outcomes, PairedTest, Progress, Task, silent
from shoestring.core.receipt import Interval, Plain, Verdict
from shoestring.core.run import Run
from shoestring.data import resample
from shoestring.data.names import counted
from shoestring.engine import evidence, measure, shift, store
from shoestring.report.sheet import was_trained_on

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CHANGES = 20
_SAME = 1e-9  # a smaller difference on an example is rounding
SENTENCES: Mapping[Verdict, str] = {
    "better": "the second beats the first",
    "worse": "the first beats the second",
    "within noise": "no difference between the two was shown",
}


_CHOSEN = (
    "the best weights of each run were chosen on these examples, so both look a little better than "
    "they are; --on DATA that neither has seen says more"
)


@dataclass(frozen=True)
class Change:
    """An example to which the two answered differently."""

    name: str  # what a person finds it by
    truth: str  # what the answer should have been; "" where that is not at hand
    before: str
    after: str
    gained: float  # what the second's answer adds to the metric over the first's


@dataclass(frozen=True)
class Comparison:
    """Two runs or bundles on the same examples."""

    first: str
    second: str
    task: str
    metric: str
    examples: int  # that both answered
    on: str  # what they are
    before: float
    after: float
    gain: Interval
    bootstrap: Interval
    verdict: Verdict
    sentence: str
    tests: tuple[PairedTest, ...]
    won: int  # examples that only the second answered well, or better
    lost: int
    changes: tuple[Change, ...]  # the largest
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        from shoestring.report import evidence as pages
        from shoestring.report import text

        return text.plain(pages.comparison(self))


@dataclass(frozen=True)
class _Side:
    """What one of the two answered."""

    path: str
    task: Task
    facts: Plain
    outcomes: Outcomes
    on: str
    examples: Examples | None  # to name them by
    notes: tuple[str, ...] = ()


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    on: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Compares two runs on the validation examples that both were graded on, matched by content;
    or two runs or bundles on any labelled source, which both answer now. `options` are the task's
    own, for reading that source. An opening of a test split is written down for both.

    Raises UserError for runs of different tasks, or with too few examples in common.
    """
    if on is None:
        before, after = _graded(Path(first), progress), _graded(Path(second), None)
    else:
        before = _answered(Path(first), os.fspath(on), options, progress)
        after = _answered(Path(second), os.fspath(on), options, progress)
    if before.task.name != after.task.name:
        raise UserError(
            f"{first} is a model of {before.task.name} and {second} of {after.task.name}; "
            "compare two of one task"
        )
    return _compared(before, after)


def _graded(path: Path, progress: Progress | None) -> _Side:
    """A finished run with its stored outcomes; with its examples where progress is given."""
    if not (path / store.RUN).is_file() and _is_bundle(path):
        raise UserError(
            f"{path} is a bundle, which keeps no answers; say what both are to answer: --on DATA"
        )
    run = store.read(path)
    task = plugins.task(run.task)
    outcomes = read_outcomes(path / store.OUTCOMES)
    notes = () if _held_out(run) else (_CHOSEN,)
    examples = None if progress is None else _validation(run, task, progress)
    return _Side(str(path), task, run.facts, outcomes, "validation", examples, notes)


def _held_out(run: Run) -> bool:
    """Whether the run was judged on examples that nothing of it was decided on, as the runs of an
    ablation are."""
    return any(receipt.technique == "judge" for receipt in run.receipts)


def _validation(run: Run, task: Task, progress: Progress) -> Examples | None:
    """To tell a person which examples are which; a comparison goes on without."""
    try:
        dataset = task.load(run.recipe, progress)
    except (UserError, OSError):
        return None
    return dataset.validation if dataset.fingerprint == run.recipe.fingerprint else None


def _is_bundle(path: Path) -> bool:
    try:
        bundles.find(path)
    except UserError:
        return False
    return True


def _answered(
    path: Path, source: str, options: Mapping[str, Any] | None, progress: Progress
) -> _Side:
    found = measure.answered(path, source, options, progress)
    notes = []
    if found.opening is not None:
        notes.append(f"a test split was opened: {found.opening.complete(found.scores)}")
    if was_trained_on(path, source, found.scores.split):
        notes.append(f"{path} was trained on examples that are among these: it knows them already")
    manifest = found.opened.manifest
    task = plugins.task(manifest["task"])
    on = f"{source} ({found.scores.split})" if found.scores.split else source
    outcomes, examples = found.outcomes, found.examples
    return _Side(str(path), task, manifest["facts"], outcomes, on, examples, tuple(notes))


def _compared(before: _Side, after: _Side) -> Comparison:
    task = before.task
    places = evidence.shared(before.outcomes, after.outcomes)
    sides = (_taken(before, places[0]), _taken(after, places[1]))
    old, new = sides[0].outcomes, sides[1].outcomes
    gain = evidence.paired(old, new, task)
    (quality_before, old_B), (quality_after, new_B) = (_qualities(o, task) for o in (old, new))
    gains_B = new_B - old_B
    notes = list(dict.fromkeys((*before.notes, *after.notes)))
    count = len(gains_B)
    missing = len(before.outcomes["hashes"]) + len(after.outcomes["hashes"]) - 2 * count
    if missing:
        notes.append(f"{counted(missing, 'example')} that only one of them answered were left out")
    tests = tuple(_tests(old, new, task))
    least_sure = max(tests, key=lambda test: test.p_value)
    verdict = evidence.verdict(gain, max(least_sure.p_value, evidence.p_value(old, new, task)))
    if verdict == "within noise" and evidence.verdict(gain) != verdict:
        notes.append(
            f"the interval lies on one side of zero, but {least_sure.name} is less sure "
            f"(p = {least_sure.p_value:.2g}); a difference counts as shown where both say so"
        )
    return Comparison(
        first=before.path,
        second=after.path,
        task=task.name,
        metric=task.metric,
        examples=count,
        on=before.on,
        before=quality_before,
        after=quality_after,
        gain=gain,
        bootstrap=_bootstrap(old, new, task),
        verdict=verdict,
        sentence=f"{SENTENCES[verdict]}; one seed each, so this says nothing of their recipes",
        tests=tests,
        won=int((gains_B > _SAME).sum()),
        lost=int((gains_B < -_SAME).sum()),
        changes=tuple(_changes(sides, gains_B)),
        notes=tuple(notes),
    )


def _taken(side: _Side, places: NDArray[np.intp]) -> _Side:
    """The side with the examples at these places only, in their order."""
    outcomes = {name: values[places] for name, values in side.outcomes.items()}
    return replace(side, outcomes=outcomes)


def _qualities(outcomes: Outcomes, task: Task) -> tuple[float, NDArray[np.float64]]:
    """The quality of all, and (B,) that of each example by itself."""
    statistics = task.statistics(outcomes)
    if statistics is None:
        right_B = evidence.right(outcomes).astype(float)
        return float(right_B.mean()), right_B
    rows_BS = statistics.rows_BS
    return float(statistics.metric(rows_BS.sum(axis=0)[None])[0]), statistics.metric(rows_BS)


def _bootstrap(old: Outcomes, new: Outcomes, task: Task) -> Interval:
    """By resampling the examples of both together, whatever the metric."""
    one, other = shift.statistics(task, old), shift.statistics(task, new)
    return resample.paired_interval(one.rows_BS, other.rows_BS, one.metric)


def _tests(old: Outcomes, new: Outcomes, task: Task) -> Sequence[PairedTest]:
    if task.statistics(old) is not None:
        return task.paired_tests(old, new)
    counts = evidence.pairs(old, new)
    split = f"{counts.only_after:,} to {counts.only_before:,} where they differ"
    return [PairedTest("McNemar's exact test", evidence.mcnemar(counts), split)]


def _changes(sides: tuple[_Side, _Side], gains_B: NDArray[np.float64]) -> Iterator[Change]:
    """The examples that were answered otherwise, the largest changes first."""
    old, new = (side.task.told(side.outcomes, side.facts) for side in sides)
    changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    changed.sort(key=lambda i: -abs(gains_B[i]))
    hashes_B = sides[0].outcomes["hashes"]
    known = _Known.of(sides[0])
    for i in changed[:MOST_CHANGES]:
        name, truth = known.of_hash(int(hashes_B[i]))
        yield Change(name or f"example {i + 1}", truth, old[i], new[i], float(gains_B[i]))


@dataclass(frozen=True)
class _Known:
    """Names and truths of examples by their hashes."""

    places: Mapping[int, int]
    names: Sequence[str]
    truths: Sequence[str]

    @staticmethod
    def of(side: _Side) -> _Known:
        if side.examples is None:
            return _Known({}, (), ())
        places = {int(h): i for i, h in enumerate(side.examples.hashes.tolist())}
        truths = side.task.truths(side.examples, side.facts)
        return _Known(places, side.examples.names, truths)

    def of_hash(self, key: int) -> tuple[str, str]:
        place = self.places.get(key)
        return ("", "") if place is None else (self.names[place], self.truths[place])
