"""lettering: words drawn in any script, with the fonts that this machine has.

A letter that no font has is drawn as the letter it is made of with its mark where it has one, and
else as a box with its code point, as browsers do it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

INK = (32, 33, 36)
_MOST_FONTS = 200  # that are looked into for a letter
_BAD_LETTER = "\U0010fffd"  # of a plane for private use, which no font has
# Looked at before others: they have many scripts.
_WIDE = ("notosans-regular", "dejavusans", "arialunicode", "notosanscjk", "unifont", "arial")
_NO_LETTERS = "lastresort"  # a font that has a box for every script, and no letter of any
# Marks that fonts without accented letters leave out: strokes in a square of 1 over the letter.
_MARKS = {
    "\u0300": (((0.3, 0.1), (0.6, 0.8)),),
    "\u0301": (((0.4, 0.8), (0.7, 0.1)),),
    "\u0302": (((0.2, 0.8), (0.5, 0.1)), ((0.5, 0.1), (0.8, 0.8))),
    "\u0303": (((0.1, 0.7), (0.4, 0.3)), ((0.4, 0.3), (0.6, 0.7)), ((0.6, 0.7), (0.9, 0.3))),
    "\u0304": (((0.1, 0.5), (0.9, 0.5)),),
    "\u0306": (((0.2, 0.2), (0.5, 0.8)), ((0.5, 0.8), (0.8, 0.2))),
    "\u0307": (((0.45, 0.5), (0.55, 0.5)),),
    "\u0308": (((0.15, 0.5), (0.3, 0.5)), ((0.7, 0.5), (0.85, 0.5))),
    "\u030a": (((0.3, 0.2), (0.7, 0.2)), ((0.3, 0.8), (0.7, 0.8)), ((0.3, 0.2), (0.3, 0.8)),
               ((0.7, 0.2), (0.7, 0.8))),
    "\u030b": (((0.2, 0.8), (0.45, 0.1)), ((0.6, 0.8), (0.85, 0.1))),
    "\u030c": (((0.2, 0.1), (0.5, 0.8)), ((0.5, 0.8), (0.8, 0.1))),
}  # fmt: skip
_SPELT = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "\u0131": "i", "…": "..."}


def word(text: str, size: int) -> Image:
    """The word in dark ink on nothing, in letters of `size` pixels."""
    from PIL import Image, ImageDraw

    runs = [(run, _width(run, size)) for run in _runs(text, size)]
    height = round(size * 1.6)
    canvas = Image.new("RGBA", (max(1, sum(width for _, width in runs)), height), (0, 0, 0, 0))
    draw, x = ImageDraw.Draw(canvas), 0
    for (letters, font), width in runs:
        if font is None:
            _box(draw, x, letters, size)
        else:
            drawn = unicodedata.normalize("NFC", letters)
            marks = [c for c in letters if c in _MARKS] if not _has(font, drawn) else []
            base = "".join(c for c in letters if c not in marks) if marks else drawn
            draw.text((x, size * 1.25), base, font=font, fill=INK, anchor="ls")
            for mark in marks:
                _mark(draw, x, width, _MARKS[mark], size, base.isupper())
        x += width
    return canvas


Run = tuple[str, "FreeTypeFont | None"]  # letters, and the font that has them


def _runs(text: str, size: int) -> Iterator[Run]:
    """The text in pieces of one font each; long ones, so that scripts that join letters do."""
    letters, font = "", _built_in(size)
    for letter in _clusters(unicodedata.normalize("NFC", text)):
        found = _font_of(letter, size)
        plain = letter
        if found is None:
            plain = unicodedata.normalize("NFD", letter)
            spelt = _SPELT.get(letter.lower(), plain)
            plain = spelt.upper() if letter.isupper() else spelt
            rest = "".join(c for c in plain if c not in _MARKS)
            found = _font_of(rest, size) if rest else None
        alone = found is None or plain != letter
        if letters and (alone or found is not font):
            yield letters, font
            letters = ""
        if alone:
            yield (plain if found is not None else letter), found
        else:
            assert found is not None
            letters, font = letters + letter, found
    if letters:
        yield letters, font


def _clusters(text: str) -> Iterator[str]:
    """Letters with the marks that stand on them."""
    cluster = ""
    for letter in text:
        if cluster and not unicodedata.combining(letter):
            yield cluster
            cluster = ""
        cluster += letter
    if cluster:
        yield cluster


def _width(run: Run, size: int) -> int:
    letters, font = run
    if font is None:
        return _box_width(size) * len(letters)
    drawn = unicodedata.normalize("NFC", letters)
    if not _has(font, drawn):
        drawn = "".join(c for c in letters if c not in _MARKS)
    return max(1, round(font.getlength(drawn)))


def _box_width(size: int) -> int:
    return round(size * 0.95)


def _box(draw: ImageDraw, x: int, letters: str, size: int) -> None:
    """The code point of each letter in two rows of digits."""
    font, width = _built_in(max(6, round(size * 0.5))), _box_width(size)
    for letter in letters:
        code = f"{ord(letter):04X}"
        half = (len(code) + 1) // 2
        draw.rectangle((x + 1, round(size * 0.2), x + width - 2, round(size * 1.35)), outline=INK)
        for row, digits in enumerate((code[:half], code[half:])):
            at = (x + width / 2, size * (0.5 + 0.52 * row))
            draw.text(at, digits, font=font, fill=INK, anchor="mm")
        x += width


def _mark(
    draw: ImageDraw,
    x: int,
    width: int,
    strokes: tuple[tuple[tuple[float, float], tuple[float, float]], ...],
    size: int,
    over_capital: bool,
) -> None:
    side, top = size * 0.34, size * (0.12 if over_capital else 0.36)
    left = x + (width - side) / 2
    for (x0, y0), (x1, y1) in strokes:
        ends = [
            (left + x0 * side, top + y0 * side * 0.6),
            (left + x1 * side, top + y1 * side * 0.6),
        ]
        draw.line(ends, fill=INK, width=max(1, size // 9))


# --- fonts ---------------------------------------------------------------------------------------


@cache
def _built_in(size: int) -> FreeTypeFont:
    """Pillow's own: Latin letters without accents."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@cache
def _font_of(letter: str, size: int) -> FreeTypeFont | None:
    """The first font that has a letter and its marks."""
    from PIL import ImageFont

    for path in _files():
        try:
            font = _opened(path, size)
        except OSError:  # no font, or of a kind that is not read
            continue
        if _has(font, letter):
            return font
    font = _built_in(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font if _has(font, letter) else None


@cache
def _opened(path: Path, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(str(path), size)


def _has(font: FreeTypeFont, letters: str) -> bool:
    """Whether none of the letters is drawn as the box that stands for all that a font lacks."""
    lacking = _picture(font, _BAD_LETTER)
    return all(c.isspace() or unicodedata.category(c) == "Cf" or _picture(font, c) != lacking
               for c in letters)  # fmt: skip


@cache
def _picture(font: FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter, mode="L")
    return mask.size, bytes(mask)


@cache
def _files() -> tuple[Path, ...]:
    """The fonts of this machine, those of many scripts first."""
    found = [
        path
        for folder in _folders()
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".ttf", ".otf", ".ttc")
        and not path.stem.lower().startswith(_NO_LETTERS)
    ]

    def place(path: Path) -> int:
        name = path.stem.lower()
        return next((i for i, start in enumerate(_WIDE) if name.startswith(start)), len(_WIDE))

    return tuple(sorted(found, key=lambda path: (place(path), len(path.name), path.name)))[
        :_MOST_FONTS
    ]


def _folders() -> Iterator[Path]:
    """Where systems keep fonts; matplotlib brings some along where it is installed."""
    home = Path.home()
    if sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    elif sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"
    else:
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
        yield from (home / ".local/share/fonts", home / ".fonts")
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "mpl-data/fonts/ttf"
