"""Corrupted sentences: each kind does what its name says, and leaves the target alone."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring.tasks.translation.examples import Texts, TranslationExamples
from shoestring.tasks.translation.options import SHIFTS
from shoestring.tasks.translation.rows import hashes
from shoestring.tasks.translation.shift import KINDS, shifted

SOURCES = [f"A small dog number {i} runs, jumps and \u201cswims\u201d again." for i in range(60)]
TARGETS = [f"Ein kleiner Hund Nummer {i}." for i in range(60)]


@pytest.fixture
def examples() -> TranslationExamples:
    codes = hashes(SOURCES, TARGETS)
    return TranslationExamples(Texts.of(SOURCES), Texts.of(TARGETS), codes, "test")


def test_the_kinds_are_those_that_the_task_names() -> None:
    assert tuple(KINDS) == SHIFTS


@pytest.mark.parametrize("kind", SHIFTS)
def test_targets_stay_and_severities_rise(kind: str, examples: TranslationExamples) -> None:
    changed = []
    for severity in (1, 3, 5):
        found = shifted(examples, kind, severity)
        assert list(found.targets) == TARGETS
        pairs = zip(found.sources, SOURCES, strict=True)
        changed.append(
            sum(a != b for x, y in pairs for a, b in zip(x.split(), y.split(), strict=False))
        )
    assert 0 < changed[0] < changed[1] < changed[2]


def test_the_hardest_case_shift_takes_every_word(examples: TranslationExamples) -> None:
    assert shifted(examples, "upper case", 5).sources[0] == SOURCES[0].upper()
    assert shifted(examples, "lower case", 5).sources[0] == SOURCES[0].lower()
    bare = shifted(examples, "no punctuation", 5).sources[0]
    assert bare == "A small dog number 0 runs jumps and swims again"


def test_a_typo_leaves_short_words_numbers_and_blanks_alone() -> None:
    sources = ["is  it 1234 a-b?"] * 30
    codes = np.arange(30, dtype=np.uint64)
    some = TranslationExamples(sources, sources, codes, "test")
    assert list(shifted(some, "typos", 5).sources) == sources


def test_a_typo_is_one_slip() -> None:
    sources = ["understanding"] * 200
    codes = np.arange(200, dtype=np.uint64)
    some = TranslationExamples(sources, sources, codes, "test")
    found = set(shifted(some, "typos", 5).sources)
    assert {len(word) for word in found} == {12, 13, 14}
