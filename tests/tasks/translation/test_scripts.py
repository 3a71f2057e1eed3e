"""Characters, words and letters are counted as one by one, however many texts there are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.tasks.translation import scripts

lines = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))


@given(lines)
def test_characters_and_words(some: list[str]) -> None:
    found = scripts.counts(some, None)
    assert found.characters.tolist() == [len(text) for text in some]
    ours = "".join(chr(c) for c in scripts._BLANKS)
    table = str.maketrans(ours, " " * len(ours))
    words = [len([w for w in text.translate(table).split(" ") if w]) for text in some]
    assert found.words.tolist() == words
    assert not found.foreign.any()


@pytest.mark.parametrize(
    ("text", "script", "expected", "foreign"),
    [
        ("Der Zug fährt.", "Latn", 11, 0),
        ("Поезд идёт", "Latn", 0, 9),
        ("Поезд идёт", "Cyrl", 9, 0),
        ("日本の東京", "Jpan", 5, 0),
        ("日本の東京", "Hani", 4, 1),
        ("서울 123", "Kore", 2, 0),
        ("שלום!", "Hebr", 4, 0),
        ("🐕🐕🐕 12", "Latn", 0, 0),
        ("ᏣᎳᎩ", "Latn", 0, 3),
        ("ÆØÅ \u00d7 \u00f7", "Latn", 3, 0),
    ],
)
def test_letters_of_a_script(text: str, script: str, expected: int, foreign: int) -> None:
    found = scripts.counts([text], script)
    assert (int(found.expected[0]), int(found.foreign[0])) == (expected, foreign)


def test_the_table_agrees_with_the_names_of_letters() -> None:
    """Letters of the first planes whose name begins with a script's are of that script."""
    named = {
        "LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek", "HEBREW": "Hebr",
        "HANGUL": "Hang", "THAI": "Thai", "GEORGIAN": "Geor", "DEVANAGARI": "Deva",
    }  # fmt: skip
    table = scripts._table()
    for point in range(0x20, 0xFFFF):
        letter = chr(point)
        word = unicodedata.name(letter, "").partition(" ")[0]
        if word in named and unicodedata.category(letter) in ("Lu", "Ll", "Lo"):
            if 0x1D00 <= point <= 0x1DBF or point == 0xAB65:
                continue  # signs of phonetic writing
            assert table[point] == scripts._number(named[word]), unicodedata.name(letter)
