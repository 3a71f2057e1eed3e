"""page_charts: lines and bars of a page, each with a legend and its figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite

from shoestring.core.exhibits import Chart, Line
from shoestring.report.page_axes import Axis, Drawing, Frame, box, line, mark, path, picture

MOST_ROWS = 30  # of the table of figures; evenly spread where there are more
BAR_WIDTH = 0.7  # of the room that a bar has
MOST_MARKS = 40  # points of a line that are marked


@dataclass(frozen=True)
class Key:
    """A line of a legend: what a series looks like, and its name."""

    name: str
    drawing: Drawing


@dataclass(frozen=True)
class Figure:
    """A picture with what stands around it; `columns` and `rows` are its figures in words."""

    title: str
    drawing: Drawing
    keys: Sequence[Key] = ()
    note: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def figure(chart: Chart, marks: Sequence[tuple[float, str]] = ()) -> Figure | None:
    """The chart drawn; `marks` are places on x at which something happened. None where it has no
    point."""
    lines = [drawn for drawn in map(_finite, chart.lines) if len(drawn.xs)]
    if not lines:
        return None
    frame = _frame(chart, lines)
    parts = frame.drawn()
    for x, _ in marks:
        parts.append(line(frame.at(x, frame.y.low), frame.at(x, frame.y.high), "event"))
    for number, series in enumerate(lines):
        parts += (
            _bars(series, number, frame, lines) if series.bars else _line(series, number, frame)
        )
    keys = [Key(series.name, sample(n, series)) for n, series in enumerate(lines)]
    said = f"{chart.title}: {'; '.join(_told(series, frame) for series in lines)}"
    happened = "; ".join(f"at {frame.x.shown(x)}: {what}" for x, what in marks)
    note = ". ".join(filter(None, (chart.note, f"Dotted: {happened}" if happened else "")))
    columns, rows = _figures(chart, [s for s in lines if s.marked or s.bars], frame)
    return Figure(chart.title, picture(parts, said), keys, note, columns, rows)


def _finite(series: Line) -> Line:
    """Without the points that have no place: a loss that overflowed."""
    points = [(x, y) for x, y in zip(series.xs, series.ys, strict=True) if isfinite(x + y)]
    if len(points) == len(series.xs):
        return series
    return replace(series, xs=[x for x, _ in points], ys=[y for _, y in points])


def sample(number: int, series: Line) -> Drawing:
    """A piece of a line, a bar or a point, for a legend."""
    if series.bars:
        parts = [box(8, 0, 12, 12, f"bar s{number % 8}")]
    else:
        dashed = " dashed" if series.dashed else ""
        parts = [path([(1, 6), (27, 6)], f"line s{number % 8}{dashed}")] * (
            series.joined and len(series.xs) > 1
        )
        parts += [mark(14, 6, number)] * series.marked
    return picture(parts, "", 28, 12)


def _frame(chart: Chart, lines: Sequence[Line]) -> Frame:
    xs = [x for series in lines for x in series.xs] + [x for x, _ in chart.x_labels]
    ys = [y for series in lines for y in series.ys]
    shown = _percent if chart.y_share else _plain
    most = 1.0 if chart.y_share else inf
    y = Axis.over([*ys, 0.0] if chart.y_from_zero else ys, shown, most=most)
    if chart.y_from_zero and min(ys) >= 0:
        y = Axis(0.0, y.high, shown)
    x = Axis.over([*xs, 0.0] if chart.x_from_zero else xs, _plain)
    if chart.x_from_zero and min(xs) >= 0:
        x = Axis(0.0, x.high, _plain)
    if any(series.bars for series in lines):
        half = _room(lines) / 2 if len(xs) > 1 else 2.0
        x = Axis(min(x.low, min(xs) - half), max(x.high, max(xs) + half), _plain)
    return Frame(x, y, chart.x_title, chart.y_title, list(chart.x_labels) or None)


def _room(lines: Sequence[Line]) -> float:
    """That each bar has: the least distance between two of them."""
    xs = sorted({x for series in lines if series.bars for x in series.xs})
    return min((b - a for a, b in pairwise(xs)), default=1.0)


def _line(series: Line, number: int, frame: Frame) -> list[str]:
    points = [frame.at(x, y) for x, y in zip(series.xs, series.ys, strict=True)]
    dashed = " dashed" if series.dashed else ""
    joined = series.joined and len(points) > 1
    parts = [path(points, f"line s{number % 8}{dashed}")] if joined else []
    if series.marked and (len(points) <= MOST_MARKS or not joined):
        parts += [mark(*point, number) for point in points]
    return parts


def _bars(series: Line, number: int, frame: Frame, lines: Sequence[Line]) -> list[str]:
    half = _room(lines) * BAR_WIDTH / 2
    parts = []
    for x, y in zip(series.xs, series.ys, strict=True):
        (left, top), (right, bottom) = frame.at(x - half, y), frame.at(x + half, 0.0)
        parts.append(box(left, top, right - left, bottom - top, f"bar s{number % 8}"))
    return parts


def _told(series: Line, frame: Frame) -> str:
    """What a line shows, in words."""
    first, last = series.ys[0], series.ys[-1]
    shown = frame.y.shown
    if len(series.ys) == 1:
        return f"{series.name} {shown(first)}"
    least, most = shown(min(series.ys)), shown(max(series.ys))
    return (
        f"{series.name} from {shown(first)} at the left to {shown(last)} at the right, "
        f"between {least} and {most}"
    )


def _figures(
    chart: Chart, lines: Sequence[Line], frame: Frame
) -> tuple[list[str], list[list[str]]]:
    """The points of all lines, a row for each place on x."""
    by_place = [dict(zip(series.xs, series.ys, strict=True)) for series in lines]
    places = sorted({x for points in by_place for x in points})
    if len(places) > MOST_ROWS:
        places = [places[(n + 1) * len(places) // MOST_ROWS - 1] for n in range(MOST_ROWS)]
    named = dict(chart.x_labels)
    rows = [
        [
            named.get(x, frame.x.shown(x)),
            *(frame.y.shown(points[x]) if x in points else "" for points in by_place),
        ]
        for x in places
    ]
    return [chart.x_title, *(series.name for series in lines)], rows


def _plain(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000 and value == round(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{round(100 * value, 2):g}%"
