"""formats: which kinds of file hold parallel text, and who reads each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoestring.tasks.translation.reading import jsonl, po, tmx, tsv
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import first_lines

_KINDS = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tmx": "tmx",
    ".po": "po",
}
ENDINGS = (".tsv", ".jsonl", ".tmx", ".po")


def kind_of(path: Path) -> str | None:
    return _KINDS.get(Path(path.name.removesuffix(".gz")).suffix.lower())


def stem(path: Path) -> str:
    """The name without its kind."""
    return Path(path.name.removesuffix(".gz")).stem


def plausible(kind: str, path: Path) -> bool:
    """Whether the beginning looks like parallel text; tables and JSON lines hold other things."""
    if kind == "tsv":
        return any("\t" in line for line in first_lines(path))
    return jsonl.plausible(path) if kind == "jsonl" else True


def languages(kind: str, path: Path) -> Sequence[str]:
    """The languages of a file as far as it says, the one translated from first."""
    if kind == "tsv":
        return tsv.languages(path)
    if kind == "jsonl":
        return jsonl.languages(path)
    return tmx.languages(path) if kind == "tmx" else po.languages(path)


def read(kind: str, path: Path, source: str, target: str, stop: bool) -> Pairs:
    """Raises DataError with file and line."""
    if kind == "tsv":
        return tsv.read(path, source, target, stop)
    if kind == "jsonl":
        return jsonl.read(path, source, target, stop)
    return tmx.read(path, source, target) if kind == "tmx" else po.read(path, stop, source)
