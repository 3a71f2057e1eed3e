"""diagnosis: what `diagnose` found, as a page for a terminal, and more data as a picture."""

from __future__ import annotations

from math import log2

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shoestring.autopilot.diagnosis import Diagnosis, Fitness, Labels, MoreData
from shoestring.core.errors import UserError
from shoestring.core.receipt import Finding
from shoestring.data.names import counted
from shoestring.report.plot import Line, Plot
from shoestring.report.tables import curve, rows, section
from shoestring.report.words import all_visible, count, duration, gain, is_share, quality

MOST_SUSPECTS = 15  # shown without --details


def page(found: Diagnosis, details: bool = False) -> Group:
    """The whole diagnosis; `details` adds the longer lists."""
    found = all_visible(found)
    parts: list[RenderableType] = [_header(found)]
    if found.fitness is not None:
        parts += section("The run", Text(_capital(found.fitness.sentence)), _measured(found))
    if found.curve and (details or found.fitness is None):
        parts += section("Learning curve", curve(found.curve, found.metric))
    if found.findings:
        parts += section("Data", _findings(found.findings))
    if found.labels is not None:
        parts += _labels(found.labels, details)
    if found.more_data is not None:
        parts += section(
            "More data", Text(_capital(found.more_data.sentence)), _shares(found.more_data, found)
        )
    if found.advice:
        lines = [
            (f"{number}.", f"{advice.words}\n{advice.why}")
            for number, advice in enumerate(found.advice, start=1)
        ]
        parts += section("What to do, the first first", rows(lines))
    if found.notes:
        parts += section("Notes", *(Text(f"- {note}", style="dim") for note in found.notes))
    return Group(*parts)


def plot(found: Diagnosis) -> Plot:
    """Quality over training examples, with what twice as many would give."""
    more = found.more_data
    if more is None:
        raise UserError("there is no picture to draw: what more data would buy was not looked at")
    scale, unit = (100.0, "%") if is_share(found.metric) else (1.0, "")
    places = [log2(point.examples) for point in more.points]
    means = [scale * _mean(point.qualities) for point in more.points]
    bands = [(scale * min(p.qualities), scale * max(p.qualities)) for p in more.points]
    lines = [Line("measured", places, means, bands)]
    labels = [(x, count(p.examples)) for x, p in zip(places, more.points, strict=True)]
    doubled = more.doubled
    if doubled is not None:
        edge = (scale * doubled.low, scale * doubled.high)
        told = Line(
            f"told, {doubled.confidence:.0%}",
            [places[-1], places[-1] + 1],
            [means[-1], scale * doubled.value],
            [(means[-1], means[-1]), edge],
            dashed=True,
        )
        lines.append(told)
        labels.append((places[-1] + 1, count(2 * more.points[-1].examples)))
    title = f"What more data would buy: {found.path}"
    return Plot(title, "training examples", found.metric, lines, labels, unit)


def _header(found: Diagnosis) -> Group:
    counts = [counted(int(n), f"{split} example") for split, n in found.counts.items()]
    asked = (
        "none asked" if found.asked_seconds is None else f"{duration(found.asked_seconds)} asked"
    )
    return Group(
        Text(
            ", ".join([f"Diagnosis of {found.path}", found.task, *counts]),
            style="bold",
        ),
        Text(f"budget: {asked}, {duration(found.used_seconds)} used"),
    )


def _measured(found: Diagnosis) -> Padding:
    fitness = found.fitness
    assert isinstance(fitness, Fitness)
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    for name in ("examples", found.metric, "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, measured in (("training", fitness.training), ("validation", fitness.validation)):
        loss = "" if measured.loss is None else f"{measured.loss:.4f}"
        table.add_row(name, count(measured.examples), quality(measured.quality, found.metric), loss)
    table.add_row("gap", "", gain(fitness.gap, found.metric), "")
    return Padding(table, (1, 0, 0, 0))


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        shown = f"\n{', '.join(finding.examples[:10])}" if finding.examples else ""
        message = Text(finding.message)
        message.append(shown, style="dim")
        table.add_row(finding.kind, count(finding.count) if finding.count else "", message)
    return table


def _labels(labels: Labels, details: bool) -> list[RenderableType]:
    suspects = labels.suspects if details else labels.suspects[:MOST_SUSPECTS]
    parts: list[RenderableType] = [Text(_capital(labels.sentence))]
    if suspects:
        lines = [(s.name, s.label, s.likely, f"{s.margin:+.2f}", s.split) for s in suspects]
        header = ("example", "label", "likely", "margin", "split")
        parts.append(Padding(rows(lines, header), (1, 0, 0, 0)))
    if labels.count > len(suspects):
        rest = labels.count - len(suspects)
        parts.append(Text(f"and {counted(rest, 'more', 'more')}", style="dim"))
    parts.append(Text(f"{labels.method}, {labels.folds} fits", style="dim"))
    return section("Labels", *parts)


def _shares(more: MoreData, found: Diagnosis) -> Padding:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for name in ("training examples", f"validation {found.metric}", "loss", "epochs"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in more.points:
        shown = ", ".join(quality(q, found.metric) for q in point.qualities)
        table.add_row(count(point.examples), shown, f"{point.loss:.4f}", f"{point.epochs:.1f}")
    if more.doubled is not None:
        ends = (quality(end, found.metric) for end in (more.doubled.low, more.doubled.high))
        told = f"{quality(more.doubled.value, found.metric)} ({' to '.join(ends)})"
        table.add_row(f"{2 * more.points[-1].examples:,} would give", told, "", "")
    way = f"{more.steps:,} steps a fit, each judged by the same {more.graded:,} validation examples"
    return Padding(Group(table, Text(way, style="dim")), (1, 0, 0, 0))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
