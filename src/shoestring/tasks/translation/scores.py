"""scores: quality of translations from the statistics of each sentence: BLEU, chrF and others.

sacreBLEU counts; what it counts adds up over sentences, so runs are compared sentence by sentence
and intervals need no second pass. Shapes: B sentences, S statistics, R resamples.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from itertools import pairwise
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.core.protocols import Outcomes, Statistics
from shoestring.core.receipt import Interval, Plain, Scores
from shoestring.data import resample
from shoestring.data.names import counted
from shoestring.tasks.translation.asked import MOST_PIECES

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

ORDER = 4  # of BLEU's n-grams
BLEU_TOKENIZERS = ("13a", "zh", "ja-mecab", "char")  # sacreBLEU's that facts may name
CHRF_ORDER, CHRF_BETA = 6, 2  # of letters, and how much more recall counts
BLEU_PARTS = ("bleu_counts", "bleu_totals", "bleu_lengths")
LOWER = "lower_"  # before the same of lowercased text
CHRF = "chrf_counts"
LENGTHS = (10, 15, 20, 30)  # words of the reference, at which the table by length is cut
_LARGEST_LOSS = 700.0  # whose exponential is still a number


# --- of each sentence ----------------------------------------------------------------------------


def sentence_statistics(
    hypotheses: Sequence[str], references: Sequence[str], facts: Plain
) -> dict[str, NDArray[Any]]:
    """What outcomes hold of every translation beside its reference: BLEU's n-gram counts, totals
    (B, 4) and lengths (B, 2: hypothesis, reference), cased and lowercased; chrF's (B, 18); and
    `right`, whether both are equal but for blanks around them."""
    found: dict[str, NDArray[Any]] = {}
    for prefix, lowercase in (("", False), (LOWER, True)):
        rows = _counted(_bleu(facts, lowercase), hypotheses, references, 2 + 2 * ORDER)
        found[f"{prefix}bleu_lengths"] = rows[:, :2]
        found[f"{prefix}bleu_counts"] = rows[:, 2 : 2 + ORDER]
        found[f"{prefix}bleu_totals"] = rows[:, 2 + ORDER :]
    found[CHRF] = _counted(_chrf(), hypotheses, references, 3 * CHRF_ORDER)
    pairs = zip(hypotheses, references, strict=True)
    found["right"] = np.array([h.strip() == r.strip() for h, r in pairs], np.bool_)
    return found


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], facts: Plain) -> float:
    """BLEU, 0 to 100, cased and detokenised."""
    return float(bleu(_sums(bleu_rows(hypotheses, references, facts)))[0])


def bleu_rows(
    hypotheses: Sequence[str], references: Sequence[str], facts: Plain
) -> NDArray[np.float64]:
    """(B, 10) what `bleu` takes the sums of: counts, totals and lengths of each sentence, cased."""
    rows = _counted(_bleu(facts, lowercase=False), hypotheses, references, 2 + 2 * ORDER)
    return np.roll(rows, -2, axis=1).astype(np.float64)  # sacreBLEU has the lengths first


def _counted(
    metric: Metric, hypotheses: Sequence[str], references: Sequence[str], width: int
) -> NDArray[np.int32]:
    if not len(hypotheses):
        return np.zeros((0, width), np.int32)
    # What sacreBLEU itself resamples; it has no public name for the statistics of chrF.
    rows = metric._extract_corpus_statistics(hypotheses, [references])
    return np.array(rows, np.int32)


def _bleu(facts: Plain, lowercase: bool) -> Metric:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=bleu_tokenizer(facts), lowercase=lowercase, force=True)


def _chrf() -> Metric:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(char_order=CHRF_ORDER, word_order=0, beta=CHRF_BETA)


def bleu_tokenizer(facts: Plain) -> str:
    """sacreBLEU's tokenizer for the target language. Japanese words need MeCab and its
    dictionary; where these are not installed letters are counted, as the signature says. Raises
    UserError for a name that shoestring never writes."""
    name = str(facts.get("bleu_tokenizer", "13a"))
    if name not in BLEU_TOKENIZERS:
        raise UserError(f"bleu_tokenizer is one of {', '.join(BLEU_TOKENIZERS)}, not {name!r}")
    if name == "ja-mecab" and not all(map(importlib.util.find_spec, ("MeCab", "ipadic"))):
        return "char"
    return name


# --- of all of them ------------------------------------------------------------------------------


def scores(outcomes: Outcomes, facts: Plain) -> Scores:
    """BLEU with a bootstrap interval, the loss of the references in nats a piece, and in `details`
    chrF, BLEU of lowercased text, exact match, token accuracy, perplexity, the ratio of lengths, a
    row for each length of sentence, and how fast it went where the outcomes hold that."""
    total = len(outcomes["hashes"])
    if not total:
        return Scores(metric="BLEU")
    interval = _interval(outcomes)
    lengths = outcomes["bleu_lengths"].sum(axis=0, dtype=np.float64)
    details: dict[str, Any] = {
        "chrF": float(chrf(_sums(outcomes[CHRF]))[0]),
        "chrF_signature": _signature(_chrf()),
        "lowercased_BLEU": float(bleu(_sums(_rows(outcomes, LOWER)))[0]),
        "lowercased_BLEU_signature": f"{_signature(_bleu(facts, lowercase=True))}; differs from "
        "BLEU by case alone, and from the tokenised BLEU of older papers by their tokenisation",
        "exact_match": float(np.mean(outcomes["right"])),
    }
    tokens = float(outcomes["tokens"].sum(dtype=np.float64))
    loss = -float(outcomes["log_probability"].sum(dtype=np.float64)) / max(tokens, 1.0)
    details["token_accuracy"] = float(outcomes["tokens_right"].sum(dtype=np.float64)) / max(
        tokens, 1.0
    )
    details["perplexity"] = exp(min(loss, _LARGEST_LOSS))
    details["length_ratio"] = float(lengths[0] / max(lengths[1], 1.0))
    untranslated = int(np.count_nonzero(outcomes.get("too_long", ())))
    if "seconds" in outcomes and untranslated < total:
        details |= _speed(outcomes, total - untranslated)
    if untranslated:
        details["too_long"] = (
            f"{counted(untranslated, 'source has', 'sources have')} more than {MOST_PIECES - 1:,} "
            "pieces, and so an empty translation"
        )
    details["by_length"] = _by_length(outcomes)
    return Scores(
        quality=interval.value,
        metric="BLEU",
        interval=interval,
        loss=loss,
        examples=total,
        details=details,
        signature="BLEU|" + _signature(_bleu(facts, lowercase=False)),
    )


def statistics(outcomes: Outcomes) -> Statistics:
    """What BLEU is resampled from: (B, 10), counts, totals and lengths. UserError for outcomes
    that do not hold them."""
    return Statistics(_rows(outcomes), bleu)


def bleu(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) corpus BLEU, 0 to 100 (Papineni et al. 2002), smoothed as sacreBLEU's default does: an
    order without a match counts as half a match, the next as a quarter (Chen & Cherry 2014)."""
    counts, totals = sums_RS[:, :ORDER], sums_RS[:, ORDER : 2 * ORDER]
    hypothesis, reference = sums_RS[:, -2], sums_RS[:, -1]
    missed = (counts == 0) & (totals > 0)
    halves = np.exp2(np.cumsum(missed, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(missed, 1 / (halves * totals), counts / totals)
        # An order that no sentence is long enough for is a precision of nothing.
        logs = np.log(np.where(totals > 0, precisions, 0.0))
        brevity = np.where(hypothesis < reference, np.exp(1 - reference / hypothesis), 1.0)
        found = 100 * brevity * np.exp(logs.mean(axis=1))
    return np.asarray(np.where(counts.any(axis=1) & (totals > 0).all(axis=1), found, 0.0))


def chrf(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) chrF2, 0 to 100 (Popović 2015), over the orders that both sides have."""
    parts = sums_RS.reshape(len(sums_RS), CHRF_ORDER, 3)
    hypothesis, reference, matches = parts[..., 0], parts[..., 1], parts[..., 2]
    there = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(there.sum(axis=1), 1)
    precision = (matches / np.where(there, hypothesis, 1) * there).sum(axis=1) / orders
    recall = (matches / np.where(there, reference, 1) * there).sum(axis=1) / orders
    factor = CHRF_BETA**2
    below = factor * precision + recall
    return np.asarray(100 * (1 + factor) * precision * recall / np.where(below > 0, below, 1.0))


def _interval(outcomes: Outcomes) -> Interval:
    return resample.interval(_rows(outcomes), bleu)


def _rows(outcomes: Outcomes, prefix: str = "") -> NDArray[np.float64]:
    names = [prefix + part for part in BLEU_PARTS]
    lacking = [name for name in names if name not in outcomes]
    if lacking:
        raise UserError(
            f"the outcomes hold no {lacking[0]!r}, which BLEU is computed from; grade the run again"
        )
    return np.concatenate([np.asarray(outcomes[n], np.float64) for n in names], axis=1)


def _sums(rows_BS: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(rows_BS.sum(axis=0, dtype=np.float64)[None])


def _signature(metric: Metric) -> str:
    """sacreBLEU's own: with it, and nothing else, a figure can be computed again."""
    metric.num_refs = 1  # sacreBLEU sets it when it sees references
    return str(metric.get_signature())


def _speed(outcomes: Outcomes, translated: int) -> dict[str, float]:
    """Translations, and pieces of them where they are counted, in a second of search."""
    seconds = max(float(outcomes["seconds"].sum(dtype=np.float64)), 1e-9)
    found = {"sentences_per_second": translated / seconds}
    if "pieces" in outcomes:
        found["tokens_per_second"] = float(outcomes["pieces"].sum(dtype=np.float64)) / seconds
    return found


def _by_length(outcomes: Outcomes) -> list[dict[str, Any]]:
    """BLEU of short and of long sentences, by the words of their references."""
    words, rows = outcomes["bleu_lengths"][:, 1], _rows(outcomes)
    bins = np.searchsorted(LENGTHS, words, side="left")
    names = [f"up to {LENGTHS[0]}"]
    names += [f"{low + 1} to {high}" for low, high in pairwise(LENGTHS)]
    names += [f"over {LENGTHS[-1]}"]
    return [
        {
            "words": name,
            "sentences": int((bins == place).sum()),
            "BLEU": float(bleu(_sums(rows[bins == place]))[0]),
            "exact_match": float(np.mean(outcomes["right"][bins == place])),
        }
        for place, name in enumerate(names)
        if (bins == place).any()
    ]
