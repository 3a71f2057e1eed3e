"""Each filter finds what it is for, leaves the rest alone, and can be turned off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shoestring.core.receipt import Finding
from shoestring.tasks.translation import filters
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.rows import Rows

GOOD = [(f"the dog number {i} runs", f"der Hund Nummer {i} rennt") for i in range(12)]


def rows_of(pairs: list[tuple[str, str]]) -> Rows:
    count = len(pairs)
    sources, targets = [p[0] for p in pairs], [p[1] for p in pairs]
    return Rows(sources, targets, np.arange(1, count + 1), np.zeros(count, np.int64), ["x.tsv"])


def unfit(
    pairs: list[tuple[str, str]], source: str = "en", target: str = "de", **options: Any
) -> tuple[list[int], list[Finding]]:
    rows = rows_of(pairs)
    every = np.ones(len(rows), np.bool_)
    mask, found = filters.unfit(rows, TranslationOptions(**options), source, target, every)
    return np.flatnonzero(mask).tolist(), found


def test_good_pairs_stay() -> None:
    assert unfit(GOOD) == ([], [])


@pytest.mark.parametrize(
    ("kind", "pair", "off"),
    [
        ("identical", ("Coca Cola", "Coca Cola"), {"keep_identical": True}),
        ("identical", ("5 km", "5\u00a0km"), {"keep_identical": True}),
        ("duplicate", GOOD[3], {"keep_duplicates": True}),
        ("wrong script", ("the dog runs", "собака бежит"), {"keep_wrong_script": True}),
        ("wrong script", ("собака бежит", "der Hund rennt"), {"keep_wrong_script": True}),
        ("length ratio", ("the dog", "Hund " * 30), {"length_ratio": 0}),
        ("length ratio", ("dog " * 30, "der Hund"), {"length_ratio": 20}),
    ],
)
def test_a_bad_pair_is_left_out_counted_and_shown(
    kind: str, pair: tuple[str, str], off: dict[str, Any]
) -> None:
    at, (found,) = unfit([*GOOD, pair])
    assert at == [len(GOOD)]
    assert (found.kind, found.count, found.dropped) == (kind, 1, 1)
    assert found.examples[0].startswith("x.tsv, line 13: ")
    at, kept = unfit([*GOOD, pair], **off)
    assert at == []
    assert [f.dropped for f in kept] in ([], [0])


def test_a_pair_is_counted_once() -> None:
    bad = ("собака бежит", "собака бежит")
    at, found = unfit([*GOOD, bad, bad])
    assert at == [12, 13]
    assert [(f.kind, f.count) for f in found] == [("identical", 2)]


def test_languages_without_spaces_are_counted_in_characters() -> None:
    pairs = [(f"the dog number {i} runs", f"第{i}只狗在跑步") for i in range(12)]
    assert unfit(pairs, target="zh") == ([], [])
    at, found = unfit([*pairs, ("dog", "狗" * 60)], target="zh")
    assert at == [12]
    assert "characters" in found[0].message


def test_what_is_no_language_may_stay_the_same() -> None:
    at, found = unfit([*GOOD, ("2001-02-03", "2001-02-03")], "mul", "zxx")
    assert at == []
    assert [(f.kind, f.dropped) for f in found] == [("identical", 0)]


@pytest.mark.parametrize("text", ["🐕🐕🐕🐕🐕🐕🐕", "!!! ??? 123", "OK"])
def test_signs_and_emoji_are_of_every_script(text: str) -> None:
    assert unfit([*GOOD, (text, f"{text} ja")])[0] == []


def test_short_pairs_may_differ_in_length() -> None:
    assert unfit([*GOOD, ("Cancel", "Vorgang jetzt abbrechen")])[0] == []


def test_empty_and_too_long() -> None:
    rows = rows_of([*GOOD, ("", "leer"), ("empty", ""), ("w " * 10_000, "lang")])
    every = np.ones(len(rows), np.bool_)
    out, (found,) = filters.empty(rows, every)
    assert np.flatnonzero(out).tolist() == [12, 13]
    assert (found.kind, found.dropped) == ("empty", 2)
    out, (found,) = filters.too_long(rows, TranslationOptions(), every)
    assert np.flatnonzero(out).tolist() == [14]
    assert len(found.examples[0]) < 200
    out, _ = filters.too_long(rows, TranslationOptions(longest_characters=30_000), every)
    assert not out.any()


def test_no_pairs_at_all() -> None:
    assert unfit([]) == ([], [])
