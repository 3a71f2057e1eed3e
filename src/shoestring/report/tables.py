"""tables: scores, lists and cards as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shoestring.core.receipt import Interval, Plain, Scores
from shoestring.data.names import counted
from shoestring.report import shift
from shoestring.report.words import all_visible, count, milliseconds, quality, size

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from shoestring.report.cards import Card

MOST_CONFUSIONS = 20
MOST_LOOKS = 12  # of a learning curve


def section(title: str, *parts: RenderableType) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in parts)]


def interval_words(bounds: Interval, metric: str) -> str:
    low, high = quality(bounds.low, metric), quality(bounds.high, metric)
    return f"{bounds.confidence:.0%} interval {low} to {high}"


def scores(scored: Scores, details: bool = False) -> Group:
    """What was measured, one line each; `details` adds the tables that stand among its details."""
    scored = all_visible(scored)
    where = f", measured on the {scored.where}" if scored.where else ""
    split = f" on {scored.split}" if scored.split else ""
    examples = f", {counted(scored.examples, 'example')}" if scored.examples else ""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for name, value, note in score_rows(scored):
        table.add_row(name, value, note)
    parts = [*section(f"Scores{split}{examples}{where}", table)[1:]]
    if scored.signature:
        signature = scored.signature.replace("|", ", ")  # so that lines break between its parts
        parts.append(Padding(Text(f"signature: {signature}", style="dim"), (0, 0, 0, 2)))
    parts += [_noted(str(message)) for message in scored.details.get("findings", ())]
    if scored.details.get(shift.SHIFT):
        falling = shift.table(scored.details[shift.SHIFT], scored.metric)
        parts += section("Under shift: the same examples, corrupted", falling)
    if details:
        for name, lines in long_tables(scored).items():
            parts += section(name.replace("_", " ").capitalize(), _table_of(lines))
        classes = scored.details.get("per_class", ())
        confused = _confusions(classes, scored.details.get("confusion", ()))
        if confused:
            parts += section(f"Most frequent confusions, {MOST_CONFUSIONS} at most", confused)
    return Group(*parts)


def long_tables(scored: Scores) -> dict[str, Sequence[Plain]]:
    """Those details that are rows of values, by their names."""
    return {
        name: value
        for name, value in scored.details.items()
        if isinstance(value, (list, tuple))
        and value
        and isinstance(value[0], Mapping)
        and name != shift.SHIFT  # has a table of its own
    }


def curve(lines: Sequence[Plain], metric: str) -> Table:
    """Looks at the validation split, evenly spread where there are many."""
    most = min(len(lines), MOST_LOOKS)
    shown = [lines[(i + 1) * len(lines) // most - 1] for i in range(most)]
    return _table_of(
        [
            {
                "step": count(line["step"]),
                "epoch": f"{line['epoch']:.2f}",
                "training loss": f"{line['train_loss']:.4f}",
                "validation loss": f"{line['validation_loss']:.4f}",
                f"validation {metric}": quality(line["quality"], metric),
            }
            for line in shown
        ],
        numbers=True,
    )


def _noted(message: str) -> RenderableType:
    """Something that was seen in the data, under the figures that it bears on."""
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row("-", message)
    return Padding(line, (0, 0, 0, 2))


def score_rows(scored: Scores) -> Iterable[tuple[str, str, str]]:
    """What was measured, its figure, and how; one line each."""
    if scored.quality is not None:
        note = "" if scored.interval is None else interval_words(scored.interval, scored.metric)
        method = (
            f" ({scored.interval.method})" if scored.interval and scored.interval.method else ""
        )
        metric = scored.metric or "quality"
        yield metric.replace("_", " "), quality(scored.quality, scored.metric), note + method
    for name, value in scored.details.items():
        if isinstance(value, float):
            # `calibration` tells how `calibration_error` was measured.
            ways = (name.removesuffix("_error"), f"{name}_signature")
            how = next((h for w in ways if isinstance(h := scored.details.get(w), str)), "")
            yield name.replace("_", " "), quality(value, name), how
        elif isinstance(value, str) and not _tells_of(name, scored.details):
            yield name.replace("_", " "), "", value
    if scored.loss is not None:
        yield "loss", f"{scored.loss:.4f}", ""
    if scored.parameters is not None:
        yield "parameters", count(scored.parameters), ""
    if scored.macs is not None:
        yield "MACs", count(scored.macs), "for one example"
    if scored.size_bytes is not None:
        note = f"{count(scored.size_bytes)} bytes: all files needed to predict"
        yield "size", size(scored.size_bytes), note
    if scored.model_bytes is not None:
        note = f"{count(scored.model_bytes)} bytes: graphs and weights"
        yield "of it the model", size(scored.model_bytes), note
    for name, value in scored.latency_ms.items():
        what = f"latency, {name}"
        p95 = f", p95 {milliseconds(float(value['p95']))}" if "p95" in value else ""
        threads = int(value.get("threads", 1))
        on = "one thread" if threads == 1 else f"{threads} threads"
        yield what, milliseconds(float(value["median"])), f"median{p95}, {on}"
    if scored.peak_bytes is not None:
        yield "memory", size(scored.peak_bytes), "peak of a process that predicts"


def _tells_of(name: str, details: Plain) -> bool:
    """Whether a detail says how another one was measured, and so stands beside it."""
    return f"{name}_error" in details or name.removesuffix("_signature") in details.keys() - {name}


def _table_of(lines: Sequence[Plain], numbers: bool = False) -> Table:
    """A column for each name of the lines; words stand to the left, unless they are numbers."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for name, value in lines[0].items():
        text = isinstance(value, str) and not numbers
        justify: JustifyMethod = "left" if text else "right"
        table.add_column(name.replace("_", " "), justify=justify, no_wrap=not text, overflow="fold")
    for line in lines:
        table.add_row(*(_cell(name, value) for name, value in line.items()))
    return table


def _confusions(classes: Sequence[Plain], matrix: Sequence[Sequence[int]]) -> Table | None:
    """The largest entries off the diagonal of a matrix of true labels by answers."""
    labels = [str(line["label"]) for line in classes]
    cells = [
        (number, labels[true], labels[answer])
        for true, row in enumerate(matrix)
        for answer, number in enumerate(row)
        if number and true != answer
    ]
    cells.sort(key=lambda cell: -cell[0])
    lines = [
        {"is": true, "was answered": answer, "times": number}
        for number, true, answer in cells[:MOST_CONFUSIONS]
    ]
    return _table_of(lines) if lines else None


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return quality(value, name)
    return count(value) if isinstance(value, int) else str(value)


# --- lists ---------------------------------------------------------------------------------------


def rows(lines: Iterable[Sequence[str]], header: Sequence[str] = ()) -> Table:
    """Columns of words; the last one takes what width is left."""
    table = Table(
        box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=bool(header), header_style="dim"
    )
    found = [list(line) for line in lines]
    width = len(header) or max(map(len, found), default=0)
    for i in range(width):
        table.add_column(header[i] if header else "", no_wrap=i == 0, overflow="fold")
    for line in found:
        table.add_row(*line)
    return table


def card(card: Card) -> Group:
    """A technique's card and its options."""
    parts: list[RenderableType] = [Text(f"{card.name}: {card.sentence}", style="bold")]
    for paragraph in filter(None, card.text.split("\n\n")):
        flowing = not any(line.startswith((" ", "-", "*")) for line in paragraph.splitlines())
        parts += [Text(""), Text(" ".join(paragraph.split()) if flowing else paragraph)]
    if card.options:
        header = ("option", "type", "default", "")
        lines = [(o.name, o.kind, o.default, o.help) for o in card.options]
        parts += [Text(""), rows(lines, header)]
    return Group(*parts)


def catalogue(found: Iterable[Plain]) -> Table:
    """The data sets that can be had by name."""
    lines = (
        (
            str(entry["name"]),
            str(entry["task"]),
            size(entry["size_bytes"]),
            "here" if entry["here"] else "to fetch",
            f"{entry['description']}\nlicence: {entry['licence']}",
        )
        for entry in found
    )
    return rows(lines, ("name", "task", "size", "", "what it is, and its licence"))
