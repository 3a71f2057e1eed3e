"""plot: lines over an axis as an SVG file, which every browser shows. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from shoestring.core.errors import UserError

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 40, 50  # of the frame; the legend stands to the right
# Told apart by people who see fewer colors, too (Okabe & Ito 2008).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


@dataclass(frozen=True)
class Line:
    """Points from left to right; `band` holds the lowest and highest y beside each, where known."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    band: Sequence[tuple[float, float]] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture of lines. `x_labels` stand below the places of the same number."""

    title: str
    x_title: str
    y_title: str
    lines: Sequence[Line]
    x_labels: Sequence[tuple[float, str]]
    y_unit: str = ""  # behind the numbers at the left


def svg(plot: Plot) -> str:
    """The picture as text."""
    every_x = [x for line in plot.lines for x in line.xs] + [x for x, _ in plot.x_labels]
    every_y = [y for line in plot.lines for y in line.ys]
    every_y += [y for line in plot.lines for pair in line.band for y in pair]
    low_x, high_x = _widened(min(every_x), max(every_x), 0.02)
    low_y, high_y = _widened(min(every_y), max(every_y), 0.05)

    def place(x: float, y: float) -> str:
        across = LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    side = _text(-(TOP + HEIGHT - BOTTOM) / 2, 16, plot.y_title, anchor="middle")
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, plot.title, size=14),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, plot.x_title, anchor="middle"),
        f'<g transform="rotate(-90)">{side}</g>',
    ]
    for step in range(5):
        y = low_y + (high_y - low_y) * step / 4
        ends = place(low_x, y), place(high_x, y)
        parts.append(f'<polyline points="{" ".join(ends)}" stroke="#ddd" fill="none"/>')
        down = float(ends[0].partition(",")[2])
        parts.append(_text(LEFT - 6, down + 4, f"{y:.3g}{plot.y_unit}", anchor="end"))
    for x, label in plot.x_labels:
        across = float(place(x, low_y).partition(",")[0])
        parts.append(_text(across, HEIGHT - BOTTOM + 16, label, anchor="middle"))
    for number, line in enumerate(plot.lines):
        parts += _drawn(line, _COLORS[number % len(_COLORS)], number, place)
    return "\n".join([*parts, "</svg>\n"])


def check(path: str | os.PathLike[str]) -> None:
    """Raises UserError for a file that no picture can be written to, before any work is done."""
    file = Path(path)
    if file.suffix.lower() != ".svg":
        raise UserError(f"a plot is an SVG file: name it {file.with_suffix('.svg')}, not {file}")
    if not file.parent.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {file.parent}")


def write(plot: Plot, path: str | os.PathLike[str]) -> None:
    """Writes the picture; UserError where the file cannot be written or is called otherwise."""
    check(path)
    try:
        Path(path).write_text(svg(plot), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _drawn(line: Line, color: str, number: int, place: Callable[[float, float], str]) -> list[str]:
    found = []
    if line.band:
        upper = [place(x, high) for x, (_, high) in zip(line.xs, line.band, strict=True)]
        lower = [place(x, low) for x, (low, _) in zip(line.xs, line.band, strict=True)]
        edge = " ".join([*upper, *reversed(lower)])
        found.append(f'<polygon points="{edge}" fill="{color}" opacity="0.2"/>')
    points = [place(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    drawn = f'stroke="{color}" stroke-width="2" fill="none"{dash}'
    found.append(f'<polyline points="{" ".join(points)}" {drawn}/>')
    for point in points:
        x, _, y = point.partition(",")
        found.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>')
    down = TOP + 10 + 18 * number
    begin = WIDTH - RIGHT + 12
    found.append(f'<polyline points="{begin},{down} {begin + 20},{down}" {drawn}/>')
    found.append(_text(begin + 26, down + 4, line.name))
    return found


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    shown = escape(words)
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{shown}</text>"
