"""front: several runs side by side, and which of them no other one beats in everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from shoestring.core.receipt import Interval, Plain, Scores
from shoestring.core.run import name_of
from shoestring.report.words import all_visible, duration, milliseconds, quality, size

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from shoestring.report.sheet import Sheet

MADE_ON = ("split", "examples", "trained_on")  # of a signature: what makes figures comparable
NOTE = (
    "* on the front: no other one is at least as good, as small and as fast, and better in one of "
    "them. Whether a difference is real: shoestring compare RUN RUN"
)


@dataclass(frozen=True)
class Point:
    """What a run or a bundle is worth, and what it weighs."""

    name: str
    quality: float | None
    interval: Interval | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None  # median of the model alone
    seconds: float = 0.0
    made: str = ""  # how: its network, or its last technique
    front: bool = False


@dataclass(frozen=True)
class Limits:
    """What a model was asked to keep to."""

    size_bytes: float | None = None
    latency_ms: float | None = None
    quality: float | None = None


@dataclass(frozen=True)
class Field:
    """Points that may be compared: of one task and metric, measured on the same examples."""

    title: str
    metric: str
    points: tuple[Point, ...]


def fields(sheets: Sequence[Sheet]) -> tuple[Field, ...]:
    """The sheets in fields, in each the best first."""
    together: dict[tuple[str, ...], list[Sheet]] = {}
    for sheet in sheets:
        together.setdefault(_measured_on(sheet), []).append(sheet)
    found = []
    for alike in together.values():
        scores = alike[0].scores or Scores()
        points = marked([point(sheet) for sheet in alike])
        points.sort(key=lambda p: -inf if p.quality is None else p.quality, reverse=True)
        source = next((s.recipe.source for s in alike if s.recipe is not None), "")
        on = (
            f"{scores.examples:,} examples of {scores.split}" if scores.examples else "not measured"
        )
        title = ", ".join(filter(None, (alike[0].task, source, on)))
        found.append(Field(title, scores.metric, tuple(points)))
    return tuple(found)


def _measured_on(sheet: Sheet) -> tuple[str, ...]:
    scores = sheet.scores or Scores()
    parts = dict(part.partition(":")[::2] for part in scores.signature.split("|"))
    return (sheet.task, scores.metric, *(parts.get(name, "") for name in MADE_ON))


def point(sheet: Sheet) -> Point:
    scores = sheet.scores or Scores()
    made = str(sheet.lineage.get("technique", "")) or sheet.network
    return Point(
        sheet.path,
        scores.quality,
        scores.interval,
        scores.size_bytes,
        _median(scores.latency_ms.get("model")),
        sheet.used_seconds,
        made,
    )


def ancestors(branch: Plain) -> list[Point]:
    """The runs that one was made from, each once, oldest last."""
    found: dict[str, Point] = {}
    todo = list(branch.get("parents", ()))
    while todo:
        one = todo.pop(0)
        found.setdefault(
            str(one["path"]),
            Point(
                str(one["path"]),
                one["quality"],
                None,
                one["size_bytes"],
                _median(one.get("latency_ms")),
                float(one["seconds"] or 0.0),
                str(one["technique"]),
            ),
        )
        todo += one["parents"]
    return list(found.values())


def _median(timing: Plain | None) -> float | None:
    found = (timing or {}).get("median")
    return float(found) if isinstance(found, (int, float)) else None


def limits(sheets: Sequence[Sheet]) -> Limits:
    """Those that the commands were given, the strictest of several."""
    said = [sheet.limits for sheet in sheets]

    def of(name: str) -> list[float]:
        return [getattr(one, name) for one in said if getattr(one, name) is not None]

    return Limits(
        min(of("size_bytes"), default=None),
        min(of("latency_ms"), default=None),
        max(of("quality"), default=None),
    )


# --- the front -----------------------------------------------------------------------------------


def marked(points: Sequence[Point]) -> list[Point]:
    """The same points, those on the Pareto front of quality, bytes and latency marked."""
    return [replace(one, front=_on_front(one, points)) for one in points]


def _on_front(one: Point, points: Sequence[Point]) -> bool:
    return one.quality is not None and not any(_beats(other, one) for other in points)


def _beats(one: Point, other: Point) -> bool:
    """Whether one is as good in everything, and better in something. What was not measured of a
    run cannot speak for it."""
    mine, yours = _costs(one), _costs(other)
    return all(a <= b for a, b in zip(mine, yours, strict=True)) and mine != yours


def _costs(one: Point) -> tuple[float, float, float]:
    return (
        inf if one.quality is None else -one.quality,
        inf if one.size_bytes is None else one.size_bytes,
        inf if one.latency_ms is None else one.latency_ms,
    )


# --- in a terminal -------------------------------------------------------------------------------


def side_by_side(sheets: Sequence[Sheet]) -> Group:
    """A table for each field, the best first, with the front marked."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from shoestring.report.tables import section

    parts: list[RenderableType] = []
    for number, field in enumerate(all_visible(fields(sheets))):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("", no_wrap=True)
        table.add_column("run", overflow="fold")
        table.add_column("made by", overflow="fold", style="dim")
        for name in (field.metric or "quality", "95% interval", "size", "latency", "used"):
            table.add_column(name, justify="right", no_wrap=True)
        for one in field.points:
            table.add_row(
                "*" if one.front else "",
                Text(one.name, style="bold" if one.front else ""),
                name_of(one.made),
                *figures(one, field.metric),
            )
        titled = section(field.title, table)
        parts += titled if number else titled[1:]
    parts += [Text(""), Text(NOTE, style="dim")]
    return Group(*parts)


def figures(one: Point, metric: str) -> tuple[str, str, str, str, str]:
    """Quality, its interval, bytes, latency and seconds, in words; "" for what is not known."""
    bounds = one.interval
    return (
        "" if one.quality is None else quality(one.quality, metric),
        ""
        if bounds is None
        else f"{quality(bounds.low, metric)} to {quality(bounds.high, metric)}",
        "" if one.size_bytes is None else size(one.size_bytes),
        "" if one.latency_ms is None else milliseconds(one.latency_ms),
        duration(one.seconds) if one.seconds else "",
    )
