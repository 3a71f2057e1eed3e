"""heatmap: where a translation looked, as a picture: source words across, target words down.

Shapes: S source labels, T target labels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.tasks.translation import lettering

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_LABELS = 120  # on a side; a longer sentence is cut
MOST_LETTERS = 24  # of a label
LETTER = 17  # pixels
CELL = 30
EDGE = 14
END = "(end)"
WORD_START = "\u2581"  # sentencepiece's blank
# From white to dark blue through equal steps of lightness.
_SCALE = ((255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))


def words(
    source: Sequence[str], target: Sequence[str], attention_TS: NDArray[np.float32]
) -> tuple[list[str], list[str], NDArray[np.float32]]:
    """Pieces joined to words: a word's attention is the mean over its target pieces of the sum
    over its source pieces. Scripts without blanks keep their pieces."""
    columns, rows = _joined(source), _joined(target)
    taken = np.stack([attention_TS[:, start:end].sum(axis=1) for start, end, _ in columns], axis=1)
    means = np.stack([taken[start:end].mean(axis=0) for start, end, _ in rows])
    return [text for *_, text in columns], [text for *_, text in rows], means


def _joined(pieces: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first, past the last, text) of each word, or of each piece where blanks are rare. A piece
    without a text goes on with the one before it."""
    blanks = sum(piece.startswith(WORD_START) for piece in pieces)
    apart = blanks * 4 < len(pieces)
    found: list[tuple[int, int, str]] = []
    for place, piece in enumerate(pieces):
        text = piece.replace(WORD_START, " ").strip()
        begins = (apart and piece) or piece.startswith(WORD_START) or piece == END
        if begins or not found or found[-1][2] == END:
            found.append((place, place + 1, text))
        else:
            found[-1] = (found[-1][0], place + 1, found[-1][2] + text)
    return [(start, end, text or " ") for start, end, text in found]


def heatmap(
    source: Sequence[str], target: Sequence[str], attention_TS: NDArray[np.float32]
) -> Image:
    """The picture. Each row holds the shares of one target label's attention; a scale stands
    below. `attention_TS` has a row for each target label and a column for each source label."""
    from PIL import Image, ImageDraw

    if attention_TS.shape != (len(target), len(source)) or not attention_TS.size:
        raise ValueError(
            f"attention {attention_TS.shape} is not ({len(target)} targets, {len(source)} sources)"
        )
    across = [lettering.word(_short(text), LETTER) for text in source[:MOST_LABELS]]
    down = [lettering.word(_short(text), LETTER) for text in target[:MOST_LABELS]]
    shares = np.clip(np.nan_to_num(attention_TS[: len(down), : len(across)]), 0, 1)
    left = EDGE + max(label.width for label in down) + 8
    top = EDGE + max(label.width for label in across) + 8
    wide, high = CELL * len(across), CELL * len(down)
    scale_top = top + high + 18
    least = left + 190  # room for the scale
    canvas = Image.new("RGB", (max(left + wide, least) + EDGE, scale_top + 34 + EDGE), "white")
    for place, label in enumerate(across):
        turned = label.rotate(90, expand=True)
        x = left + CELL * place + (CELL - turned.width) // 2
        canvas.paste(turned, (x, top - 8 - turned.height), turned)
    for place, label in enumerate(down):
        y = top + CELL * place + (CELL - label.height) // 2
        canvas.paste(label, (left - 8 - label.width, y), label)
    colors = Image.fromarray(_colors(shares)).resize((wide, high), Image.Resampling.NEAREST)
    canvas.paste(colors, (left, top))
    draw = ImageDraw.Draw(canvas)
    for place in range(len(across) + 1):
        x = left + CELL * place
        draw.line([(x, top), (x, top + high)], fill=(225, 228, 232))
    for place in range(len(down) + 1):
        y = top + CELL * place
        draw.line([(left, y), (left + wide, y)], fill=(225, 228, 232))
    _draw_scale(canvas, left, scale_top)
    return canvas


def write(
    path: str | os.PathLike[str],
    source: Sequence[str],
    target: Sequence[str],
    attention_TS: NDArray[np.float32],
) -> None:
    """A PNG of the words of a translation. UserError where it cannot be written."""
    try:
        heatmap(*words(source, target, attention_TS)).save(path, "PNG", optimize=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _draw_scale(canvas: Image, left: int, top: int) -> None:
    from PIL import Image

    ramp = np.repeat(np.linspace(0, 1, 120, dtype=np.float32)[None], 10, axis=0)
    canvas.paste(Image.fromarray(_colors(ramp)), (left, top))
    for share, written in ((0.0, "0"), (1.0, "1")):
        label = lettering.word(written, 12)
        canvas.paste(label, (left + round(120 * share) - label.width // 2, top + 12), label)
    label = lettering.word("attention", 12)
    canvas.paste(label, (left + 130, top - 5), label)


def _colors(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(..., 3) bytes of shares from 0 to 1."""
    stops = np.array(_SCALE, np.float64)
    at = np.sqrt(shares.astype(np.float64)) * (len(stops) - 1)  # small shares are seen as well
    low = np.minimum(at.astype(np.int64), len(stops) - 2)
    part = (at - low)[..., None]
    return np.asarray(np.rint(stops[low] * (1 - part) + stops[low + 1] * part), np.uint8)


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
