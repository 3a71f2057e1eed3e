"""names: file names in the order a person expects, nouns in number, and the words for splits."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"(\d+)")

SPLITS = ("train", "validation", "test")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `2` before `10` and `img9` before `img10`. Total: names that differ never tie."""
    pieces = [
        (0, int(piece), piece) if piece.isdecimal() and piece.isascii() else (1, 0, piece)
        for piece in _DIGITS.split(name)
        if piece
    ]
    return tuple(pieces)


def printable(name: str) -> str:
    """The name on one line and in valid UTF-8, whatever bytes the file system holds."""
    clean = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clean)


def code(name: str) -> str:
    """The name as a code span of Markdown, whatever it holds."""
    text = printable(name)
    runs = [len(run) for run in re.findall("`+", text)]
    if not runs:
        return f"`{text}`"
    fence = "`" * (max(runs) + 1)
    return f"{fence} {text} {fence}"


def counted(number: int, one: str, several: str = "") -> str:
    """`1 picture`, `2,000 pictures`, `1 class has`: the number with words that agree with it.
    `several` is `one` with an s where nothing is given."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def split_of(word: str) -> str | None:
    """`train`, `validation` or `test` for the words people use for them, else None."""
    return _SPLIT_WORDS.get(word.strip().lower())
