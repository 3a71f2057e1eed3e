"""Names come in natural order, print on one line, and splits are known by many words."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from shoestring.data import names
from shoestring.data.names import counted, natural_key, printable, split_of


def test_numbers_sort_by_value() -> None:
    names = ["10", "9", "img10", "img9", "a2b10", "a2b9", "1"]
    assert sorted(names, key=natural_key) == ["1", "9", "10", "a2b9", "a2b10", "img9", "img10"]


@given(st.lists(st.text(alphabet="0123456789ab٣²-", max_size=8), unique=True))
def test_different_names_never_tie(names: list[str]) -> None:
    assert len({natural_key(name) for name in names}) == len(names)
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text())
def test_printable_is_one_line_of_utf8(name: str) -> None:
    shown = printable(name)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


def test_bytes_that_are_no_text_are_shown_escaped() -> None:
    assert printable("a\udcffb\nc") == "a\\udcffb\\nc"
    assert printable("Käse 猫") == "Käse 猫"


def test_words_for_splits() -> None:
    assert [split_of(w) for w in ("val", "Valid", "dev", "validation")] == ["validation"] * 4
    assert (split_of("TRAIN"), split_of("test"), split_of("cats")) == ("train", "test", None)


def test_words_agree_with_their_number() -> None:
    assert counted(1, "step") == "1 step"
    assert counted(0, "step") == "0 steps"
    assert counted(2000, "class has", "classes have") == "2,000 classes have"


@given(st.text(max_size=20))
def test_a_name_in_code_is_one_span(name: str) -> None:
    span = names.code(name)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence) and len(span.splitlines()) == 1
    assert all(len(run) < len(fence) for run in re.findall("`+", inner))
