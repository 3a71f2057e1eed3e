"""shift: how quality falls when inputs are corrupted as its task knows to spoil them. No torch.

Shapes: B examples, S statistics of each, K conditions (a kind at a severity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring import plugins
from shoestring.bundle.bundle import Bundle
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Examples, Outcomes, Progress, Statistics, Task, silent
from shoestring.core.receipt import Interval, Scores
from shoestring.data import resample
from shoestring.engine import evidence

SEVERITIES = (1, 3, 5)
MOST_EXAMPLES = 1_000  # of a split that are corrupted, evenly spread: each is answered many times


@dataclass(frozen=True)
class Condition:
    """The answers to examples that were corrupted in one way."""

    kind: str
    severity: int
    outcomes: Outcomes


@dataclass(frozen=True)
class Shifted:
    """Some examples in every condition."""

    positions: NDArray[np.int64]  # (B,) in the split that they are of
    hashes: NDArray[np.uint64]  # (B,)
    conditions: tuple[Condition, ...]
    statistics: Statistics  # whose metric is the mean quality over the conditions

    def quality(self) -> Interval:
        """The mean quality over the conditions; whole examples are resampled, with all that
        became of them."""
        return resample.interval(self.statistics.rows_BS, self.statistics.metric)


def shifted(
    opened: Bundle,
    examples: Examples,
    *,
    severities: Sequence[int] = SEVERITIES,
    most: int = MOST_EXAMPLES,
    progress: Progress = silent,
) -> Shifted:
    """The bundle's answers to at most so many of the examples in every kind of shift that its task
    knows. The same examples are corrupted alike for every bundle, so that bundles can be paired."""
    task = plugins.task(opened.manifest["task"])
    count = min(len(examples), most)
    positions = np.arange(count, dtype=np.int64) * len(examples) // max(1, count)
    some = examples.part(positions)
    wanted = [(kind, severity) for kind in task.shifts for severity in severities]
    conditions = []
    for done, (kind, severity) in enumerate(wanted):
        progress("answering corrupted examples", done, len(wanted))
        outcomes = opened.predictor.outcomes(task.shifted(some, kind, severity), silent)
        conditions.append(Condition(kind, severity, outcomes))
    progress("answering corrupted examples", len(wanted), len(wanted))
    each = [statistics(task, condition.outcomes) for condition in conditions]
    return Shifted(positions, np.asarray(some.hashes), tuple(conditions), side_by_side(each))


def gain(before: Shifted, after: Shifted, confidence: float = 0.95) -> Interval:
    """The gain in mean quality under shift, paired over examples, one seed each. The two must be
    of the same examples."""
    if not np.array_equal(before.hashes, after.hashes):
        raise ValueError("the two were not measured on the same examples")
    one, other = before.statistics, after.statistics
    found = resample.paired_interval(one.rows_BS, other.rows_BS, one.metric, confidence)
    return replace(found, method=f"{found.method}, one seed each")


def statistics(task: Task, outcomes: Outcomes) -> Statistics:
    """What the task's metric is resampled from, also where it is the share of right answers."""
    found = task.statistics(outcomes)
    if found is not None:
        return found
    right_B = np.asarray(outcomes["right"], np.float64)
    return Statistics(np.stack([right_B, np.ones_like(right_B)], axis=1), _share)


def _share(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums_RS[:, 0] / np.maximum(sums_RS[:, 1], 1.0))


def side_by_side(each: Sequence[Statistics]) -> Statistics:
    """Statistics of the same examples in K conditions as one, whose metric is the mean."""
    widths = [one.rows_BS.shape[1] for one in each]
    ends = np.cumsum(widths)[:-1]
    metric = each[0].metric

    def mean(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
        qualities = [metric(part) for part in np.split(sums_RS, ends, axis=1)]
        return np.asarray(np.mean(qualities, axis=0))

    return Statistics(np.concatenate([one.rows_BS for one in each], axis=1), mean)


def added(scores: Scores, found: Shifted, outcomes: Outcomes, task: Task) -> Scores:
    """The scores with what became of them under shift among their details: `shift`, a row for
    each condition with quality and fall, and the mean quality. `outcomes` are of the whole split
    as it is."""
    as_it_is = {name: values[found.positions] for name, values in outcomes.items()}
    clean = _quality(task, as_it_is)
    rows: list[dict[str, Any]] = [{"kind": "as it is", "severity": 0, "quality": clean}]
    for condition in found.conditions:
        fall = evidence.paired(as_it_is, condition.outcomes, task)
        quality = _quality(task, condition.outcomes)
        line = {"kind": condition.kind, "severity": condition.severity, "quality": quality}
        rows.append({**line, "change": to_plain(fall)})
    mean = found.quality()
    name = f"shifted_{scores.metric}"
    severities = ", ".join(str(s) for s in sorted({c.severity for c in found.conditions}))
    how = (
        f"mean over {len({c.kind for c in found.conditions})} kinds of shift at severities "
        f"{severities} of 5, on {len(found.positions):,} examples"
    )
    details = {
        **scores.details,
        name: mean.value,
        f"{name}_signature": how,
        "shift": rows,
        "shift_interval": to_plain(mean),
    }
    return replace(scores, details=details)


def _quality(task: Task, outcomes: Outcomes) -> float:
    found = statistics(task, outcomes)
    return float(found.metric(found.rows_BS.sum(axis=0)[None])[0])
