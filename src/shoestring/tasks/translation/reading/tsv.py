"""tsv: sentence pairs divided by a tab, one pair a line, with or without a line of names above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from shoestring.data.names import printable
from shoestring.tasks.translation.languages import known, matches
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import Broken, first_line, lines

_NAMES = ("source", "src"), ("target", "tgt", "trg")


def languages(path: Path) -> Sequence[str]:
    """Of the columns in order: by the first line, else by a name like `news.en-de.tsv`. A first
    line without the languages of the name is a pair of words that are codes, too: `in`, `an`."""
    head, named = headed(path), _named(path)
    if head is not None and any(head) and (not named or _holds(head, named)):
        return [code for code in head if code]
    return named


def headed(path: Path) -> list[str] | None:
    """The languages of the first line; empty ones for `source` and `target`, none where it is a
    pair."""
    return _head(first_line(path))


def read(path: Path, source: str, target: str, stop: bool) -> Pairs:
    """Columns by the names in the first line, else the first two; further ones are not used. A
    first line of languages that are not asked for is a pair like the others."""
    broken = Broken(path, stop)
    every = lines(path, broken)
    head = _head(every[0])
    if head is not None and any(head) and not _holds(head, (source, target)):
        head = None
    names = head if head is not None and any(head) else _named(path)
    at = _column(names, source, 0), _column(names, target, 1)
    need, first = max(at) + 1, int(head is not None)
    sources, targets = [], []
    for number, line in enumerate(every[first:], first + 1):
        columns = line.split("\t")
        if len(columns) < need:
            if line.strip():
                what = (
                    f"no tab in {line[:40]!r}" if len(columns) == 1 else f"{len(columns)} columns"
                )
                broken.add(number, f"{what}; source and target are divided by a tab")
            columns = [""] * need
        sources.append(columns[at[0]])
        targets.append(columns[at[1]])
    where = printable(path.name)
    return Pairs(sources, targets, range(first + 1, len(every) + 1), where, broken.reasons)


def _named(path: Path) -> list[str]:
    for piece in reversed(path.name.split(".")):
        match = re.fullmatch(r"([a-zA-Z]{2,3})[-_]([a-zA-Z]{2,3})", piece)
        found = match and (known(match[1]), known(match[2]))
        if found and found[0] and found[1] and found[0] != found[1]:
            return [found[0], found[1]]
    return []


def _holds(names: Sequence[str], codes: Sequence[str]) -> bool:
    """Whether each of the languages is among the names of columns."""
    return all(any(have and matches(have, code) for have in names) for code in codes)


def _head(line: str) -> list[str] | None:
    """The language of each column where the line is one of names; empty ones for `source` and
    `target`."""
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) < 2:
        return None
    lower = [cell.lower() for cell in cells[:2]]
    if lower[0] in _NAMES[0] and lower[1] in _NAMES[1]:
        return ["", ""]
    found = [known(cell) for cell in cells]
    return [code or "" for code in found] if all(found[:2]) and found[0] != found[1] else None


def _column(names: Sequence[str], code: str, otherwise: int) -> int:
    if code in names:
        return list(names).index(code)
    return next((i for i, have in enumerate(names) if have and matches(have, code)), otherwise)
