"""Counts in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.core.quantity import count_words, parse_count, plain_quality


@pytest.mark.parametrize(
    ("words", "number"),
    [("1.3B", 1.3e9), ("350m", 350e6), ("20e9", 20e9), ("2G", 2e9), ("1T", 1e12), ("1,000", 1e3)],
)
def test_letters_are_read(words: str, number: float) -> None:
    assert parse_count(words, "--parameters") == pytest.approx(number)


@pytest.mark.parametrize("words", ["7X", "", "B", "-1B", "0", "nan", "inf", "1.3 billion", "0x10"])
def test_anything_else_is_refused_by_the_option_s_name(words: str) -> None:
    with pytest.raises(UserError, match=r"--parameters is a positive number such as 350M"):
        parse_count(words, "--parameters")


@given(st.floats(1, 9e14))
def test_words_come_back_as_nearly_the_same(number: float) -> None:
    assert parse_count(count_words(number), "it") == pytest.approx(number, rel=0.006)


def test_a_quality_has_the_digits_of_its_metric() -> None:
    assert plain_quality(0.99312, "accuracy") == "0.9931"
    assert plain_quality(36.214, "BLEU") == plain_quality(36.214, "lowercased_bleu") == "36.21"
    assert plain_quality(0.58812, "BLEU") == "0.59"
