"""Cards: what technique files say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass

import pytest

from shoestring import plugins
from shoestring.core.errors import UserError
from shoestring.report import cards


@dataclass(frozen=True)
class Options:
    """A card."""

    needed: str
    ratio: float = 0.5  # share of the units
    parts: tuple[int, ...] = (1, 2)  # which
    none: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    limit: int | None = None  # None: no limit
    on: bool = True
    told: int = field(default=1, metadata={"help": "from the metadata"})  # not this


def test_every_technique_has_a_sentence() -> None:
    listed = cards.technique_list()
    assert [card.name for card in listed] == list(plugins.technique_names())
    assert all(card.sentence.endswith(".") for card in listed)


def test_every_technique_has_a_card_and_explains_its_options() -> None:
    for name in plugins.technique_names():
        card = cards.card(name)
        assert len(card.text.split()) > 20, name
        assert all(option.help for option in card.options), name


def test_a_wrong_name_is_refused() -> None:
    with pytest.raises(UserError, match="there are: "):
        cards.card("prun")


def test_options_are_told_from_the_fields() -> None:
    found = {o.name: (o.default, o.help) for o in cards.options(Options)}
    assert found == {
        "needed": ("", ""),
        "ratio": ("0.5", "share of the units"),
        "parts": ("1+2", "which"),
        "none": ("none", ""),
        "names": ("none", ""),
        "limit": ("none", "None: no limit"),
        "on": ("true", ""),
        "told": ("1", "from the metadata"),
    }


def test_a_class_that_stands_in_no_file_has_no_comments() -> None:
    (option,) = cards.options(make_dataclass("Made", [("a", "int", 1)]))
    assert (option.name, option.default, option.help) == ("a", "1", "")
