"""page_lines: the itemised lines of a receipt for a page, each gain drawn as a whisker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.core.receipt import Interval, Receipt, Scores
from shoestring.report.lines import GAIN, LATENCY, SIZE, changes, verdict
from shoestring.report.page_axes import Axis, Drawing, line, mark, picture
from shoestring.report.words import duration, gain

WIDTH, HEIGHT, EDGE = 150, 18, 6  # of a whisker
_STYLES = {"better": "good", "worse": "bad", "failed": "bad", "skipped": "warn"}


@dataclass(frozen=True)
class Item:
    """A line of the receipt, as a page shows it."""

    name: str
    options: tuple[str, ...]
    cost: str
    size: str
    latency: str
    gain: str
    whisker: Drawing | None
    verdict: str
    style: str  # of the verdict: good, bad, warn or ""


def items(lines: Sequence[Receipt]) -> list[Item]:
    """All whiskers of a receipt lie over one axis, so that they can be held against each other."""
    scale = _scale([found.gain for found in lines if found.gain is not None])
    return [_item(found, scale) for found in lines]


def _item(found: Receipt, scale: Axis | None) -> Item:
    name, _, options = found.technique.partition(":")
    changed, said = changes(found), verdict(found)
    style = _STYLES.get(said, "")
    drawn = None
    if found.gain is not None and scale is not None:
        metric = (found.after or found.before or Scores()).metric
        drawn = whisker(found.gain, scale, style, f"gain {gain(found.gain, metric)}")
    return Item(
        name,
        tuple(options.split(",")) if options else (),
        duration(found.cost.wall_seconds) if found.cost.wall_seconds else "",
        changed.get(SIZE, ""),
        changed.get(LATENCY, ""),
        changed.get(GAIN, ""),
        drawn,
        said,
        style,
    )


def _scale(gains: Sequence[Interval]) -> Axis | None:
    """Around every interval and zero."""
    ends = [end for one in gains for end in (one.low, one.high, one.value)]
    return Axis.over([*ends, 0.0], str) if ends else None


def whisker(bounds: Interval, scale: Axis, style: str, said: str) -> Drawing:
    """The interval as a line with ends, its value as a point, and a line where zero is."""

    def at(value: float) -> float:
        return EDGE + scale.share(value) * (WIDTH - 2 * EDGE)

    middle = HEIGHT / 2
    parts = [
        line((at(0.0), 1), (at(0.0), HEIGHT - 1), "zero"),
        line((at(bounds.low), middle), (at(bounds.high), middle), f"whisker {style}"),
    ]
    parts += [
        line((at(end), middle - 4), (at(end), middle + 4), f"whisker {style}")
        for end in (bounds.low, bounds.high)
    ]
    parts.append(mark(at(bounds.value), middle, 0).replace("mark s0", f"mark {style or 'plain'}"))
    return picture(parts, said, WIDTH, HEIGHT)
