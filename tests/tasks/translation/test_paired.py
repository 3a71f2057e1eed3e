"""sacreBLEU's paired tests on statistics give what they give on sentences."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from shoestring.core.errors import UserError
from shoestring.tasks.translation.paired import paired_tests
from shoestring.tasks.translation.scores import sentence_statistics

WORDS = "the old dog runs fast over a small green hill and sleeps".split()


def sentences(seed: int, wrong: float) -> list[str]:
    """Some sentences, always the same, with so many of their words replaced."""
    draws, spoil = np.random.default_rng(0), np.random.default_rng(seed)
    rows = [[WORDS[i] for i in draws.integers(0, len(WORDS), 8)] for _ in range(60)]
    return [" ".join("x" if spoil.random() < wrong else w for w in row) for row in rows]


@pytest.mark.parametrize("wrong", [0.2, 0.12])
def test_p_values_are_those_of_sacrebleu(wrong: float) -> None:
    references, facts = sentences(0, 0.0), {"bleu_tokenizer": "13a"}
    systems = [("before", sentences(1, 0.2)), ("after", sentences(2, wrong))]
    outcomes = [sentence_statistics(texts, references, facts) for _, texts in systems]
    found = paired_tests(*outcomes)
    for test, kind in zip(found, ("bs", "ar"), strict=True):
        metrics = {"BLEU": BLEU(force=True)}
        _, expected = PairedTest(systems, metrics, [references], test_type=kind)()
        assert test.p_value == expected["BLEU"][1].p_value
        assert test.signature.startswith("sacreBLEU, 1")
    assert "bootstrap" in found[0].name
    assert "randomization" in found[1].name


@pytest.mark.parametrize(("differing", "least"), [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.25)])
def test_nothing_is_shown_by_a_few_sentences(differing: int, least: float) -> None:
    references, facts = sentences(0, 0.0), {"bleu_tokenizer": "13a"}
    old = sentences(1, 0.2)
    new = [*references[:differing], *old[differing:]]
    assert sum(a != b for a, b in zip(old, new, strict=True)) == differing
    outcomes = [sentence_statistics(texts, references, facts) for texts in (old, new)]
    bootstrap, randomization = paired_tests(*outcomes)
    assert randomization.p_value >= least
    assert bootstrap.p_value > 0.05
    assert (bootstrap.p_value == 1.0) is (differing == 0)


def test_outcomes_without_statistics_are_refused() -> None:
    outcomes = {"hashes": np.zeros(2, np.uint64)}
    with pytest.raises(UserError, match="hold no 'bleu_counts'; grade the run again"):
        paired_tests(outcomes, outcomes)
