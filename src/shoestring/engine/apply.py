"""apply: applies a technique to a run and writes its receipt. The only place that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

from shoestring import plugins
from shoestring.bundle.grade import read_outcomes
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import UserError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Interval, Receipt, Scores, Verdict
from shoestring.core.run import Run, name_of
from shoestring.core.techniques import Finisher, Hook, Technique
from shoestring.engine import evidence, part, store


def apply(technique: Technique, run: Run, budget: Budget) -> Run:
    """The run that the technique makes of `run`, with one receipt more.

    An edit of a recipe is not measured here: its gain shows only beside a run without it. A
    technique on a trained run is measured against its parent.
    """
    if isinstance(technique, Finisher) and technique.finishes and not run.trained:
        raise UserError(f"{_name(technique)} works on a trained run: train one first")
    for one in _every(technique, run) if run.trained else ():
        if (one.path / store.OUTCOMES).is_file():
            read_outcomes(one.path / store.OUTCOMES)  # damaged ones are told before the work
    with budget.meter() as meter:
        after = technique.apply(run, budget)
    gain: Interval | None = None
    verdict: Verdict = "not measured"
    reason, parent = "", run
    found: dict[str, object] = {}
    own = after.receipts[-1] if len(after.receipts) > len(run.receipts) else None
    if own is not None and own.technique == plugins.words(technique) and not run.trained:
        # It has measured its gain itself, on runs of its own.
        gain, verdict, reason, found = own.gain, own.verdict, own.reason, dict(own.options)
        after = replace(after, receipts=after.receipts[:-1])
    elif not run.trained:
        reason = "no run without it to compare with; train one with --without " + _name(technique)
    elif after.path != run.path:
        parent = _best_of(technique, run)
        gain, verdict, reason = _gained(technique, parent, after)
        if parent is not run:
            over = f"the gain is over {parent.path}, the best of the runs"
            reason = f"{over}; {reason}" if reason else over
    receipt = Receipt(
        technique=plugins.words(technique),
        options={**to_plain(technique), **found},
        before=parent.scores,
        after=after.scores,
        gain=gain,
        verdict=verdict,
        reason=reason,
        cost=meter.cost,
        signature=after.scores.signature if after.scores else "",
        at=now(),
    )
    return after.with_receipt(receipt)


def _best_of(technique: Technique, run: Run) -> Run:
    """Of the runs that a technique takes, the one that scored best: over a poor one that happened
    to be named first, anything would be a gain."""

    def quality(one: Run) -> float:
        return -inf if one.scores is None or one.scores.quality is None else one.scores.quality

    return max(_every(technique, run), key=quality)  # the first of equals


def _every(technique: Technique, run: Run) -> list[Run]:
    """All the runs that a technique on finished runs takes."""
    if not isinstance(technique, Finisher) or not technique.takes:
        return [run]
    return [run, *(store.read(path) for path in getattr(technique, technique.takes))]


def _gained(technique: Technique, run: Run, after: Run) -> tuple[Interval | None, Verdict, str]:
    """The paired gain over the parent, on examples that the technique decided nothing on."""
    before, now = run.path / store.OUTCOMES, after.path / store.OUTCOMES
    if not before.is_file():
        return None, "not measured", f"{run.path} has no outcomes to compare with"
    left_out = None
    if getattr(technique, "chooses", False):
        rows = len(read_outcomes(before)["hashes"])
        left_out = part.decided(rows)
    return evidence.gain(before, now, plugins.task(run.task), left_out)


def edited(techniques: tuple[Technique, ...], run: Run, budget: Budget) -> Run:
    """The untrained run with every technique's edit in its recipe, in order. Raises UserError for
    the same technique twice, and for two that contradict each other."""
    names = [_name(t) for t in techniques]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name} was given twice; give all its options at once")
    for technique in techniques:
        _agreed(technique, run)
        run = apply(technique, run, budget)
    return run


def _agreed(technique: Technique, run: Run) -> None:
    """Raises UserError, naming both, where one that the run has decides the same."""
    if not isinstance(technique, Hook):
        return
    for words in run.recipe.hooks:
        other = plugins.technique(words)
        if not isinstance(other, Hook) or _name(other) == _name(technique):
            continue
        for what in technique.decides:
            if what in other.decides:
                raise UserError(
                    f"{words} and {plugins.words(technique)} both decide {what}; take one of them"
                )


def noted(
    run: Run,
    what: str,
    *,
    cost: Cost = Cost(),
    after: Scores | None = None,
    reason: str = "",
    options: dict[str, object] | None = None,
) -> Run:
    """The run with a line for work that is no technique: data, fit, export, an opened test."""
    line = Receipt(
        technique=what,
        options=options or {},
        after=after,
        verdict="not measured",
        reason=reason,
        cost=cost,
        signature=after.signature if after else "",
        at=now(),
    )
    return replace(run, receipts=(*run.receipts, line))


def closed(
    run: Run,
    asked: float | None,
    used: float,
    told: float | None = None,
    options: Mapping[str, object] | None = None,
) -> Run:
    """The run with the last two lines of its receipt: the seconds that no line tells of, and the
    whole. `told` are those that lines tell of; None: the sum of all lines."""
    if told is None:
        told = sum(line.cost.wall_seconds for line in run.receipts)
    run = noted(run, "start and imports", cost=Cost(wall_seconds=max(0.0, used - told)))
    figures = {"asked_seconds": asked, "used_seconds": used, **(options or {})}
    return noted(run, "total", cost=Cost(wall_seconds=used), options=figures)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _name(technique: Technique) -> str:
    return name_of(plugins.words(technique))
