"""Pieces give back the text, are the same each time, and hang on no history of the process."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoestring.core.errors import DataError
from shoestring.tasks.translation import tokenizer as tokenizers
from shoestring.tasks.translation.special import BOS, EOS, FIRST_BYTE, PAD, UNK
from shoestring.tasks.translation.tokenizer import Tokenizer, WordTable, encoded
from tests.tasks.translation import tiny

TEXTS = [text for pair in tiny.pairs() for text in pair]
TOKENIZER = tokenizers.train(TEXTS, 400)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))
# Text like what pieces were learned from, so that merges happen, among what breaks tokenizers.
likely = st.lists(st.sampled_from(["one", "vier", "Hund", " ", "  ", "▁", "\0", "<s>", "é", "🐕"]))


@given(texts)
@example("")
@example(" ")
@example("  a  b ")
@example("▁")
@example("a▁b ▁ ▁▁c")
@example("\0")
@example("<s> </s> <unk> <pad> <0x41> \u2047 \u2585")
@example("e\u0301 한국어 שלום \u202eאב\u202c 👩‍👩‍👧‍👦 \U0010ffff")
@example("\r\t\x0b\x85\u2028")
def test_any_text_comes_back_in_its_normal_form(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)
    assert all(EOS < i < TOKENIZER.size for i in ids)


@given(likely.map("".join))
def test_text_with_learned_words_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.one_of(texts, likely.map("".join)), max_size=6))
def test_a_table_of_words_gives_what_each_text_gives(some: list[str]) -> None:
    some = [unicodedata.normalize("NFC", text) for text in some]
    rows = encoded(TOKENIZER, some)
    assert [row.tolist() for row in rows.rows()] == TOKENIZER.encode_all(some)


@given(st.lists(st.integers(0, TOKENIZER.size - 1)))
def test_any_pieces_are_some_text(ids: list[int]) -> None:
    TOKENIZER.decode(ids).encode("utf-8")


def test_very_long_words_are_cut_as_ever() -> None:
    long = "one" * 5_000
    table = WordTable(TOKENIZER, [long, "one"], 0.5)
    found = table.batch(np.array([0]), draws(1))
    assert found.values.tolist() == TOKENIZER.encode(long)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a\ufffd\ufffd\ufffdb"


def test_words_are_short_and_the_rest_goes_as_bytes() -> None:
    assert len(TOKENIZER.encode("Hund")) < 4
    assert TOKENIZER.encode("語")[1:] == [FIRST_BYTE + b for b in "語".encode()]
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)


def test_learning_again_gives_the_same_bytes() -> None:
    assert tokenizers.train(TEXTS, 400).model == TOKENIZER.model
    assert Tokenizer(TOKENIZER.model).encode("one red dog") == TOKENIZER.encode("one red dog")


def test_a_small_text_gives_fewer_pieces() -> None:
    small = tokenizers.train(["ab ab ab"], 8_000)
    assert small.size < 300
    assert small.decode(small.encode("ab zß")) == "ab zß"


def test_many_letters_leave_room_for_merges() -> None:
    """A vocabulary that letters alone would fill is a vocabulary of frequent letters."""
    han = [chr(0x4E00 + i) * (1 + i % 3) for i in range(2_000)]
    made = tokenizers.train([*TEXTS, *han], 500)
    assert made.size <= 500
    assert made.decode(made.encode(han[7])) == han[7]


def test_long_lines_are_no_obstacle() -> None:
    made = tokenizers.train(["wort " * 10_000, "ein wort"], 300)
    assert made.decode(made.encode("ein wort")) == "ein wort"


@pytest.mark.parametrize("nothing", [[], [""], ["", ""]])
def test_nothing_cannot_be_learned_from(nothing: list[str]) -> None:
    with pytest.raises(DataError, match="no text to learn"):
        tokenizers.train(nothing, 400)


@pytest.mark.parametrize("model", [b"", b"no model", b"\x0a\xff\xff\xff\xff"])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(DataError, match="sentencepiece"):
        Tokenizer(model)


# --- BPE-dropout --------------------------------------------------------------------------------


def draws(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 8), dtype=np.float32)


def test_every_drawn_segmentation_is_of_the_same_text() -> None:
    table = WordTable(TOKENIZER, TEXTS, 0.3)
    ids = np.arange(len(TEXTS))
    found = table.batch(ids, draws(len(ids)))
    assert [TOKENIZER.decode(row.tolist()) for row in found.rows()] == TEXTS
    assert len(found.values) > len(encoded(TOKENIZER, TEXTS).values)


def test_the_draws_alone_decide() -> None:
    one = WordTable(TOKENIZER, TEXTS, 0.3, seed=4)
    TOKENIZER.drawn(["other", "words"], 0.5, 99)
    other = WordTable(TOKENIZER, TEXTS, 0.3, seed=4)
    ids, numbers = np.arange(8), draws(8)
    whole = one.batch(ids, numbers)
    part = other.batch(ids[3:5], numbers[3:5])
    assert [row.tolist() for row in part.rows()] == [row.tolist() for row in whole.rows()[3:5]]
    assert one.batch(ids, draws(8, 1)).values.tolist() != whole.values.tolist()


def test_another_process_draws_the_same() -> None:
    code = (
        "from tests.tasks.translation import test_tokenizer as t\n"
        "table = t.WordTable(t.TOKENIZER, t.TEXTS, 0.3, seed=4)\n"
        "print(table.batch(t.np.arange(20), t.draws(20)).values.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    table = WordTable(TOKENIZER, TEXTS, 0.3, seed=4)
    assert done.stdout.strip() == str(table.batch(np.arange(20), draws(20)).values.tolist())


@settings(max_examples=30)
@given(st.lists(st.one_of(texts, likely.map("".join))))
def test_with_nothing_dropped_the_merges_are_sentencepiece_s(some: list[str]) -> None:
    words = [w for text in some for w in unicodedata.normalize("NFC", text).split(" ")]
    found = TOKENIZER.drawn(words, 0.0, 0)
    assert [row.tolist() for row in found.rows()] == TOKENIZER.words(words)


def test_without_dropout_nothing_is_dropped() -> None:
    table = WordTable(TOKENIZER, TEXTS, 0.0)
    found = table.batch(np.arange(len(TEXTS)), draws(len(TEXTS)))
    assert found.values.tolist() == encoded(TOKENIZER, TEXTS).values.tolist()


def test_with_all_dropped_only_letters_are_left() -> None:
    table = WordTable(TOKENIZER, ["Hund"], 1.0)
    assert len(table.batch(np.array([0]), draws(1)).values) == len("▁Hund")


@settings(max_examples=20)
@given(st.lists(likely.map("".join), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_any_text_may_be_in_a_table(some: list[str], seed: int) -> None:
    table = WordTable(TOKENIZER, some, 0.5, count=2, seed=seed)
    assert len(table) == len(some)
    found = table.batch(np.arange(len(some)), draws(len(some))[:, :1])
    assert [TOKENIZER.decode(row.tolist()) for row in found.rows()] == some


@pytest.mark.parametrize("dropout", [-0.1, 1.1, float("nan")])
def test_a_probability_is_one(dropout: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        WordTable(TOKENIZER, TEXTS, dropout)


def test_an_empty_model_is_refused_without_a_word_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DataError, match="no sentencepiece model: it is empty"):
        Tokenizer(b"")
    assert capfd.readouterr() == ("", "")
