"""shift: how quality falls under shift, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from shoestring.core.plain import from_plain
from shoestring.core.receipt import Interval, Plain, Scores
from shoestring.report.plot import Line, Plot
from shoestring.report.words import gain, is_share, quality

SHIFT = "shift"  # among the details of scores


def table(rows: Sequence[Plain], metric: str) -> Table:
    """A line for each kind, a column for each severity, and the change at the last of them."""
    clean, kinds, severities = _read(rows)
    found = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    found.add_column("kind", no_wrap=True)
    for place, severity in enumerate(severities):
        name = str(severity) if place else f"severity {severity}"
        found.add_column(name, justify="right", no_wrap=True)
    found.add_column(f"change at {severities[-1]} [95%]", no_wrap=True)
    found.add_row("as it is", quality(clean, metric))
    for kind, lines in kinds.items():
        change = from_plain(Interval, lines[-1]["change"])
        cells = [quality(float(line["quality"]), metric) for line in lines]
        found.add_row(kind, *cells, gain(change, metric))
    return found


def plot(scores: Scores) -> Plot:
    """Quality over severity, a line for each kind."""
    clean, kinds, severities = _read(scores.details[SHIFT])
    scale, unit = (100.0, "%") if is_share(scores.metric) else (1.0, "")
    lines = [
        Line(
            kind,
            [0, *(float(line["severity"]) for line in rows)],
            [scale * clean, *(scale * float(line["quality"]) for line in rows)],
        )
        for kind, rows in kinds.items()
    ]
    labels = [(0.0, "as it is"), *((float(s), str(s)) for s in severities)]
    title = f"{scores.metric} under shift, {scores.split or 'examples'}"
    return Plot(title, "severity", scores.metric, lines, labels, unit)


def _read(rows: Sequence[Plain]) -> tuple[float, dict[str, list[Plain]], list[int]]:
    """The quality without a shift, the lines of each kind by severity, and the severities."""
    clean = next(float(line["quality"]) for line in rows if line["severity"] == 0)
    kinds: dict[str, list[Plain]] = {}
    for line in sorted(rows, key=lambda line: int(line["severity"])):
        if line["severity"]:
            kinds.setdefault(str(line["kind"]), []).append(line)
    return clean, kinds, sorted({int(line["severity"]) for line in rows if line["severity"]})
