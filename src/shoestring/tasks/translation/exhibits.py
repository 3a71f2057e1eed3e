"""exhibits: what is shown of translations: samples, their attention, the worst, score by length.

Shapes: B sentences, S source labels, T target labels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shoestring.core.exhibits import Chart, Exhibit, Line, Passage, Passages, Picture
from shoestring.core.protocols import Outcomes
from shoestring.tasks.translation import scores as scoring
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.predict import TranslationPredictor

SAMPLES = 6  # places spread evenly over the split, so that nobody chose them
MOST_DRAWN = 4  # of them with a picture of the attention
MOST_DRAWN_LETTERS = 90  # of a source whose picture is still to be read
WORST = 12
MOST_LETTERS = 600  # of a text; the rest of a longer one is not shown
MOST_BINS = 8  # of lengths, each by itself


def exhibits(
    outcomes: Outcomes,
    examples: TranslationExamples | None,
    predictor: TranslationPredictor | None,
) -> tuple[Exhibit, ...]:
    """Samples and the worst translations where the sentences are at hand, drawn where the bundle
    is, and how the score goes with the length of the reference."""
    if not len(outcomes["hashes"]):
        return ()
    scores_B = scoring.chrf(np.asarray(outcomes[scoring.CHRF], np.float64))
    return tuple(_exhibits(outcomes, scores_B, examples, predictor))


def _exhibits(
    outcomes: Outcomes,
    scores_B: NDArray[np.float64],
    examples: TranslationExamples | None,
    predictor: TranslationPredictor | None,
) -> Iterator[Exhibit]:
    if examples is not None:
        spread = np.unique(np.linspace(0, len(scores_B) - 1, SAMPLES).round().astype(np.int64))
        drawn = 0
        passages = list[Passage]()
        for place in spread.tolist():
            source = examples.sources[place]
            picture = None
            if predictor is not None and drawn < MOST_DRAWN and len(source) <= MOST_DRAWN_LETTERS:
                picture = attention(predictor, source, str(outcomes["hypotheses"][place]))
                drawn += picture is not None
            passages.append(_passage(outcomes, examples, place, scores_B, picture))
        yield Passages(
            "Sample translations",
            passages,
            "evenly spread over the split, not chosen; chrF is that of the sentence, 0 to 100. "
            "In a picture each row shows where the network looked as it wrote that word",
        )
        wrong = np.flatnonzero(~outcomes["right"])
        order = wrong[np.argsort(scores_B[wrong], kind="stable")][:WORST]
        worst = [_passage(outcomes, examples, place, scores_B, None) for place in order.tolist()]
        note = f"{len(worst)} of {len(wrong):,} that are not as their reference, by chrF"
        yield Passages("Worst translations", worst, note)
    yield _by_length(outcomes)


def _passage(
    outcomes: Outcomes,
    examples: TranslationExamples,
    place: int,
    scores_B: NDArray[np.float64],
    picture: Picture | None,
) -> Passage:
    texts = (
        ("source", _short(examples.sources[place])),
        ("translation", _short(str(outcomes["hypotheses"][place]))),
        ("reference", _short(examples.targets[place])),
        ("chrF", f"{scores_B[place]:.1f}"),
    )
    return Passage(texts, picture)


def attention(predictor: TranslationPredictor, text: str, translation: str) -> Picture | None:
    """Where a translation that was graded looked; None for a sentence that has none. To search
    anew could find another one: in int8 it hangs on what else is in the batch."""
    from shoestring.tasks.translation import heatmap  # brings Pillow

    found = predictor.attended(text, translation)
    if found is None:
        return None
    source, target, shares_TS = heatmap.words(*found)
    file = io.BytesIO()
    heatmap.heatmap(source, target, shares_TS).save(file, "PNG", optimize=True)
    looked = [
        f"{word.strip() or '(blank)'} at {source[int(row.argmax())].strip() or '(blank)'}"
        for word, row in zip(target, shares_TS, strict=True)
    ]
    said = f"Attention: each word with the one that it looked at most: {', '.join(looked)}"
    return Picture(file.getvalue(), "", said, wide=True)


def _by_length(outcomes: Outcomes) -> Chart:
    """chrF of short and of long sentences: unlike BLEU it knows sentences below four words."""
    words_B = outcomes["bleu_lengths"][:, 1]
    each = np.unique(words_B)
    if len(each) <= MOST_BINS:
        bins_B, names = np.searchsorted(each, words_B), [f"{count}" for count in each.tolist()]
    else:
        bins_B = np.searchsorted(scoring.LENGTHS, words_B, side="left")
        names = [f"to {scoring.LENGTHS[0]}"]
        names += [f"{low + 1}-{high}" for low, high in pairwise(scoring.LENGTHS)]
        names += [f"over {scoring.LENGTHS[-1]}"]
    counts = np.bincount(bins_B, minlength=len(names))
    there = np.flatnonzero(counts)
    rows = np.asarray(outcomes[scoring.CHRF], np.float64)
    sums = np.stack([rows[bins_B == place].sum(axis=0) for place in there])
    figures = scoring.chrf(sums).tolist()
    named = [f"{names[place]} ({counts[place]:,})" for place in there.tolist()]
    at = [float(place) for place in range(len(there))]
    return Chart(
        "Length against score",
        "words of the reference (sentences)",
        "chrF",
        (Line("chrF", at, figures, bars=True),),
        x_labels=list(zip(at, named, strict=True)),
    )


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
