"""page_budget: where the seconds of a command went, as a line of time with its legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.core.receipt import Receipt
from shoestring.core.run import name_of
from shoestring.report.front import ancestors
from shoestring.report.page_axes import Axis, Drawing, box, line, picture
from shoestring.report.sheet import Sheet
from shoestring.report.words import duration

WIDTH, HEIGHT, BAR, EDGE = 840, 40, 26, 2  # stretched to the page, so without words
START = "start and imports"  # written last, spent first
SLACK = 1.02  # of the seconds used: clocks of parts do not add up to the millisecond
MOST_STYLES = 8
SHORTEST = 0.05  # seconds that are shown


@dataclass(frozen=True)
class Part:
    """What some of the seconds went into."""

    name: str
    seconds: float
    number: int  # of its style

    @property
    def words(self) -> str:
        return duration(self.seconds)


@dataclass(frozen=True)
class Timeline:
    drawing: Drawing | None
    parts: tuple[Part, ...]
    before_seconds: float  # of the commands that made the runs that this one was made from
    sentence: str
    ends: str  # what the whole length stands for
    over: bool

    @property
    def before(self) -> str:
        return duration(self.before_seconds) if self.before_seconds >= 0.1 else ""


def timeline(sheet: Sheet) -> Timeline:
    """The lines of the command that made the run, in the order in which they were spent."""
    asked, used = sheet.asked_seconds, sheet.used_seconds
    costly = [one for one in sheet.lines if one.cost.wall_seconds > 0]
    own = _of_this_command(costly, used)
    handed_on = len(costly) > len(own)
    before = sum(one.seconds for one in ancestors(sheet.lineage)) if handed_on else 0.0
    own = sorted(own, key=lambda one: one.technique != START)
    longest = sorted((one.cost.wall_seconds for one in own), reverse=True)[:MOST_STYLES]
    least = max(SHORTEST, longest[-1] if longest else 0.0)  # no style stands for two parts
    shown = [one for one in own if one.cost.wall_seconds >= least][:MOST_STYLES]
    parts = [
        Part(name_of(one.technique), one.cost.wall_seconds, number)
        for number, one in enumerate(shown)
    ]
    rest = used - sum(part.seconds for part in parts)
    if rest > 0.01 * used + 0.1:
        parts.append(Part("other", rest, MOST_STYLES))
    over = asked is not None and used > asked
    if asked is None:
        sentence = f"No budget was asked for; {duration(used)} were used."
    else:
        more = f", {duration(used - asked)} too much" if over else ""
        sentence = f"{duration(asked)} were asked for, {duration(used)} used{more}."
    ends = duration(max(used, asked or 0.0))
    drawn = _drawn(parts, used, asked, sentence) if parts and used > 0 else None
    return Timeline(drawn, tuple(parts), before, sentence, ends, over)


def _of_this_command(lines: Sequence[Receipt], used: float) -> list[Receipt]:
    """The last lines, as many as fit the seconds used: those before were handed on by parents."""
    own: list[Receipt] = []
    left = used * SLACK + 0.1
    for one in reversed(lines):
        left -= one.cost.wall_seconds
        if left < 0:
            break
        own.insert(0, one)
    return own


def _drawn(parts: Sequence[Part], used: float, asked: float | None, sentence: str) -> Drawing:
    scale = Axis(0.0, max(used, asked or 0.0) * 1.001, duration)

    def at(seconds: float) -> float:
        return EDGE + scale.share(seconds) * (WIDTH - 2 * EDGE)

    drawn, passed = [], 0.0
    if asked is not None:
        drawn.append(box(at(0), 7, at(asked) - at(0), BAR, "asked"))
    for part in parts:
        end = min(used, passed + part.seconds)
        drawn.append(
            box(at(passed), 7, at(end) - at(passed), BAR, f"bar s{part.number}",
                f"{part.name}: {part.words}")
        )  # fmt: skip
        passed = end
    if asked is not None:
        drawn.append(line((at(asked), 0), (at(asked), HEIGHT), "limit"))
    told = ", ".join(f"{part.name} {part.words}" for part in parts)
    return picture(drawn, f"{sentence} They went into: {told}", WIDTH, HEIGHT, stretched=True)
