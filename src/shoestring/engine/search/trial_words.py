"""trial_words: trials and what came of a search, in words. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoestring.core.quantity import plain_quality
from shoestring.core.trials import TrialLine, Trials, counted_endings
from shoestring.data.names import counted
from shoestring.engine.search.study import DEFAULTS

if TYPE_CHECKING:
    from shoestring.engine.search.trial import Search

MOST_REASONS = 3  # of trials that failed, in one line


def trial(line: TrialLine, metric: str) -> str:
    """One trial, for whoever watches."""
    what = ""
    if line.quality is not None:
        what = f"{metric} {plain_quality(line.quality, metric)} after {counted(line.steps, 'step')}"
    values = ", ".join(f"{name} {shown(value)}" for name, value in line.values.items())
    ending = line.ending if line.ending != "finished" else ""
    return "; ".join(filter(None, (what, ending, line.reason, _origin(line), values)))


def summary(search: Search, trials: Trials, best: TrialLine) -> str:
    """The whole search, for its line on the receipt."""
    endings = counted_endings(trials.lines)
    ended = ", ".join(f"{count} {ending}" for ending, count in endings.items() if count)
    count, examples = counted(len(trials.lines), "trial"), counted(trials.examples, "example")
    tried = f"{count} in {trials.seconds:.0f} s ({ended}), a whole one of {search.length}"
    quality = plain_quality(best.quality or 0.0, trials.metric)
    found = f"{trials.metric} {quality} after {counted(best.steps, 'step')}"
    parts = [
        f"{tried}, judged on {examples} of validation",
        f"best was trial {best.number}, {found}{_beside(trials, best)}{_changes(search, best)}",
    ]
    worth = ", ".join(f"{name} {share:.0%}" for name, share in trials.importance.items())
    parts += [f"importance: {worth}"] if worth else []
    if trials.warm_starts:
        parts.append(f"began with the values of {' and '.join(trials.warm_starts)}")
    return "; ".join([*parts, *_failures(trials.lines), *trials.notes])


def _beside(trials: Trials, best: TrialLine) -> str:
    first = next((line for line in trials.lines if line.origin == DEFAULTS), None)
    if first is None or first.quality is None or first is best:
        return ""
    after = "" if first.part == best.part else f" after {counted(first.steps, 'step')}"
    return f" ({plain_quality(first.quality, trials.metric)} with the defaults{after})"


def _changes(search: Search, best: TrialLine) -> str:
    if best.origin == DEFAULTS:
        return ""
    before = search.defaults
    changed = [
        f"{name} {shown(value)}" + (f" (was {shown(before[name])})" if name in before else "")
        for name, value in best.values.items()
    ]
    return f": {', '.join(changed)}"


def _failures(lines: Sequence[TrialLine]) -> list[str]:
    failed = [line for line in lines if line.ending == "failed"]
    said = [f"trial {line.number} failed: {line.reason}" for line in failed[:MOST_REASONS]]
    more = len(failed) - MOST_REASONS
    return [*said, f"{more} more failed"] if more > 0 else said


def _origin(line: TrialLine) -> str:
    if not line.origin:
        return ""
    return "the defaults" if line.origin == DEFAULTS else f"as in {line.origin}"


def shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
