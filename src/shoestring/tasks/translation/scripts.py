"""scripts: counts of characters, words and letters of a script, for many texts at once.

Shapes: B texts, N characters in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 50_000  # texts looked at together
_OTHER, _BLANK, _LETTER = 0, 1, 2  # _LETTER: of a script that no language here is written in

# First and last code point of blocks that hold letters of a script (Unicode 16, coarsely).
_RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "Latn": ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6),
             (0xF8, 0x2AF), (0x1D00, 0x1DBF), (0x1E00, 0x1EFF), (0x2183, 0x2184), (0x2C60, 0x2C7F),
             (0xA720, 0xA7FF), (0xFB00, 0xFB06), (0xAB30, 0xAB6F), (0xFF21, 0xFF3A),
             (0xFF41, 0xFF5A)),
    "Grek": ((0x370, 0x37D), (0x37F, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrl": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Armn": ((0x531, 0x588), (0xFB13, 0xFB17)),
    "Hebr": ((0x5D0, 0x5F4), (0xFB1D, 0xFB4F)),
    "Arab": ((0x620, 0x65F), (0x66E, 0x6D3), (0x6D5, 0x6DC), (0x6FA, 0x6FF), (0x750, 0x77F),
             (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFE)),
    "Deva": ((0x900, 0x963), (0x971, 0x97F), (0xA8E0, 0xA8FF)),
    "Beng": ((0x980, 0x9E3), (0x9F0, 0x9FE)),
    "Guru": ((0xA01, 0xA5E), (0xA70, 0xA75)),
    "Gujr": ((0xA81, 0xAE3), (0xAF9, 0xAFF)),
    "Orya": ((0xB01, 0xB63), (0xB71, 0xB71)),
    "Taml": ((0xB82, 0xBD7),),
    "Telu": ((0xC00, 0xC63),),
    "Knda": ((0xC80, 0xCE3), (0xCF1, 0xCF2)),
    "Mlym": ((0xD00, 0xD63), (0xD7A, 0xD7F)),
    "Sinh": ((0xD81, 0xDDF), (0xDF2, 0xDF3)),
    "Thai": ((0xE01, 0xE3A), (0xE40, 0xE4E)),
    "Laoo": ((0xE81, 0xECE), (0xEDC, 0xEDF)),
    "Tibt": ((0xF40, 0xFBC),),
    "Mymr": ((0x1000, 0x103F), (0x1050, 0x108F), (0xA9E0, 0xA9FE), (0xAA60, 0xAA7F)),
    "Geor": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2D)),
    "Ethi": ((0x1200, 0x135F), (0x1380, 0x138F), (0x2D80, 0x2DDE)),
    "Khmr": ((0x1780, 0x17D3),),
    "Hang": ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7FB)),
    "Kana": ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF),
             (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "Hani": ((0x2E80, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029),
             (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
}  # fmt: skip
_ELSEWHERE = ((0x700, 0x74F), (0x780, 0x7BF), (0x13A0, 0x13FF), (0x1400, 0x167F), (0x1820, 0x18AA))
_BLANKS = (0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B))
_BLANKS += (0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
_SEVERAL = {"Jpan": ("Kana", "Hani"), "Kore": ("Hang", "Hani")}  # scripts written together


class Counts(NamedTuple):
    """(B,) each."""

    characters: NDArray[np.int64]
    words: NDArray[np.int64]  # what stands between blanks
    expected: NDArray[np.int64]  # letters of the script
    foreign: NDArray[np.int64]  # letters of others


def counts(texts: Sequence[str], script: str | None) -> Counts:
    """Of texts without line breaks. Where no script is expected, no letter is foreign."""
    blocks = [_counts(texts[i : i + _BLOCK], script) for i in range(0, len(texts), _BLOCK)]
    empty = np.zeros((4, 0), np.int64)
    return Counts(*np.concatenate([empty, *(np.stack(block) for block in blocks)], axis=1))


def _counts(texts: Sequence[str], script: str | None) -> Counts:
    whole = "\n".join([*texts, ""]).encode("utf-32-le")
    points_N = np.frombuffer(whole, np.uint32)
    kinds_N = _table()[points_N]
    stops = np.flatnonzero(points_N == 0xA)
    starts = np.concatenate([[0], stops[:-1] + 1])
    blank = kinds_N == _BLANK
    begins = ~blank
    begins[1:] &= blank[:-1]
    own = np.isin(kinds_N, [_number(s) for s in _SEVERAL.get(script or "", (script or "",))])
    letters = kinds_N >= _LETTER

    def summed(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        total = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        return np.asarray(total[stops] - total[starts], np.int64)

    expected = summed(own if script is not None else letters)
    return Counts(stops - starts, summed(begins), expected, summed(letters) - expected)


def _number(script: str) -> int:
    names = list(_RANGES)
    return _LETTER + 1 + names.index(script) if script in _RANGES else 255


@cache
def _table() -> NDArray[np.uint8]:
    """The kind of every code point."""
    table = np.full(0x110000, _OTHER, np.uint8)
    for first, last in _ELSEWHERE:
        table[first : last + 1] = _LETTER
    for script, ranges in _RANGES.items():
        for first, last in ranges:
            table[first : last + 1] = _number(script)
    table[list(_BLANKS)] = _BLANK
    return table
