"""page_front: size and latency against score, with the front that nothing beats, and the limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from shoestring.core.exhibits import Line
from shoestring.report.front import Limits, Point, figures
from shoestring.report.page_axes import (
    LETTER,
    RIGHT,
    WIDTH,
    Axis,
    Frame,
    line,
    mark,
    path,
    picture,
    text,
)
from shoestring.report.page_charts import Figure, Key, sample
from shoestring.report.words import is_share, milliseconds, quality, short, size

FRONT, OTHER = 0, 7  # styles of points
_ONE = Line("", (0.0,), (0.0,))  # a point alone, for the legend
COLUMNS = ("", "run", "made by", "score", "95% interval", "size", "latency", "used")


@dataclass(frozen=True)
class _Measure:
    """What a score is held against."""

    title: str
    x_title: str
    of: Callable[[Point], float | None]
    limit: float | None
    shown: Callable[[float], str]


def pictures(points: Sequence[Point], metric: str, limits: Limits) -> list[Figure]:
    """Two pictures: bytes against score, and milliseconds. Each marks the front of its own two
    measures; points are numbered as in `table`."""
    measures = (
        _Measure("Size and score", "bytes that ship (fewer is better)",
                 lambda p: p.size_bytes, limits.size_bytes, size),
        _Measure("Latency and score", "median of one input (less is better)",
                 lambda p: p.latency_ms, limits.latency_ms, milliseconds),
    )  # fmt: skip
    numbered = list(enumerate(points, 1))
    found = (_picture(numbered, measure, metric, limits.quality) for measure in measures)
    return [one for one in found if one is not None]


def table(points: Sequence[Point], metric: str) -> list[list[str]]:
    """A row of `COLUMNS` for each point, numbered as in the pictures."""
    return [
        [str(number), one.name, one.made.replace(",", ", "), *figures(one, metric)]
        for number, one in enumerate(points, 1)
    ]


def _picture(
    numbered: Sequence[tuple[int, Point]], measure: _Measure, metric: str, least: float | None
) -> Figure | None:
    placed = [
        (number, x, one.quality, one)
        for number, one in numbered
        if one.quality is not None and (x := measure.of(one)) is not None and x > 0
    ]
    if not placed:
        return None
    xs = [x for _, x, _, _ in placed] + ([measure.limit] if measure.limit else [])
    ys = [y for _, _, y, _ in placed] + ([least] if least is not None else [])
    for *_, one in placed:
        ys += [one.interval.low, one.interval.high] if one.interval is not None else []
    frame = Frame(
        Axis.over(xs, lambda value: short(measure.shown(value)), log=True),
        Axis.over(
            ys,
            lambda value: short(quality(value, metric)),
            most=1.0 if is_share(metric) else inf,
        ),
        measure.x_title,
        metric,
    )
    best = _front([(x, y) for _, x, y, _ in placed])
    parts = frame.drawn()
    if measure.limit:
        ends = (frame.at(measure.limit, frame.y.low), frame.at(measure.limit, frame.y.high))
        parts.append(line(*ends, "limit"))
        across, down = ends[1]
        words = f"at most {short(measure.shown(measure.limit))}"
        fits = across + LETTER * len(words) + 4 < WIDTH - RIGHT  # what keeps to it lies at its left
        side, anchor = (4, "start") if fits else (-4, "end")
        parts.append(text(across + side, down + 12, words, anchor, "limit"))
    if least is not None:
        ends = (frame.at(frame.x.low, least), frame.at(frame.x.high, least))
        words = f"at least {short(quality(least, metric))}"
        parts.append(line(*ends, "limit"))
        parts.append(text(ends[1][0] - 4, ends[1][1] - 5, words, "end", "limit"))
    parts.append(path(_stairs(best, frame), "front"))
    for number, x, y, one in placed:
        across, down = frame.at(x, y)
        on_front = (x, y) in best
        style = FRONT if on_front else OTHER
        if one.interval is not None:
            ends = (frame.at(x, one.interval.low), frame.at(x, one.interval.high))
            parts.append(line(*ends, f"whisker s{style}"))
        parts.append(mark(across, down, style, f"{number}: {one.name}"))
    for (across, down), numbers in _labels(
        [(frame.at(x, y), number) for number, x, y, _ in placed]
    ):
        left = across > WIDTH - 2 * RIGHT
        side, anchor = (-7, "end") if left else (7, "start")
        parts.append(text(across + side, down - 6, ", ".join(numbers), anchor, "number"))
    told = "; ".join(
        f"{number}: {one.name}, {quality(y, metric)} at {measure.shown(x)}"
        + (", on the front" if (x, y) in best else "")
        for number, x, y, one in placed
    )
    keys = [Key("on the front of these two", sample(FRONT, _ONE))]
    keys += [Key("beaten by another", sample(OTHER, _ONE))] if len(best) < len(placed) else []
    if any(one.interval is not None for *_, one in placed):
        keys.append(
            Key("95% interval", picture([line((14, 0), (14, 12), "whisker s0")], "", 28, 12))
        )
    return Figure(measure.title, picture(parts, f"{measure.title}. {told}"), keys)


def _labels(
    places: Sequence[tuple[tuple[float, float], int]],
) -> list[tuple[tuple[float, float], list[str]]]:
    """The numbers of points, those of points that lie on each other as one label."""
    found: list[tuple[tuple[float, float], list[str]]] = []
    for (across, down), number in places:
        for (x, y), numbers in found:
            if abs(x - across) < 2 * LETTER and abs(y - down) < 2 * LETTER:
                numbers.append(str(number))
                break
        else:
            found.append(((across, down), [str(number)]))
    return found


def _front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other one beats, from the left: each better than all that cost less."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(set(places), key=lambda place: (place[0], -place[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _stairs(best: Sequence[tuple[float, float]], frame: Frame) -> list[tuple[float, float]]:
    """The edge of what is reached, from the bottom at the left to the right at the top."""
    corners = [(best[0][0], frame.y.low)]
    for (x, y), (following, _) in zip(best, [*best[1:], (frame.x.high, 0.0)], strict=True):
        corners += [(x, y), (following, y)]
    return [frame.at(*corner) for corner in corners]
