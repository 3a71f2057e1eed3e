"""Where a translation looked, as a picture with labels in any script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.core.errors import UserError
from shoestring.tasks.translation import heatmap, lettering

SOURCE = ["\u2581Two", "\u2581dog", "s", "\u2581run", ".", heatmap.END]
TARGET = ["\u2581Zwei", "\u2581Hun", "de", "\u2581laufen", ".", heatmap.END]


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with Pillow's own letters alone."""
    for cached in (lettering._files, lettering._font_of):
        cached.cache_clear()
    monkeypatch.setattr(lettering, "_folders", lambda: iter(()))
    yield
    for cached in (lettering._files, lettering._font_of):
        cached.cache_clear()


def test_pieces_are_joined_to_words() -> None:
    attention = np.arange(36, dtype=np.float32).reshape(6, 6)
    source, target, joined = heatmap.words(SOURCE, TARGET, attention)
    assert source == ["Two", "dogs", "run.", "(end)"]
    assert target == ["Zwei", "Hunde", "laufen.", "(end)"]
    assert joined[0].tolist() == [0, 1 + 2, 3 + 4, 5]  # a sum over a word's source pieces
    assert joined[1].tolist() == [9, 10 + 11, 12 + 13, 14]  # a mean over its target pieces


def test_a_script_without_blanks_keeps_its_pieces() -> None:
    pieces = ["\u2581我们", "在", "海滩", "上", "跑步"]
    found = heatmap.words(pieces, pieces, np.eye(5, dtype=np.float32))
    assert found[0] == ["我们", "在", "海滩", "上", "跑步"]
    assert found[2].tolist() == np.eye(5).tolist()


def test_each_cell_has_the_color_of_its_share() -> None:
    shares = np.array([[1, 0], [0.25, 0.75], [0, 1]], np.float32)
    picture = heatmap.heatmap(["a", "b"], ["x", "y", "z"], shares)
    expected = heatmap._colors(shares)
    pixels = np.asarray(picture)
    left, top = np.argwhere((pixels == expected[0, 0]).all(axis=2)).min(axis=0)[::-1]
    half = heatmap.CELL // 2
    for row in range(3):
        for column in range(2):
            at = (top + half + heatmap.CELL * row, left + half + heatmap.CELL * column)
            assert pixels[at].tolist() == expected[row, column].tolist()


def test_darker_is_more() -> None:
    shades = heatmap._colors(np.linspace(0, 1, 50, dtype=np.float32)).astype(int).sum(axis=1)
    assert (np.diff(shades) < 0).all()


def test_a_long_sentence_is_cut_and_a_nan_is_nothing() -> None:
    count = heatmap.MOST_LABELS + 5
    picture = heatmap.heatmap(["w" * 90] * count, ["v"], np.full((1, count), np.nan, np.float32))
    assert picture.width < heatmap.CELL * (heatmap.MOST_LABELS + 3)
    with pytest.raises(ValueError, match=r"\(1, 2\) is not \(2 targets, 1 sources\)"):
        heatmap.heatmap(["a"], ["b", "c"], np.zeros((1, 2), np.float32))


def test_a_picture_is_written_or_it_is_said_why_not(tmp_path: Path) -> None:
    attention = np.eye(6, dtype=np.float32)
    heatmap.write(tmp_path / "a.png", SOURCE, TARGET, attention)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 4 * heatmap.CELL
    with pytest.raises(UserError, match=r"cannot write .*nowhere.*No such file"):
        heatmap.write(tmp_path / "nowhere" / "a.png", SOURCE, TARGET, attention)


@pytest.mark.parametrize(
    "text",
    ["Überraschung", "Łódź", "Привет", "שלום", "नमस्ते", "日本語", "😀", "a\x00b", ""],
)
def test_any_word_can_be_drawn_without_fonts(no_fonts: None, text: str) -> None:
    drawn = np.asarray(lettering.word(text, 17))
    visible = [c for c in text if not c.isspace()]
    assert drawn[..., 3].any() == bool(visible)
    longer = lettering.word(text + "m", 17)
    assert longer.width > drawn.shape[1]


def test_letters_with_marks_differ_from_those_without(no_fonts: None) -> None:
    for marked, plain in (("ä", "a"), ("é", "e"), ("č", "c"), ("Å", "A"), ("ñ", "n")):
        one, other = (np.asarray(lettering.word(text, 17)) for text in (marked, plain))
        assert one.shape == other.shape
        assert (one != other).any()


def test_letters_that_no_font_has_show_their_code_points(no_fonts: None) -> None:
    one, other = (np.asarray(lettering.word(text, 17)) for text in ("日", "本"))
    assert one.shape == other.shape
    assert (one != other).any()
