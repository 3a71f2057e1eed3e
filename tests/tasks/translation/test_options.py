"""Options are checked where they are said, in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from shoestring.core.errors import UserError
from shoestring.tasks.translation.options import TranslationOptions


def test_languages_are_brought_to_their_usual_writing() -> None:
    options = TranslationOptions(source="EN", target="pt_br")
    assert (options.source, options.target) == ("en", "pt-BR")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "de", "target": "deu"}, "the same language, 'de'"),
        ({"source": "english"}, r"source.*unknown language code 'english'; 'en' is meant\?"),
        ({"target": "xx"}, "target.*unknown language code 'xx'"),
        ({"pieces": 20}, "300 to 64,000, not 20"),
        ({"longest_characters": 0}, "longest_characters"),
        ({"length_ratio": 0.5}, "length_ratio"),
        ({"length_ratio": float("nan")}, "length_ratio"),
        ({"train_share": 0}, "train_share"),
        ({"validation_share": 1}, "validation_share"),
        ({"test_share": -0.1}, "test_share"),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TranslationOptions(**given)
