"""Dates are written as the locales write them, and read back to the one day that they mean."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import MissingExtra
from shoestring.core.protocols import silent
from shoestring.data import dates
from shoestring.tasks.translation import data
from shoestring.tasks.translation.options import TranslationOptions

SOME = dates.pairs(600, silent)


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path))
    monkeypatch.setattr(dates, "SIZES", {"train": 400, "validation": 50, "test": 60})


def test_there_are_at_least_twenty_languages() -> None:
    assert len({locale.partition("-")[0] for locale in dates.LOCALES}) == 27
    tags = {source.partition(" ")[0] for source, _ in SOME}
    assert tags == {f"<{locale}>" for locale in dates.LOCALES}


def test_every_answer_is_a_day_of_the_window() -> None:
    for source, target in SOME:
        assert re.fullmatch(r"<[A-Za-z-]+> .+", source)
        day = datetime.date.fromisoformat(target)
        assert dates.FIRST <= day <= dates.LAST
        assert day.isoformat() == target
    assert len({source for source, _ in SOME}) == len(SOME)


def test_the_same_are_made_again_and_others_by_another_seed() -> None:
    assert dates.pairs(600, silent) == SOME
    assert dates.pairs(100, silent) == SOME[:100]
    assert dates.pairs(100, silent, seed=1) != SOME[:100]


@given(st.dates(dates.FIRST, dates.LAST), st.sampled_from(dates.LOCALES))
def test_with_its_locale_a_date_means_one_day(day: datetime.date, locale: str) -> None:
    for way in dates._ways(locale):
        text = way.written(day)
        meant = {found for other in dates._ways(locale) for found in other.meant(text)}
        assert meant == {day}, text


def test_blanks_are_those_that_people_type() -> None:
    assert {letter for source, _ in SOME for letter in source if letter.isspace()} == {" "}
    assert "\u0433." in "".join(source for source, _ in SOME)  # behind a blank that does not break


def test_the_ceiling_of_tagged_dates_is_all_of_them() -> None:
    assert dates.ceiling([source for source, _ in SOME]) == 1.0


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("5. März 1987", 1.0, 1.0),  # German alone
        ("1987-03-05", 1.0, 1.0),
        ("03/05/1987", 1.0, 1.0),  # nobody but the British and such, day first
        ("3/5/87", 0.5, 0.9),  # Americans and others
        ("13/5/87", 1.0, 1.0),
    ],
)
def test_without_a_locale_some_dates_have_several_readings(
    text: str, low: float, high: float
) -> None:
    assert low <= dates.ceiling([text]) <= high


def test_the_ceiling_is_what_counting_gives() -> None:
    """Over every date of three months: the best answerer takes the likeliest day of each text."""
    weights: dict[str, dict[datetime.date, float]] = {}
    days = [dates.FIRST + datetime.timedelta(i) for i in range(90)]
    for locale in dates.LOCALES:
        ways = dates._ways(locale)
        for way in ways:
            for day in days:
                of = weights.setdefault(way.written(day), {})
                of[day] = of.get(day, 0.0) + 1 / len(ways)
    for text, of in list(weights.items())[::97]:
        counted = max(of.values()) / sum(of.values())
        assert dates.ceiling([text]) <= counted + 1e-9  # later days may share the text
        if len(of) > 1:
            assert dates.ceiling([text]) < 1


def test_the_best_guess_without_locales_is_nearly_always_right() -> None:
    assert 0.98 < dates.ceiling([dates.without_tag(source) for source, _ in SOME]) < 1.0


def test_what_is_no_date_has_no_ceiling() -> None:
    with pytest.raises(ValueError, match="'soon' is none of these dates"):
        dates.ceiling(["soon"])
    assert dates.ceiling([]) == 1.0


@pytest.mark.usefixtures("few")
def test_the_data_set_is_made_once_and_loads_like_any_other() -> None:
    assert dates.here() is None
    found = data.load("dates", TranslationOptions(), silent)
    assert dates.here() is not None
    assert (found.facts["source"], found.facts["target"]) == ("mul", "zxx")
    assert [found.count(s) for s in ("train", "validation", "test")] == [400, 50, 60]
    assert [f.kind for f in found.findings] == ["licence"]
    assert found.train.sources[0] == SOME[0][0]
    graded = data.load_for("dates:test", found.facts, TranslationOptions(), silent)
    assert list(graded.sources) == list(found.test().sources)


@pytest.mark.usefixtures("few")
def test_without_tags_it_is_a_data_set_of_its_own() -> None:
    tagged = data.load("dates", TranslationOptions(), silent)
    found = data.load("dates:untagged", TranslationOptions(), silent)
    assert not any(source.startswith("<") for source in found.train.sources)
    for words in ("dates:untagged", "dates:untagged:test"):
        graded = data.load_for(words, tagged.facts, TranslationOptions(), silent)
        assert graded.split == "test"
        expected = [dates.without_tag(source) for source in tagged.test().sources]
        assert list(graded.sources) == expected


@pytest.mark.usefixtures("few")
def test_without_babel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babel.dates", None)
    with pytest.raises(MissingExtra, match=r"shoestring\[locales\]"):
        dates.get(silent)
