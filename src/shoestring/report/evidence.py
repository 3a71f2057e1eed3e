"""evidence: ablations and comparisons of two runs as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import stdev
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shoestring.autopilot.design import TITLES
from shoestring.data.names import counted
from shoestring.report.tables import section
from shoestring.report.words import (
    all_visible,
    count,
    duration,
    gain,
    is_share,
    quality,
    signed,
)

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from shoestring.autopilot.ablation import Ablation, Line
    from shoestring.core.receipt import Interval
    from shoestring.report.compare import Comparison

_STYLES = {"better": "green", "worse": "red"}
LEGEND = (
    "corrupted: the same gain on examples corrupted in every way that the task knows, and half the "
    "width of its interval; seconds: of a fit, more than without it"
)
SEEN_POWER = "four times in five"
NAME_WIDTH = 29  # of a test, so that its figure and its source fit beside it


def ablation(found: Ablation, details: bool = False) -> Group:
    """The table of an ablation: a section for each kind of statement, then what was trained."""
    found = all_visible(found)
    parts: list[RenderableType] = [_head(found)]
    kinds = list(dict.fromkeys(line.kind for line in found.lines))
    for kind in kinds:
        lines = [line for line in found.lines if line.kind == kind]
        parts += section(TITLES[kind], _lines(lines, found.metric), *_footnotes(lines, found))
    if details:
        parts += section("What was trained, with its spread between seeds", _trained(found))
    parts += section("Notes", *(Text(f"- {note}") for note in (*found.notes, LEGEND)))
    return Group(*parts)


def _head(found: Ablation) -> Group:
    cells = sum(bool(result.qualities) for result in found.results)
    first = f"Ablation of {found.source}, {found.task}, {found.path}"
    second = (
        f"{counted(cells, 'recipe')}, {counted(found.seeds, 'seed')} each"
        + (f", {duration(found.fit_seconds)} a fit" if found.fit_seconds else "")
        + f"; {found.metric} on {counted(found.examples, 'example')} "
        + (
            f"of {found.folds} folds, held out in turn"
            if found.folds
            else "of validation that no fit decided on"
        )
    )
    asked = (
        "none asked" if found.asked_seconds is None else f"{duration(found.asked_seconds)} asked"
    )
    third = f"budget: {asked}, {duration(found.used_seconds)} used"
    return Group(Text(first, style="bold"), Text(second), Text(third))


def _lines(lines: Sequence[Line], metric: str) -> Table:
    of_runs = any(line.verdict == "not measured" and line.statement for line in lines)
    unit = ", points" if is_share(metric) else f", {metric}"
    header = ("technique", f"gain{unit}", "corrupted", "seconds", "" if of_runs else "verdict")
    table = _table(header, folded=(0, 4))
    for line in lines:
        said = line.statement or line.verdict
        table.add_row(
            _spaced(line.technique),
            "not measured" if line.gain is None else gain(line.gain, metric, unit=False),
            "" if line.shifted is None else _give_or_take(line.shifted, metric),
            signed(line.more_seconds, 1),
            Text(said, style=_STYLES.get(line.verdict, "")),
        )
    return table


def _table(header: Sequence[str], folded: Sequence[int] = (0,)) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, name in enumerate(header):
        justify: JustifyMethod = "right" if number in (2, 3) else "left"
        table.add_column(name, overflow="fold", no_wrap=number not in folded, justify=justify)
    return table


def _spaced(words: str) -> str:
    """With blanks at which a line can end."""
    return words.replace(",", ", ").replace(":", ": ")


def _give_or_take(bounds: Interval, metric: str) -> str:
    """`+0.31 ± 0.19` of an interval with its value in the middle, as all by t are."""
    scale = 100 if is_share(metric) else 1
    return f"{signed(scale * bounds.value)} ±{scale * (bounds.high - bounds.low) / 2:.2f}"


def _footnotes(lines: Sequence[Line], found: Ablation) -> list[RenderableType]:
    """What holds for the lines of a family: how it was computed, what could have been seen."""
    notes = []
    measured = [line for line in lines if line.gain is not None]
    if measured and measured[0].gain is not None:
        method = measured[0].gain.method
        several = " of all lines together" if "Bonferroni" in method else ""
        notes.append(f"95% intervals{several}: {method}")
    apart = [line.technique for line in measured if _told(line)]
    if apart:
        notes.append(
            f"{', '.join(apart)}: told from zero by Holm's steps, which are less strict than "
            "intervals that hold for all lines at once"
        )
    seen = [line.smallest_seen for line in measured if line.smallest_seen]
    if seen:
        least, most = (_points(value, found.metric) for value in (min(seen), max(seen)))
        between = least if least == most else f"{least} to {most}"
        notes.append(f"a true gain of {between} would be seen {SEEN_POWER}")
    for reason in dict.fromkeys(line.reason for line in lines if line.reason):
        alike = [line.technique for line in lines if line.reason == reason]
        whose = "" if len(alike) == len(lines) else f"{', '.join(alike)}: "
        notes.append(f"{whose}{reason}")
    return [Padding(Text(f"- {note}", style="dim"), 0) for note in notes]


def _told(line: Line) -> bool:
    """Whether the verdict takes a side though the interval holds zero."""
    assert line.gain is not None
    return line.verdict in _STYLES and line.gain.low <= 0 <= line.gain.high


def _points(value: float, metric: str) -> str:
    return f"{100 * value:.2f} points" if is_share(metric) else f"{value:.2f}"


def _trained(found: Ablation) -> Table:
    table = _table(("recipe", found.metric, "corrupted", "steps", "a fit"))
    for result in found.results:
        name = _spaced(str(result))
        if not result.qualities:
            table.add_row(name, "not trained", "", "", result.failure)
            continue
        mean = quality(sum(result.qualities) / len(result.qualities), found.metric)
        spread = stdev(result.qualities) if len(result.qualities) > 1 else 0.0
        shifted = [quality(sum(r) / len(r), found.metric) for r in (result.shifted,) if r]
        table.add_row(
            name,
            f"{mean} ±{quality(spread, found.metric)}" if spread else mean,
            *(shifted or [""]),
            f"{round(sum(result.steps) / len(result.steps)):,}",
            duration(sum(result.seconds) / len(result.seconds)) + f" {result.failure}",
        )
    return table


# --- two runs ------------------------------------------------------------------------------------


def comparison(found: Comparison) -> Group:
    """Both qualities, their difference with its tests, and the examples that changed."""
    found = all_visible(found)
    metric = found.metric
    sentence = Text(found.sentence, style=_STYLES.get(found.verdict, ""))
    figures = Table.grid(padding=(0, 3, 0, 0))
    figures.add_column(max_width=NAME_WIDTH)
    figures.add_column(no_wrap=True)
    figures.add_column(overflow="fold")
    figures.add_row("first", quality(found.before, metric), found.first)
    figures.add_row("second", quality(found.after, metric), found.second)
    figures.add_row("gain", gain(found.gain, metric), found.gain.method)
    if found.bootstrap.method not in found.gain.method:
        figures.add_row("", gain(found.bootstrap, metric), found.bootstrap.method)
    for test in found.tests:
        figures.add_row(test.name, f"p = {test.p_value:.2g}", test.signature)
    on = f"{counted(found.examples, 'example')} of {found.on}"
    parts: list[RenderableType] = [
        Text(f"{metric} on {on}", style="bold"),
        sentence,
        Text(""),
        figures,
    ]
    parts += [Text(f"- {note}", style="dim") for note in found.notes]
    title = f"What changed: {count(found.won)} won, {count(found.lost)} lost by the second"
    if found.changes:
        truths = any(change.truth for change in found.changes)
        header = ["example", *(["is"] if truths else []), "first", "second", "gain"]
        lines = [
            [
                change.name,
                *([change.truth] if truths else []),
                change.before,
                change.after,
                f"{change.gained:+.3g}",
            ]
            for change in found.changes
        ]
        parts += section(title, _rows(lines, header))
    else:
        parts += [Text(""), Text("both answered all of them alike")]
    return Group(*parts)


def _rows(lines: Sequence[Sequence[str]], header: Sequence[str]) -> Table:
    """Columns that share the width, for answers may be sentences."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in header:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table
