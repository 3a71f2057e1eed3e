"""text: receipts, scores and lists as clean tables for a terminal or a plain file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from shoestring.core.plain import from_plain
from shoestring.core.receipt import Finding, Interval, Plain, Receipt, Scores
from shoestring.data.names import counted
from shoestring.report import decisions, front, lineage, trials
from shoestring.report.lines import CHANGES, GAIN, changes, minute, reasons, verdict
from shoestring.report.tables import curve, interval_words, scores, section
from shoestring.report.words import all_visible, count, duration, milliseconds, quality, short, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shoestring.report.sheet import Sheet

PLAIN_WIDTH = 80
OPTIONS_WIDTH = 40  # of a technique's options, below its name
_VERDICT_STYLES = {"better": "green", "worse": "red", "failed": "red", "skipped": "yellow"}


def show(page: RenderableType, stream: TextIO) -> None:
    """Prints to a terminal in its width and colors, or as plain text to anything else."""
    console = Console(file=stream, highlight=False, soft_wrap=False, emoji=False, markup=False)
    stream.write(_tidy(_captured(console, page)))


def plain(page: RenderableType, width: int = PLAIN_WIDTH) -> str:
    console = Console(
        file=io.StringIO(), width=width, no_color=True, color_system=None, force_terminal=False
    )
    return _tidy(_captured(console, page)).rstrip("\n")


def _captured(console: Console, page: RenderableType) -> str:
    with console.capture() as capture:
        console.print(page)
    return capture.get()


def _tidy(text: str) -> str:
    """Without the blanks with which tables fill their lines up."""
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


# --- the receipt ---------------------------------------------------------------------------------


def receipt(sheet: Sheet, details: bool = False) -> Group:
    """The whole receipt; `details` adds the longer tables."""
    sheet = all_visible(sheet)
    parts: list[RenderableType] = [_header(sheet)]
    if sheet.findings:
        parts += section("Data", _findings(sheet.findings))
    if sheet.lines:
        notes = [_notes(sheet.lines)] if any(line.reason for line in sheet.lines) else []
        parts += section("Techniques and work", _Lines(sheet.lines), *notes)
    if sheet.decisions:
        parts += section("Decisions", decisions.listed(sheet.decisions))
    if sheet.lineage:
        parts += section("Lineage", lineage.tree(sheet.lineage))
    if sheet.scores is not None:
        parts += [Text(""), scores(sheet.scores, details)]
    if details and sheet.curve:
        metric = sheet.scores.metric if sheet.scores is not None else "quality"
        parts += section("Learning curve", curve(sheet.curve, metric))
    if details and sheet.trials is not None:
        parts += section("Trials", trials.table(sheet.trials))
    if sheet.pictures:
        parts += section("Pictures", Text("\n".join(sheet.pictures)))
    if sheet.looks:
        parts += section("Test split", _looks(sheet.looks))
    return Group(*parts)


def _header(sheet: Sheet) -> Group:
    recipe = sheet.recipe
    source = "" if recipe is None else recipe.source
    parameters = None if sheet.scores is None else sheet.scores.parameters
    network = " ".join(
        filter(
            None,
            (
                f"{sheet.network} network" if sheet.network else "",
                f"of {counted(parameters, 'parameter')}" if parameters else "",
            ),
        )
    )
    first = [f"Receipt of {sheet.path}", sheet.task, source]
    second = [network]
    if recipe is not None:
        second += [f"seed {recipe.seed}", recipe.precision or ""]
        if recipe.threads is not None:
            second.append(counted(recipe.threads, "thread"))
        if recipe.total_steps is not None:
            second.append(f"{counted(recipe.total_steps, 'step')} of {recipe.batch_size}")
    texts = [Text(", ".join(filter(None, first)), style="bold"), _joined(second)]
    if sheet.kind == "run":
        texts += [_budget(sheet), _limits(sheet)]
    if sheet.parents:
        texts.append(_joined([f"made from {' and '.join(sheet.parents)}"]))
    return Group(*(text for text in texts if text.plain))


def _joined(pieces: Iterable[str]) -> Text:
    return Text(", ".join(filter(None, pieces)))


def _limits(sheet: Sheet) -> Text:
    """What the bundle was asked to keep to, and which of it it does not."""
    asked, scores = front.limits([sheet]), sheet.scores or Scores()
    latency = float(scores.latency_ms.get("model", {}).get("median", 0.0))
    told, missed = [], []
    if (bytes_ := asked.size_bytes) is not None:
        told.append(f"at most {short(size(bytes_))}")
        missed += ["size"] if (scores.size_bytes or 0) > bytes_ else []
    if (ms := asked.latency_ms) is not None:
        told.append(f"at most {short(milliseconds(ms))}")
        missed += ["latency"] if latency > ms else []
    if (least := asked.quality) is not None:
        told.append(f"{scores.metric} of at least {short(quality(least, scores.metric))}")
        missed += [scores.metric] if (scores.quality or 0.0) < least else []
    if not told:
        return Text("")
    kept = f"missed: {', '.join(missed)}" if missed else "kept"
    return Text(f"limits: {', '.join(told)}; {kept}", style="red" if missed else "")


def _budget(sheet: Sheet) -> Text:
    asked, used = sheet.asked_seconds, sheet.used_seconds
    if asked is None:
        return Text(f"budget: none asked, {duration(used)} used")
    over = f", {duration(used - asked)} too much" if used > asked else ""
    style = "red" if over else ""
    return Text(f"budget: {duration(asked)} asked, {duration(used)} used{over}", style=style)


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        message = Text(finding.message)
        if finding.dropped and "left out" not in finding.message:
            message.append(f" ({count(finding.dropped)} left out)", style="yellow")
        if finding.examples:
            more = ", ..." if finding.count > len(finding.examples) else ""
            message.append(f"\n{', '.join(finding.examples)}{more}", style="dim")
        # Something that is not there, such as a test split, counts nothing.
        table.add_row(finding.kind, count(finding.count) if finding.count else "", message)
    return table


@dataclass(frozen=True)
class _Lines:
    """A row for each line of the receipt, a technique's options below its name. Where the columns
    do not fit side by side, the changes stand there as well."""

    lines: Sequence[Receipt]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._table(columns=True)
        unbounded = options.update(max_width=10_000)
        fits = Measurement.get(console, unbounded, wide).maximum <= options.max_width
        yield wide if fits else self._table(columns=False)

    def _table(self, columns: bool) -> Table:
        found = [changes(line) for line in self.lines]
        kinds = [kind for kind in CHANGES if columns and any(c.get(kind) for c in found)]
        table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("what", overflow="fold")
        table.add_column("cost", justify="right", no_wrap=True)
        for kind in kinds:
            table.add_column(kind, justify="left" if kind == GAIN else "right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for line, change in zip(self.lines, found, strict=True):
            technique, _, options = line.technique.partition(":")
            name = Text(technique)
            spaced = options.replace(",", ", ")
            for part in wrap(spaced, OPTIONS_WIDTH, break_long_words=False, break_on_hyphens=False):
                name.append(f"\n  {part}", style="dim")
            if not columns and change:
                name.append("\n  " + ", ".join(change.values()), style="dim")
            cells = [change.get(kind, "") for kind in kinds]
            said = verdict(line)
            style = _VERDICT_STYLES.get(said, "")
            # A bundle's lineage does not know what its lines cost.
            cost = duration(line.cost.wall_seconds) if line.cost.wall_seconds else ""
            table.add_row(name, cost, *cells, Text(said, style=style))
        return table


def _notes(lines: Sequence[Receipt]) -> Table:
    """The reasons, each said once for all the lines that it holds for."""
    notes = Table.grid(padding=(0, 1, 0, 0))
    for called, said, reason in reasons(lines):
        notes.add_row("-", f"{called}{' ' * bool(said)}{said}: {reason}", style="dim")
    return notes


def _looks(looks: Sequence[Plain]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in ("time", "source"):
        table.add_column(no_wrap=True)
    table.add_column()
    for look in looks:
        metric, value = str(look.get("metric", "")), look.get("quality")
        result = "" if value is None else f"{metric} {quality(float(value), metric)}"
        bounds = look.get("interval")
        if bounds is not None:
            result += f", {interval_words(from_plain(Interval, bounds), metric)}"
        table.add_row(f"opened {minute(str(look.get('at', '')))}", str(look.get("source")), result)
    return table
