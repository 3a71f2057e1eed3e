"""trials: the trials of a search as a table: what was tried, what it came to, what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shoestring.core.trials import TrialLine, Trials
from shoestring.report.words import count, duration, quality

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"failed": "red", "stopped early": "dim", "cut off": "dim"}


def table(found: Trials) -> Group:
    """The best trial first, then by what they came to; under them what each range is worth."""
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    rows.add_column("trial", justify="right", no_wrap=True)
    rows.add_column(found.metric, justify="right", no_wrap=True)
    rows.add_column("steps", justify="right", no_wrap=True)
    rows.add_column("time", justify="right", no_wrap=True)
    rows.add_column("values", overflow="fold")
    for line in _ranked(found):
        mark = "*" if line.number == found.best else ""
        judged = "" if line.quality is None else quality(line.quality, found.metric)
        rows.add_row(
            f"{mark}{line.number}",
            judged,
            count(line.steps) if line.steps else "",
            duration(line.seconds) if line.seconds else "",
            _told(line),
            style=_STYLES.get(line.ending, ""),
        )
    parts: list[RenderableType] = [rows, Text("* its values were taken", style="dim")]
    for name, share in found.importance.items():
        bounds = found.ranges.get(name, "")
        parts.append(Text(f"{float(share):5.0%}  {name}, {bounds}"))
    if found.importance:
        parts.append(Text(f"importance: {found.importance_of}", style="dim"))
    return Group(*parts)


def _ranked(found: Trials) -> Sequence[TrialLine]:
    """Those that came furthest first; those that failed last."""
    return sorted(
        found.lines,
        key=lambda x: (
            x.number != found.best,
            x.ending == "failed",
            -x.part,
            -(x.quality or 0.0),
            x.number,
        ),
    )


def _told(line: TrialLine) -> Text:
    values = ", ".join(f"{name} {_shown(value)}" for name, value in line.values.items())
    origin = f"{line.origin}: " if line.origin else ""
    ending = f"; {line.ending}" if line.ending != "finished" else ""
    reason = f": {line.reason}" if line.reason else ""
    return Text(f"{origin}{values}{ending}{reason}")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
