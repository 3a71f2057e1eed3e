"""page_trials: the trials of a search on a page: how it went, what was tried, what mattered."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from shoestring.core.exhibits import Chart, Exhibit, Line, Table
from shoestring.core.trials import TrialLine, Trials
from shoestring.report.words import count, duration, is_share, quality


def exhibits(found: Trials) -> list[Exhibit]:
    """What each trial came to, the table of all, and the importance of each range."""
    shown: list[Exhibit] = []
    judged = [line for line in found.lines if line.quality is not None]
    if len(judged) > 1:
        numbers = [float(line.number) for line in judged]
        qualities = [float(line.quality or 0.0) for line in judged]
        best = Line(
            "best so far", numbers, list(accumulate(qualities, max)), dashed=True, marked=False
        )
        each = Line("trial", numbers, qualities, joined=False)
        shown.append(
            Chart(
                "Trials",
                "trial",
                found.metric,
                (each, best),
                y_share=is_share(found.metric),
                y_from_zero=False,
                note=" ".join(found.notes),
            )
        )
    ranges = list(dict.fromkeys(name for line in found.lines for name in line.values))
    columns = ("trial", found.metric, "steps", "time", *ranges, "how it ended")
    rows = [_row(line, found, ranges) for line in found.lines]
    shown.append(Table("What was tried", columns, rows, "* its values were taken"))
    if found.importance:
        shown.append(
            Table(
                "What mattered",
                ("range", "importance", "between"),
                [
                    (name, f"{float(share):.0%}", str(found.ranges.get(name, "")))
                    for name, share in found.importance.items()
                ],
                f"importance: {found.importance_of}" if found.importance_of else "",
            )
        )
    return shown


def _row(line: TrialLine, found: Trials, ranges: list[str]) -> list[str]:
    ending = ": ".join(filter(None, (line.ending, line.reason)))
    return [
        f"{line.number}{'*' * (line.number == found.best)}",
        "" if line.quality is None else quality(line.quality, found.metric),
        count(line.steps) if line.steps else "",
        duration(line.seconds) if line.seconds else "",
        *(_value(line.values.get(name, "")) for name in ranges),
        f"{ending} ({line.origin})" if line.origin else ending,
    ]


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
