"""grading: a whole split translated and judged.

Shapes: B pairs.
"""

from __future__ import annotations

import time

import numpy as np

from shoestring.core.protocols import Outcomes, Progress
from shoestring.core.receipt import Plain
from shoestring.tasks.translation import scores as scoring
from shoestring.tasks.translation.asked import MOST_LETTERS, MOST_PIECES, batches, cut
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.hypotheses import Ids
from shoestring.tasks.translation.search import SearchOptions, search
from shoestring.tasks.translation.steps import GraphSteps, judged
from shoestring.tasks.translation.tokenizer import Tokenizer

MOST_KEPT = 1_000  # letters of a translation: an array of texts is as wide as the longest of them


def outcomes(
    pairs: TranslationExamples,
    steps: GraphSteps,
    tokenizer: Tokenizer,
    options: SearchOptions,
    facts: Plain,
    progress: Progress,
) -> Outcomes:
    """hashes (B,) uint64; hypotheses (B,), shortened; the statistics of
    `scores.sentence_statistics`; log_probability (B,) of the references, tokens (B,) and
    tokens_right (B,) of their pieces; seconds (B,) of search and pieces (B,) that it wrote;
    too_long (B,). What is too long to be translated has an empty hypothesis, as it gets an empty
    line, and is judged on as much as is taken."""
    count = len(pairs)
    sources, too_long = list[Ids](), np.zeros(count, np.bool_)
    for place, text in enumerate(pairs.sources):
        whole = tokenizer.source(text)
        too_long[place] = len(whole) > MOST_PIECES
        sources.append(cut(whole))
    rows = [tokenizer.encode(text[:MOST_LETTERS])[:MOST_PIECES] for text in pairs.targets]
    targets = [np.array(row, np.int64) for row in rows]
    texts = [""] * count
    numbers = {
        "log_probability": np.zeros(count),
        "tokens": np.zeros(count, np.int64),
        "tokens_right": np.zeros(count, np.int64),
        "seconds": np.zeros(count),
        "pieces": np.zeros(count, np.int64),
    }
    done = 0
    progress("translating", 0, count)
    for places in batches([len(source) for source in sources]):
        batch = [sources[place] for place in places]
        fit = [place for place in places if not too_long[place]]
        started = time.perf_counter()
        found = search(steps, [sources[place] for place in fit], options, scores=False)
        numbers["seconds"][fit] = (time.perf_counter() - started) / max(1, len(fit))
        logs, right, tokens = judged(steps, batch, [targets[place] for place in places])
        numbers["log_probability"][places] = logs.sum(axis=1)
        numbers["tokens_right"][places] = right.sum(axis=1)
        numbers["tokens"][places] = tokens
        for place, (best,) in zip(fit, found, strict=True):
            texts[place] = tokenizer.decode(best.pieces)
            numbers["pieces"][place] = len(best.pieces) + best.ended
        done += len(places)
        progress("translating", done, count)
    return {
        "hashes": np.asarray(pairs.hashes),
        "hypotheses": np.array([_kept(text) for text in texts], np.str_),
        "too_long": too_long,
        **scoring.sentence_statistics(texts, list(pairs.targets), facts),
        **numbers,
    }


def _kept(text: str) -> str:
    return text if len(text) <= MOST_KEPT else text[: MOST_KEPT - 1] + "…"
