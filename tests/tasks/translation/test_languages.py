"""Codes of languages are read as people write them, and unknown ones are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.tasks.translation import languages


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("pt_br", "pt-BR"),
        ("zh-hans", "zh-Hans"),
        ("zh_Hant_TW", "zh-Hant-TW"),
        ("deu", "de"),
        ("ger", "de"),
        ("es-419", "es-419"),
        ("fil", "fil"),
        ("mul", "mul"),
    ],
)
def test_a_code_in_its_usual_writing(written: str, code: str) -> None:
    assert languages.language(written) == code


@pytest.mark.parametrize("word", ["xx", "e", "english!", "en--us", "", "gz", "txt", "1"])
def test_an_unknown_code_is_refused(word: str) -> None:
    assert languages.known(word) is None
    with pytest.raises(UserError, match=r"unknown language code .*[.] A code has"):
        languages.language(word)


def test_a_country_in_the_place_of_a_language_is_put_right() -> None:
    with pytest.raises(UserError, match=r"target: unknown language code 'jp'; 'ja' is meant\?"):
        languages.language("jp", "target")


@given(st.text(max_size=12))
def test_any_word_is_a_code_or_none(word: str) -> None:
    code = languages.known(word)
    assert code is None or languages.known(code) == code


def test_regions_serve_for_their_language() -> None:
    assert languages.matches("pt-BR", "pt")
    assert languages.matches("pt", "pt-BR")
    assert not languages.matches("pt-PT", "pt-BR")
    assert not languages.matches("pt", "es")


@pytest.mark.parametrize(
    ("code", "tokenizer", "spaces"),
    [("de", "13a", True), ("zh-TW", "zh", False), ("ja", "ja-mecab", False), ("th", "char", False)],
)
def test_how_a_language_is_cut_into_words(code: str, tokenizer: str, spaces: bool) -> None:
    assert languages.bleu_tokenizer(code) == tokenizer
    assert languages.has_spaces(code) == spaces


def test_scripts() -> None:
    assert languages.script("de") == "Latn"
    assert languages.script("ru") == "Cyrl"
    assert languages.script("sr") is None
    assert languages.script("sr-Latn") == "Latn"
    assert languages.script("zh-Hant") == "Hani"
    assert languages.script("mul") is None
