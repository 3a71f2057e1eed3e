"""predict: translations from a bundle, and the outcomes and golden vectors of its graphs.

Shapes: B sentences, S source pieces, T target pieces. Runs without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError, DataError, UserError
from shoestring.core.plain import from_plain
from shoestring.core.protocols import Examples, Outcomes, Progress
from shoestring.core.receipt import Plain
from shoestring.tasks.translation import grading
from shoestring.tasks.translation.answering import (
    MOST_WAITING,
    AnswerOptions,
    Lines,
    Unreadable,
)
from shoestring.tasks.translation.asked import MOST_LETTERS, MOST_PIECES, batches, sentence
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.hypotheses import Hypothesis, Ids
from shoestring.tasks.translation.search import SearchOptions, search
from shoestring.tasks.translation.special import EOS, FIRST_BYTE, FIRST_LEARNED
from shoestring.tasks.translation.steps import FORCED, GraphSteps, judged, looked
from shoestring.tasks.translation.tokenizer import Tokenizer

TOKENIZER = "tokenizer.model"
BLANK, END = "\u2581", "(end)"  # in a picture
_WINDOW = 2_048  # lines that are sorted by length together
_GOLDEN_LENGTHS = (3, 9, 17)  # pieces

Attended = tuple[list[str], list[str], NDArray[np.float32]]  # pieces S and T, and (T, S)


class TranslationPredictor:
    """Sentences to translations. `files` holds the sessions of both graphs, and the tokenizer."""

    def __init__(self, manifest: Plain, files: Mapping[str, Any]) -> None:
        self.facts = _checked(manifest["facts"])
        if TOKENIZER not in files:
            raise BundleError(f"the bundle has no {TOKENIZER}")
        try:
            self.tokenizer = Tokenizer(files[TOKENIZER])
        except DataError as error:
            raise BundleError(f"{TOKENIZER} of the bundle cannot be read: {error}") from error
        self.steps = GraphSteps(files)
        if self.steps.pieces != self.tokenizer.size:
            raise BundleError(
                f"{FORCED} chooses from {self.steps.pieces} pieces, {TOKENIZER} has "
                f"{self.tokenizer.size}"
            )
        self.search = _search_options(self.facts)

    def predict(self, inputs: Any, options: Any) -> list[Plain]:
        return list(self.answers(inputs, options))

    def answers(self, inputs: Any, options: Any) -> Iterator[Plain]:
        """One for each sentence, in order, with flat memory: {"input", "translations": [{"text",
        "score"}]}, or {"input", "error"} for one that cannot be translated. An empty sentence has
        an empty translation. What is at hand is not kept waiting for more to sort with it."""
        wanted = self._wanted(options)
        number, drawn, failed = 0, options.attention is None, False
        for group in _groups(inputs):
            answers, first = self._answered(group, options, wanted, number, not drawn)
            if first is not None:
                from shoestring.tasks.translation import heatmap  # brings Pillow

                heatmap.write(options.attention or "", *first)
                drawn = True
            failed = failed or any("error" in answer for answer in answers)
            yield from answers
            number += len(group)
        if not drawn and not failed:  # else the errors say why
            raise UserError(
                f"no sentence was translated, so {options.attention} was not drawn: give one"
            )

    def translations(
        self,
        sources: Sequence[Ids],
        wanted: SearchOptions,
        nbest: int = 1,
        scores: bool = True,
        attended: int | None = None,
    ) -> list[list[Hypothesis]]:
        """Of sources in pieces, each with its end, in any order and number; those of the source
        at `attended` know where they looked."""
        found: list[list[Hypothesis]] = [[] for _ in sources]
        for places in batches([len(source) for source in sources]):
            batch = [sources[place] for place in places]
            looks = attended in places
            hypotheses = search(
                self.steps, batch, wanted, nbest=nbest, scores=scores, attention=looks
            )
            for place, one in zip(places, hypotheses, strict=True):
                found[place] = one
        return found

    def outcomes(self, examples: Examples, progress: Progress) -> Outcomes:
        """As `grading.outcomes`, with the bundle's own search."""
        pairs = cast(TranslationExamples, examples)  # a task gets its own back
        return grading.outcomes(
            pairs, self.steps, self.tokenizer, self.search, self.facts, progress
        )

    def golden(
        self, inputs: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
        """Sources and their translations in pieces, one row each and 0 behind them; the output is
        the probability of every piece, which both graphs have to agree on."""
        if inputs is None:
            sources = [self._pattern(length) for length in _GOLDEN_LENGTHS]
            greedy = SearchOptions(beam=1, max_length=max(_GOLDEN_LENGTHS))
            found = search(self.steps, sources, greedy, scores=False)
            targets = [np.array(best.pieces, np.int64) for (best,) in found]
            inputs = {"sources": _padded(sources), "targets": _padded(targets)}
        given: list[list[Ids]] = []
        for name in ("sources", "targets"):
            rows = inputs.get(name)
            if rows is None or rows.dtype != np.int64 or rows.ndim != 2:
                raise BundleError(f"golden input {name!r} is not int64 (sentences, pieces)")
            if rows.size and not 0 <= rows.min() <= rows.max() < self.steps.pieces:
                raise BundleError(f"golden input {name!r} has pieces that the vocabulary has not")
            given.append([row[row != 0] for row in rows])
        if len(given[0]) != len(given[1]) or not all(map(len, given[0])):
            raise BundleError("golden inputs are not as many targets as sources with pieces")
        logs, _, counts = judged(self.steps, given[0], given[1])
        inside = np.arange(logs.shape[1]) < counts[:, None]
        shares: NDArray[np.float32] = np.where(inside, np.exp(logs), 0).astype(np.float32)
        return inputs, {"probabilities": shares}

    def latency_inputs(self) -> Mapping[str, Callable[[], object]]:
        source = [self._pattern(16)]
        many = [self._pattern(8 + place % 17) for place in range(64)]
        text, options = self.tokenizer.decode(source[0][:-1]), AnswerOptions()
        greedy = replace(self.search, beam=1)
        return {
            "model": lambda: search(self.steps, source, self.search, scores=False),
            "greedy": lambda: search(self.steps, source, greedy, scores=False),
            "batch": lambda: search(self.steps, many, greedy, scores=False),  # or it takes too long
            "text": lambda: self.predict(text, options),
        }

    def _answered(
        self,
        group: Sequence[str | Unreadable],
        options: AnswerOptions,
        wanted: SearchOptions,
        number: int,
        attend: bool,
    ) -> tuple[list[Plain], Attended | None]:
        """The answers to some sentences, in their order, and where asked for what the first of
        them that was translated looked at. In int8 a sentence can be translated otherwise among
        others than alone: what is drawn is what is answered."""
        answers: list[Plain] = []
        places, sources = list[int](), list[Ids]()
        for place, line in enumerate(group):
            source = line if isinstance(line, Unreadable) else self._source(line)
            if isinstance(source, Unreadable):
                answers.append({"input": f"line {number + place + 1}", "error": source.error})
                continue
            blank = {"text": ""} | ({"score": 0.0} if options.scores else {})
            answers.append({"input": line, "translations": [blank]})
            if source is None:
                continue
            places.append(place)
            sources.append(source)
        found = self.translations(
            sources,
            wanted,
            options.nbest,
            options.scores or wanted.beam > 1,
            attended=0 if attend else None,
        )
        for place, hypotheses in zip(places, found, strict=True):
            texts: list[Plain] = []
            for one in hypotheses:
                text = {"text": self.tokenizer.decode(one.pieces)}
                texts.append(text | ({"score": one.score} if options.scores else {}))
            answers[place] = {**answers[place], "translations": texts}
        return answers, self._attended(sources[0], found[0][0]) if attend and found else None

    def _source(self, line: str) -> Ids | Unreadable | None:
        """The pieces of a sentence; None where it holds nothing but blanks."""
        text = sentence(line)
        if not text:
            return None
        if len(text) > MOST_LETTERS:
            found, most = f"{len(text):,} characters", f"{MOST_LETTERS:,} are looked at"
        elif len(pieces := self.tokenizer.source(text)) > MOST_PIECES:
            found, most = f"{len(pieces) - 1:,} pieces", f"{MOST_PIECES - 1:,} are translated"
        else:
            return pieces
        return Unreadable(f"{found} in one line; up to {most}: give a sentence a line")

    def attended(self, line: str, translation: str) -> Attended | None:
        """The pieces of a sentence and of a given translation, each as it is written, and (T, S)
        how much each of these looks at each of those; None where either has none."""
        source, target = self._source(line), self.tokenizer.encode(translation)
        if source is None or isinstance(source, Unreadable) or not target:
            return None
        looks = looked(self.steps, source, np.array(target, np.int64))
        return self._labels(source.tolist()), self._labels([*target, EOS]), looks

    def _attended(self, source: Ids, best: Hypothesis) -> Attended:
        assert best.attention is not None
        ends = best.pieces if not best.ended else [*best.pieces, EOS]
        return self._labels(source.tolist()), self._labels(ends), best.attention

    def _labels(self, pieces: Sequence[int]) -> list[str]:
        """Each piece as it is written, a blank as sentencepiece shows it. A letter that goes as
        bytes stands at the first of them, and nothing at the others."""
        spelled, texts = self.tokenizer.spellings(), [""] * len(pieces)
        for isbyte, run in groupby(enumerate(pieces), lambda one: 0 <= one[1] - FIRST_BYTE < 256):
            places = list(run)
            if not isbyte:
                for place, piece in places:
                    texts[place] = spelled[piece].decode("utf-8", "replace").replace(" ", BLANK)
                continue
            at, last = places[0][0], places[-1][0]
            for letter in bytes(p - FIRST_BYTE for _, p in places).decode("utf-8", "replace"):
                texts[min(at, last)] += letter.replace(" ", BLANK)
                at += len(letter.encode())
        return [*texts[:-1], END] if pieces[-1] == EOS else texts

    def _wanted(self, options: AnswerOptions) -> SearchOptions:
        """The bundle's search with what a person asked for."""
        changes = {
            name: value
            for name in ("beam", "length_penalty", "coverage", "no_repeat", "max_length")
            if (value := getattr(options, name)) is not None
        }
        if options.nbest > changes.get("beam", self.search.beam):
            changes["beam"] = options.nbest
        if options.nbest > 1:
            changes["margin"] = None  # it would drop those that were asked for
        return replace(self.search, **changes)

    def _pattern(self, length: int) -> Ids:
        """A source of so many pieces, without random numbers."""
        first = min(FIRST_LEARNED, self.steps.pieces - 1)  # behind the special pieces and the bytes
        row = first + (np.arange(length, dtype=np.int64) * 37 + length) % (
            self.steps.pieces - first
        )
        return np.append(row, EOS)


@dataclass(frozen=True)
class _Several:
    """Sentences given in Python."""

    inputs: Iterable[Any]

    def groups(self, most: int) -> Iterator[list[str | Unreadable]]:
        group, letters = list[str | Unreadable](), 0
        for line in self.inputs:
            if not isinstance(line, str | Unreadable):
                raise UserError(f"a sentence is text, not {type(line).__name__}")
            group.append(line)
            letters += len(line) if isinstance(line, str) else 0
            if len(group) == most or letters > MOST_WAITING:
                yield group
                group, letters = [], 0
        if group:
            yield group


def _groups(inputs: Any) -> Iterator[list[str | Unreadable]]:
    if isinstance(inputs, str):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise UserError(f"sentences are a list of texts, not {type(inputs).__name__}")
    given = inputs if isinstance(inputs, Lines) else _Several(inputs)
    return given.groups(_WINDOW)


def _padded(rows: Sequence[Ids]) -> Ids:
    table = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def _search_options(facts: Plain) -> SearchOptions:
    try:
        return from_plain(SearchOptions, facts.get("search") or {}, "search")
    except UserError as error:
        raise BundleError(f"the bundle's search settings are not usable: {error}") from error


def _checked(facts: Plain) -> Plain:
    """The facts, once everything that is used of them is known to be there."""
    for name in ("source", "target"):
        if not isinstance(facts.get(name), str):
            raise BundleError(f"the bundle's facts do not name its {name} language")
    if not isinstance(facts.get("search") or {}, Mapping):
        raise BundleError("the bundle's facts have a search that is no table of settings")
    return facts
