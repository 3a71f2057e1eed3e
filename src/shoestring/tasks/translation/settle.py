"""settle: what of a translator that was trained is decided by measuring: int8 weights, and how to
search.

All of it is decided on validation pairs, and within the seconds that are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Examples, Predictor
from shoestring.core.receipt import Interval, Plain
from shoestring.core.run import Run
from shoestring.data import resample
from shoestring.data.names import counted
from shoestring.tasks.translation.asked import cut
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.predict import TranslationPredictor
from shoestring.tasks.translation.scores import bleu, bleu_rows
from shoestring.tasks.translation.search import SearchOptions

Opener = Callable[[Run], tuple[Mapping[str, bytes], Predictor]]  # files of a bundle, and opened

MOST_PAIRS = 1_024  # that settings are compared on, evenly spread
FEWEST_PAIRS = 100  # below it nothing can be told apart, and the usual settings stay
FIRST_PAIRS = 48  # from which the seconds of all others are told
GRADING_SHARE = 0.6  # of the seconds left, beside export and the start of the process
INT8_SHARE = 0.5  # of the seconds, for float32 and int8 beside each other
INT8_PASSES, SEARCH_PASSES = 2, 9  # over the pairs
SURE = 0.9  # confidence of the interval of their gain: one side of it is 95%
LOST = 0.2  # BLEU that int8 may lose
FASTER = 1.05  # by how much it must be the faster
INT8: Plain = {"method": "dynamic"}
COVERAGES = (0.0, 0.1, 0.2)  # beside the usual one
LENGTH_PENALTIES = (1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Tried:
    """Translations of the chosen pairs."""

    bleu: float
    sentences_per_second: float
    rows_BS: NDArray[np.float64]  # BLEU's statistics of each sentence


class Pairs:
    """Some pairs of a split, and how well and fast they are translated."""

    def __init__(self, predictor: TranslationPredictor, examples: TranslationExamples) -> None:
        self._examples, self._facts = examples, predictor.facts
        self.chosen: list[int] = []

    def choose(self, count: int) -> None:
        places = np.linspace(0, len(self._examples) - 1, min(count, len(self._examples)))
        self.chosen = np.unique(places.astype(np.int64)).tolist()

    def enough(self, seconds: float, tried: Tried, passes: int) -> bool:
        """Chooses as many pairs as can be translated so often in the seconds; whether these are
        enough to tell anything apart."""
        count = min(MOST_PAIRS, int(seconds * tried.sentences_per_second / passes))
        self.choose(count)
        return count >= min(FEWEST_PAIRS, len(self._examples))

    def __str__(self) -> str:
        return counted(len(self.chosen), "validation pair")

    def tried(self, predictor: TranslationPredictor, options: SearchOptions) -> Tried:
        """The chosen pairs translated."""
        sources = [cut(predictor.tokenizer.source(self._examples.sources[i])) for i in self.chosen]
        began = time.perf_counter()
        found = predictor.translations(sources, options, scores=False)
        seconds = time.perf_counter() - began
        texts = [predictor.tokenizer.decode(best.pieces) for (best, *_) in found]
        references = [self._examples.targets[i] for i in self.chosen]
        rows_BS = bleu_rows(texts, references, self._facts)
        whole = float(bleu(rows_BS.sum(axis=0)[None])[0])
        return Tried(whole, len(texts) / max(seconds, 1e-9), rows_BS)


def settled(
    run: Run, examples: Examples, opened: Opener, seconds: float, grading: float = inf
) -> tuple[Run, str]:
    """The run with what ships decided, and a sentence on why. What the run says already stays;
    else `ship` of its options decides for or against int8 where it is not "auto"."""
    asked = "said" if run.quantization else run.recipe.options.get("ship", "auto")
    end = time.perf_counter() + seconds
    if asked == "int8":
        run = replace(run, quantization=INT8)
    files, predictor = opened(run)
    assert isinstance(predictor, TranslationPredictor)
    pairs = Pairs(predictor, cast(TranslationExamples, examples))
    pairs.choose(FIRST_PAIRS)
    tried, said = pairs.tried(predictor, predictor.search), list[str]()
    needed = len(cast(TranslationExamples, examples)) / max(tried.sentences_per_second, 1e-9)
    if needed > GRADING_SHARE * grading and predictor.search.beam > 1:
        return _greedy(run, predictor.search.beam, needed, grading)
    if asked == "auto" and pairs.enough(INT8_SHARE * _left(end), tried, INT8_PASSES):
        whole = pairs.tried(predictor, predictor.search)
        run, predictor, tried, why = _lighter(run, files, predictor, pairs, whole, opened)
        said.append(why)
    if pairs.enough(_left(end), tried, SEARCH_PASSES):
        usual = pairs.tried(predictor, predictor.search)
        run, why = _search(run, predictor, pairs, usual, end)
        said.append(why)
    what = "int8 and search settings" if asked == "auto" else "search settings"
    return run, "; ".join(said) or f"too few seconds to measure {what}: the usual ones ship"


def _greedy(run: Run, beam: int, needed: float, grading: float) -> tuple[Run, str]:
    """The run with the quickest search, for a budget that grading with the usual one overruns."""
    search = {**(run.facts.get("search") or {}), "beam": 1}
    why = (
        f"greedy search ships: to translate all validation pairs with a beam of {beam} would take "
        f"about {needed:.0f} of the {max(0.0, grading):.0f} s that are left"
    )
    return replace(run, facts={**run.facts, "search": search}), why


def _left(end: float) -> float:
    return max(0.0, end - time.perf_counter())


def _lighter(
    run: Run,
    files: Mapping[str, bytes],
    predictor: TranslationPredictor,
    pairs: Pairs,
    whole: Tried,
    opened: Opener,
) -> tuple[Run, TranslationPredictor, Tried, str]:
    """int8 where it is smaller, faster and as good here."""
    lighter = replace(run, quantization=INT8)
    try:
        light_files, light = opened(lighter)
    except BundleError as error:  # a runtime without its operators
        return run, predictor, whole, f"float32 ships, for int8 cannot be run here: {error}"
    assert isinstance(light, TranslationPredictor)
    found = pairs.tried(light, light.search)
    told = (
        f"on {pairs} int8 takes {_megabytes(light_files)} instead of {_megabytes(files)} and "
        f"translates {found.sentences_per_second:,.0f} sentences a second instead of "
        f"{whole.sentences_per_second:,.0f}, at {found.bleu:.2f} BLEU instead of {whole.bleu:.2f}"
    )
    faster = found.sentences_per_second >= FASTER * whole.sentences_per_second
    if faster and found.bleu >= whole.bleu - LOST and _size(light_files) < _size(files):
        return lighter, light, found, f"{told}, and ships"
    return run, predictor, whole, f"{told}: float32 ships"


def _search(
    run: Run, predictor: TranslationPredictor, pairs: Pairs, usual: Tried, end: float
) -> tuple[Run, str]:
    """The coverage penalty, then the length penalty, of the best translations. Both lengthen what
    is translated, so that long length penalties are tried without the other one, too.

    The best of many on few pairs is the best by luck as a rule: it ships where the interval of its
    gain lies above zero, else the usual search does."""
    options, best = predictor.search, usual
    none = [{"coverage": 0.0, "length_penalty": value} for value in LENGTH_PENALTIES]
    rounds: tuple[list[dict[str, Any]], ...] = (
        [{"coverage": value} for value in COVERAGES],
        none,
        [{"length_penalty": value} for value in LENGTH_PENALTIES],
    )
    seen = {options}
    for changes in rounds:
        others = [replace(options, **change) for change in changes]
        for other in others:
            if other in seen:
                continue
            seen.add(other)
            if time.perf_counter() + len(pairs.chosen) / best.sentences_per_second > end:
                break
            found = pairs.tried(predictor, other)
            if found.bleu > best.bleu:
                options, best = other, found
    changed = {
        name: getattr(options, name)
        for name in ("coverage", "length_penalty")
        if getattr(options, name) != getattr(predictor.search, name)
    }
    gained = _gain(usual, best) if changed else None
    if gained is None or gained.low <= 0:
        return run, f"no other search settings were surely better on {pairs}"
    search = {**(run.facts.get("search") or {}), **changed}
    said = " and ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in changed.items())
    why = (
        f"on {pairs} {said} gave {best.bleu:.2f} BLEU, the usual search {usual.bleu:.2f} "
        f"({gained.low:+.2f} to {gained.high:+.2f})"
    )
    return replace(run, facts={**run.facts, "search": search}), why


def _gain(usual: Tried, other: Tried) -> Interval:
    return resample.paired_interval(usual.rows_BS, other.rows_BS, bleu, SURE)


def _size(files: Mapping[str, bytes]) -> int:
    return sum(map(len, files.values()))


def _megabytes(files: Mapping[str, bytes]) -> str:
    return f"{_size(files) / 1e6:.1f} MB"
