"""page_axes: the axes of a picture on a page: what lies where, round numbers, and a frame of SVG.

Colors, faces and sizes are the style sheet's, so that one picture is for light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, inf, log10

from shoestring.report.words import harmless

WIDTH, HEIGHT = 420, 270  # of a picture; narrow, so that its words can be read on a phone
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 26, 42  # of the frame; the title of y stands above it
TICKS = 5
LETTER = 6.8  # pixels that a letter takes, about
_ROOM = 0.04  # of an axis, at either end beyond what is drawn


@dataclass(frozen=True)
class Drawing:
    """SVG that is written into a page as it is; everything in it was escaped when it was made."""

    svg: str

    def __html__(self) -> str:
        return self.svg


@dataclass(frozen=True)
class Axis:
    """Values from low to high, evenly or by their logarithm."""

    low: float
    high: float
    shown: Callable[[float], str]
    log: bool = False

    @staticmethod
    def over(
        values: Sequence[float],
        shown: Callable[[float], str],
        *,
        log: bool = False,
        most: float = inf,
    ) -> Axis:
        """Around these values, with some room, but never above `most`."""
        low, high = min(values), max(values)
        if log:
            low, high = log10(low), log10(high)
            room = (high - low) * _ROOM or 0.15
            return Axis(10 ** (low - room), 10 ** (high + room), shown, log=True)
        room = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
        return Axis(low - room, max(high, min(most, high + room)), shown)

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1 from low to high."""
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        return _log_ticks(self.low, self.high) if self.log else _round_ticks(self.low, self.high)


def _round_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about `TICKS` of them."""
    rough = (high - low) / TICKS
    power = 10 ** floor(log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.99)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    found = [number * step for number in range(first, last + 1)]
    return [tick for tick in found if low <= tick + step / 100 and tick - step / 100 <= high]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten where these are few, else powers of ten alone; over a part of
    a decade round numbers."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(found) <= TICKS + 1:
            break
    return found if len(found) > 1 else _round_ticks(low, high)


@dataclass(frozen=True)
class Frame:
    """Two axes in a picture."""

    x: Axis
    y: Axis
    x_title: str
    y_title: str
    x_labels: Sequence[tuple[float, str]] | None = None  # instead of round numbers

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the left and from the top, kept inside the frame."""
        across = min(1.0, max(0.0, self.x.share(x)))
        up = min(1.0, max(0.0, self.y.share(y)))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    def drawn(self) -> list[str]:
        """The grid, numbers and titles."""
        parts = []
        for value in self.y.ticks():
            _, down = self.at(self.x.low, value)
            parts.append(line((LEFT, down), (WIDTH - RIGHT, down), "grid"))
            parts.append(text(LEFT - 6, down + 4, self.y.shown(value), "end"))
        labels = self.x_labels
        if labels is None:
            labels = [(value, self.x.shown(value)) for value in self.x.ticks()]
        taken = 0.0  # pixels from the left that words stand on
        for value, label in labels:
            across, down = self.at(value, self.y.low)
            half = LETTER * len(label) / 2
            if across - half >= taken:
                parts.append(line((across, down), (across, down + 4), "axis"))
                parts.append(text(min(across, WIDTH - half), down + 17, label, "middle"))
                taken = across + half + LETTER
        bottom = HEIGHT - BOTTOM
        parts.append(line((LEFT, bottom), (WIDTH - RIGHT, bottom), "axis"))
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, self.x_title, "middle", "title"))
        parts.append(text(0, 12, self.y_title, "start", "title"))
        return parts


def picture(
    parts: Sequence[str],
    said: str,
    width: float = WIDTH,
    height: float = HEIGHT,
    *,
    stretched: bool = False,
) -> Drawing:
    """SVG of these parts; `said` is told to whoever cannot see it, "" where the words beside it
    say all. A stretched one takes the shape of its place."""
    told = f'role="img" aria-label="{_safe(said)}"' if said else 'aria-hidden="true"'
    fitted = ' preserveAspectRatio="none"' if stretched else ""
    box = f'viewBox="0 0 {width:g} {height:g}"{fitted}'
    return Drawing(f"<svg {box} {told}>" + "".join(parts) + "</svg>")


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    return (
        f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
        f'x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{places}"/>'


def box(x: float, y: float, width: float, height: float, kind: str, said: str = "") -> str:
    told = f"<title>{_safe(said)}</title>" if said else ""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
    return f'<rect class="{kind}" {place}>{told}</rect>'


def mark(x: float, y: float, number: int, said: str = "") -> str:
    """A point, in one of four shapes, so that series are told apart without their colors."""
    told = f"<title>{_safe(said)}</title>" if said else ""
    shapes = (
        f"M{x - 3.5:.1f},{y:.1f}a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z",
        f"M{x - 3.2:.1f},{y - 3.2:.1f}h6.4v6.4h-6.4z",
        f"M{x:.1f},{y - 4.2:.1f}l4,7.4h-8z",
        f"M{x:.1f},{y - 4.5:.1f}l4.5,4.5l-4.5,4.5l-4.5,-4.5z",
    )
    return f'<path class="mark s{number % 8}" d="{shapes[number % 4]}">{told}</path>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(words)}</text>'


def _safe(words: str) -> str:
    """As it may stand in a page, between tags or in quotes."""
    return escape(harmless(words), quote=True)
