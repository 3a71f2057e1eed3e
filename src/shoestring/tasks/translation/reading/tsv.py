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
    line that shares none with the name is a pair of words that are codes, too: `in`, `an`."""
    return headed(path) or _named(path)


def headed(path: Path) -> list[str]:
    """The languages that the first line names, as far as it is one of names."""
    head, named = _codes(_cells(first_line(path))), _named(path)
    names = len(head) > 1 and head[0] and head[1] and head[0] != head[1]
    shared = not named or any(_holds(head, [code]) for code in named)
    return [code for code in head if code] if names and shared else []


def read(path: Path, source: str, target: str, stop: bool) -> Pairs:
    """Columns by the names in the first line (`source` and `target`, or the languages asked for,
    in any place), else by the file's name, else the first two; further ones are not used. A first
    line of other languages is a pair like the others."""
    broken = Broken(path, stop)
    every = lines(path, broken)
    at, headed = _columns(_cells(every[0]), _named(path), source, target)
    first = int(headed)
    need = max(at) + 1
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


def _columns(
    cells: Sequence[str], named: Sequence[str], source: str, target: str
) -> tuple[tuple[int, int], bool]:
    """Where source and target stand, and whether these first cells are names."""
    sides, codes = _sides(cells), _codes(cells)
    if sides is not None:
        # The file's name says which language stands in the column of sources.
        turned = named and matches(named[0], target) and matches(named[1], source)
        return (sides[1], sides[0]) if turned else sides, True
    headed = _holds(codes, (source, target))
    names = codes if headed else named
    return (_column(names, source, 0), _column(names, target, 1)), headed


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


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split("\t")]  # as spreadsheets write names


def _sides(cells: Sequence[str]) -> tuple[int, int] | None:
    """The columns that are named `source` and `target`."""
    lower = [cell.lower() for cell in cells]
    found = [[i for i, cell in enumerate(lower) if cell in names] for names in _NAMES]
    return (found[0][0], found[1][0]) if all(len(places) == 1 for places in found) else None


def _codes(cells: Sequence[str]) -> list[str]:
    """The language that each cell is a code of; empty where it is of none."""
    return [known(cell) or "" for cell in cells]


def _column(names: Sequence[str], code: str, otherwise: int) -> int:
    if code in names:
        return list(names).index(code)
    return next((i for i, have in enumerate(names) if have and matches(have, code)), otherwise)
