"""Figures of translations from the statistics of each sentence, against sacreBLEU's own."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from shoestring.core.errors import UserError
from shoestring.tasks.translation import scores as module
from shoestring.tasks.translation.scores import (
    bleu,
    chrf,
    corpus_bleu,
    scores,
    sentence_statistics,
    statistics,
)

FACTS = {"source": "en", "target": "de", "bleu_tokenizer": "13a"}
WORDS = st.sampled_from("a b c A B . , dog's x-y 3.5 ein Hund".split())
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8)


def outcomes(hypotheses: list[str], references: list[str], **more: object) -> dict:
    count = len(hypotheses)
    return {
        "hashes": np.arange(count, dtype=np.uint64),
        "hypotheses": np.array(hypotheses),
        **sentence_statistics(hypotheses, references, FACTS),
        "log_probability": np.full(count, -6.0),
        "tokens": np.full(count, 4),
        "tokens_right": np.full(count, 3),
        **more,
    }


@settings(max_examples=60)
@given(PAIRS)
def test_figures_are_those_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    hypotheses, references = ([pair[side] for pair in pairs] for side in (0, 1))
    found = scores(outcomes(hypotheses, references), FACTS)
    cased = BLEU(force=True).corpus_score(hypotheses, [references])
    lower = BLEU(force=True, lowercase=True).corpus_score(hypotheses, [references])
    assert found.quality == pytest.approx(cased.score)
    assert corpus_bleu(hypotheses, references, FACTS) == pytest.approx(cased.score)
    assert found.details["lowercased_BLEU"] == pytest.approx(lower.score)
    letters = CHRF().corpus_score(hypotheses, [references])
    assert found.details["chrF"] == pytest.approx(letters.score)
    assert found.interval is not None
    assert found.interval.low <= found.interval.value <= found.interval.high


def test_signatures_are_those_of_sacrebleu() -> None:
    found = scores(outcomes(["ein Hund"], ["ein Hund"]), FACTS)
    metric = BLEU(force=True)
    metric.corpus_score(["a"], [["a"]])
    assert found.signature == f"BLEU|{metric.get_signature()}"
    assert "case:mixed" in found.signature
    assert "tok:13a" in found.signature
    lower = found.details["lowercased_BLEU_signature"]
    assert "case:lc" in lower
    assert "differs from BLEU by case alone" in lower
    assert found.details["chrF_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0")


def test_a_split_by_hand() -> None:
    truth = ["ein Hund läuft am Strand .", "zwei rote Katzen"]
    more = {"seconds": np.array([0.5, 1.5]), "pieces": np.array([6, 4])}
    found = scores(outcomes([truth[0], "zwei alte Katzen "], truth, **more), FACTS)
    assert found.metric == "BLEU"
    assert found.examples == 2
    assert found.loss == pytest.approx(1.5)
    assert found.details["perplexity"] == pytest.approx(np.exp(1.5))
    assert found.details["token_accuracy"] == 0.75
    assert found.details["exact_match"] == 0.5
    assert found.details["length_ratio"] == 1.0
    assert found.details["sentences_per_second"] == 1.0
    assert found.details["tokens_per_second"] == 5.0
    (row,) = found.details["by_length"]
    assert (row["words"], row["sentences"], row["exact_match"]) == ("up to 10", 2, 0.5)
    assert row["BLEU"] == pytest.approx(found.quality)


def test_blanks_around_a_translation_are_no_difference() -> None:
    found = sentence_statistics([" a ", "A", ""], ["a", "a", ""], FACTS)
    assert found["right"].tolist() == [True, False, True]


def test_an_empty_split_has_no_quality() -> None:
    found = scores(outcomes([], []), FACTS)
    assert found.quality is None
    assert found.examples == 0


def test_outcomes_of_another_kind_are_refused() -> None:
    with pytest.raises(UserError, match="hold no 'bleu_counts'"):
        statistics({"hashes": np.zeros(1, np.uint64)})


def test_quality_is_resampled_from_what_is_stored() -> None:
    some = outcomes(["a b c d e", "a b c x y"], ["a b c d e", "a b c d e"])
    found = statistics(some)
    assert found.rows_BS.shape == (2, 10)
    whole = found.metric(found.rows_BS.sum(axis=0)[None])
    assert whole[0] == pytest.approx(scores(some, FACTS).quality)
    assert found.metric(found.rows_BS)[0] == pytest.approx(100.0)


def test_nothing_to_count_is_zero_and_never_a_nan() -> None:
    assert bleu(np.zeros((2, 10))).tolist() == [0, 0]
    assert chrf(np.zeros((2, 18))).tolist() == [0, 0]


def test_the_tokenizer_is_that_of_the_target_language(monkeypatch: pytest.MonkeyPatch) -> None:
    chinese = {**FACTS, "bleu_tokenizer": "zh"}
    truth = "我们在海滩上跑步"
    found = scores(outcomes([truth], [truth]), chinese)
    assert "tok:zh" in found.signature
    assert corpus_bleu([truth], [truth], chinese) == pytest.approx(100)
    assert corpus_bleu([truth], [truth], FACTS) < 100  # one word, so no runs of four
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert module.bleu_tokenizer({"bleu_tokenizer": "ja-mecab"}) == "char"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert module.bleu_tokenizer({"bleu_tokenizer": "ja-mecab"}) == "ja-mecab"


def test_a_tokenizer_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(UserError, match=r"one of 13a, zh, ja-mecab, char, not '\.\./x'"):
        module.bleu_tokenizer({"bleu_tokenizer": "../x"})
