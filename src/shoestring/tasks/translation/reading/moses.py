"""moses: two files whose lines belong together, named as Moses does: train.en and train.de."""

from __future__ import annotations

from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.data.names import counted, printable
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import Broken, lines


def read(source: Path, target: Path, stop: bool) -> Pairs:
    """Raises DataError where the files have not the same number of lines."""
    broken = Broken(source, stop), Broken(target, stop)
    sources, targets = lines(source, broken[0]), lines(target, broken[1])
    if len(sources) != len(targets):
        raise DataError(
            f"{printable(str(source))} has {counted(len(sources), 'line')} and "
            f"{printable(str(target))} has {len(targets):,}; aligned files have as many: "
            f"line n of one is the translation of line n of the other"
        )
    reasons = {
        line: f"{printable(side.path.name)}: {reason}"
        for side in broken
        for line, reason in side.reasons.items()
    }
    where = f"{printable(source.name)} and {printable(target.name)}"
    return Pairs(sources, targets, range(1, len(sources) + 1), where, reasons)
