"""decisions: the plan of a build, and what it decided, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shoestring.core.decisions import BuildPlan, Decision
from shoestring.report.tables import section
from shoestring.report.words import all_visible, duration


def plan(of: BuildPlan) -> Group:
    """The plan as a table: each step, what it may take, what is expected of it, and why."""
    of = all_visible(of)
    head = Text(f"Plan for {of.source}, {of.task}, {duration(of.seconds)} asked", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("step", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("expected", overflow="fold")
    rows = [("start, data, measuring", of.spent_seconds, ""), *(
        (step.name, step.seconds, step.gain) for step in of.steps
    )]  # fmt: skip
    rows.append(("test split and end", of.reserved_seconds, ""))
    for name, seconds, gain in rows:
        table.add_row(name, duration(seconds), f"{seconds / of.seconds:.0%}", gain)
    parts: list[RenderableType] = [head]
    if of.limits.told():
        parts.append(Text("asked: " + ", ".join(of.limits.told())))
    parts += [Text(""), table]
    why = [(one.what, f"{one.chosen}: {one.why}") for one in of.decisions]
    why += [(step.name, step.why) for step in of.steps]
    parts += section("Why", *reasons(why))
    parts += [Text(""), Text("nothing was trained; leave --dry-run out to build", style="dim")]
    return Group(*parts)


def listed(decisions: Sequence[Decision]) -> Table:
    """Each decision: when, what was chosen and why, and below it what was expected and came."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for one in decisions:
        chosen = Text.assemble((one.what, "bold"), f": {one.chosen}")
        table.add_row(f"{one.at_seconds:.1f} s", chosen)
        told = [one.why]
        told += [f"expected: {one.expected}"] if one.expected else []
        told += [f"got: {one.got}"] if one.got else []
        for line in told:
            table.add_row("", Padding(Text(line), (0, 0, 0, 2)))
    return table


def reasons(lines: Sequence[tuple[str, str]]) -> list[RenderableType]:
    return [Padding(Text.assemble((name, "bold"), f": {why}"), (0, 0, 0, 2)) for name, why in lines]
