"""catalog: data sets that are known by name, where they come from and under what licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress, silent
from shoestring.core.receipt import Plain
from shoestring.data import digits, mnist


@dataclass(frozen=True)
class Entry:
    name: str
    task: str  # the kind of problem it is data for
    description: str
    licence: str
    size_bytes: int  # of its files on disk, once it is here
    source: str  # who made it
    here: Callable[[], Path | None]  # its folder, where it is on this machine already
    get: Callable[[Progress], Path]  # its folder, fetched and checked where need be


ENTRIES = (
    Entry(
        "mnist",
        "images",
        "handwritten digits: 60,000 for training, 10,000 for testing, 28x28, grey",
        "CC BY-SA 3.0",
        54_950_048,
        "Y. LeCun, C. Cortes, C. Burges",
        mnist.here,
        mnist.get,
    ),
    Entry(
        "digits",
        "images",
        "small handwritten digits: 1,797, 8x8, grey; ships inside scikit-learn",
        "CC BY 4.0",
        129_884,
        "E. Alpaydin, C. Kaynak (UCI Machine Learning Repository)",
        digits.here,
        digits.get,
    ),
)


def find(name: str) -> Entry | None:
    return next((e for e in ENTRIES if e.name == name), None)


def get(name: str, progress: Progress = silent) -> Path:
    """The folder of an entry, fetched where it is not here. Raises DataError."""
    entry = find(name)
    if entry is None:
        known = ", ".join(e.name for e in ENTRIES)
        raise DataError(f"the catalogue has no {name!r}; it has: {known}")
    return entry.get(progress)


def listing() -> list[Plain]:
    """One plain row an entry; `here` is its folder, or None where it would be fetched."""
    rows: list[Plain] = []
    for entry in ENTRIES:
        folder = entry.here()
        rows.append(
            {
                "name": entry.name,
                "task": entry.task,
                "description": entry.description,
                "licence": entry.licence,
                "size_bytes": entry.size_bytes,
                "source": entry.source,
                "here": None if folder is None else str(folder),
            }
        )
    return rows
