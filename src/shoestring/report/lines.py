"""lines: what a line of a receipt says: what it changed, its verdict, when it was written."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring import plugins
from shoestring.core.receipt import Plain, Receipt, Scores
from shoestring.core.run import name_of
from shoestring.report.words import gain, milliseconds, size

SIZE, LATENCY, GAIN = CHANGES = ("size", "latency", "gain, 95% interval")


def changes(line: Receipt) -> dict[str, str]:
    """What a line changed, by the column that tells it."""
    found = {}
    if line.before is not None and line.after is not None:
        before, after = line.before, line.after
        if before.size_bytes is not None and after.size_bytes is not None:
            found[SIZE] = size(after.size_bytes - before.size_bytes, signed=True)
        medians = [_median(scored.latency_ms) for scored in (before, after)]
        if medians[0] is not None and medians[1] is not None:
            found[LATENCY] = milliseconds(medians[1] - medians[0], signed=True)
    if line.gain is not None:
        found[GAIN] = gain(line.gain, (line.after or line.before or Scores()).metric)
    return found


def _median(latency_ms: Plain) -> float | None:
    """Of the model alone."""
    found = latency_ms.get("model")
    return None if found is None else float(found["median"])


def verdict(line: Receipt) -> str:
    """Empty for work that is no technique, and so cannot be better or worse."""
    if line.status != "applied":
        return line.status
    technique = name_of(line.technique) in plugins.technique_names()
    return line.verdict if technique or line.verdict != "not measured" else ""


def reasons(lines: Sequence[Receipt]) -> list[tuple[str, str, str]]:
    """(of which lines, their verdict, the reason), each said once for all that it holds for."""
    names = [name_of(line.technique) for line in lines]
    together: dict[tuple[str, str], list[Receipt]] = {}
    for line in lines:
        if line.reason:
            name = name_of(line.technique)
            same = (verdict(line), line.reason.replace(name, "NAME"))
            together.setdefault(same, []).append(line)
    return [
        (
            ", ".join(_called(line, names) for line in alike),
            said,
            alike[0].reason if len(alike) == 1 else reason,
        )
        for (said, reason), alike in together.items()
    ]


def _called(line: Receipt, names: Sequence[str]) -> str:
    """A technique's name, with its options where the receipt has several of that name."""
    name = name_of(line.technique)
    return name if names.count(name) == 1 else line.technique.replace(",", ", ")


def minute(at: str) -> str:
    """`2026-11-23 16:20 UTC` of a written-down UTC time."""
    return f"{at[:10]} {at[11:16]} UTC" if at[10:11] == "T" else at
