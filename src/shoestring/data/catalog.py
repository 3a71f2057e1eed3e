"""catalog: data sets that are known by name, where they come from and under what licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress, silent
from shoestring.core.receipt import Plain
from shoestring.data import dates, digits, mnist, multi30k


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
    direction: tuple[str, str] | None = None  # of parallel text: the usual source and target


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
    Entry(
        "multi30k",
        "translation",
        "captions of photos, English and German: 29,000 pairs for training, 1,014 for validation, "
        "tests of 1,000, 1,000 and 461",
        "CC BY-NC-SA 4.0: not for commercial use",
        1_355_954,
        "D. Elliott, S. Frank, K. Sima'an, L. Specia",
        multi30k.here,
        multi30k.get,
        ("en", "de"),
    ),
    Entry(
        "dates",
        "translation",
        "dates as people write them in 27 languages, each behind the tag of its locale, and their "
        "ISO 8601 form, 1950 to 2049: 50,000 for training, 2,000 and 2,000; made here by Babel",
        "Unicode-3.0",
        1_876_663,
        "Unicode CLDR",
        dates.here,
        dates.get,
        dates.DIRECTION,
    ),
    Entry(
        "dates:untagged",
        "translation",
        "the same dates without their tags, so that some have several readings",
        "Unicode-3.0",
        1_588_981,
        "Unicode CLDR",
        dates.untagged_here,
        dates.get_untagged,
        dates.DIRECTION,
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
