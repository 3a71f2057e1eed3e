"""What ships is decided by measuring on validation: int8, coverage and length penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Predictor
from shoestring.core.receipt import Interval
from shoestring.core.run import Recipe, Run
from shoestring.tasks.translation import asked, graph, settle
from shoestring.tasks.translation.predict import TranslationPredictor
from shoestring.tasks.translation.scores import bleu
from shoestring.tasks.translation.search import SearchOptions
from shoestring.tasks.translation.settle import Pairs, Tried, settled
from shoestring.tasks.translation.special import EOS
from tests.tasks.translation.shipping import FACTS, TOKENIZER, examples, model, sessions

Measured = Callable[[bool, SearchOptions], tuple[float, float]]  # BLEU, sentences a second
NO_ROWS = np.zeros((0, 10))


def a_run(**options: Any) -> Run:
    recipe = Recipe("translation", "words.tsv", options=options)
    return Run(Path("unused"), "translation", recipe, facts=FACTS)


def opened(run: Run) -> tuple[Mapping[str, bytes], Predictor]:
    files = graph.graphs(model(), bool(run.quantization))
    found = {**sessions(files), "tokenizer.model": TOKENIZER.model}
    return files, TranslationPredictor({"task": run.task, "facts": run.facts}, found)


def measured(monkeypatch: pytest.MonkeyPatch, figures: Measured) -> None:
    """Figures of our own in the place of the clock's and the translations'."""

    def tried(_: Pairs, predictor: TranslationPredictor, options: SearchOptions) -> Tried:
        return Tried(*figures(predictor.steps.int8, options), NO_ROWS)

    def gain(usual: Tried, other: Tried) -> Interval:
        gained = other.bleu - usual.bleu
        return Interval(gained, gained - 0.2, gained + 0.2)

    monkeypatch.setattr(Pairs, "tried", tried)
    monkeypatch.setattr(settle, "_gain", gain)
    monkeypatch.setattr(settle, "FEWEST_PAIRS", 10)


def test_int8_ships_where_it_is_faster_and_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, lambda int8, _: (29.9 if int8 else 30.0, 400.0 if int8 else 200.0))
    run, why = settled(a_run(), examples(), opened, 1e6)
    assert run.quantization == {"method": "dynamic"}
    assert "400 sentences a second instead of 200, at 29.90 BLEU instead of 30.00" in why
    assert "and ships; no other search settings were surely better on 40 validation pairs" in why


@pytest.mark.parametrize(("bleu", "speed"), [(29.7, 400.0), (30.5, 190.0), (30.0, 205.0)])
def test_float32_ships_where_int8_loses_or_is_no_faster(
    bleu: float, speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, lambda int8, _: (bleu, speed) if int8 else (30.0, 200.0))
    run, why = settled(a_run(), examples(), opened, 1e6)
    assert run.quantization == {}
    assert "float32 ships" in why


@pytest.mark.parametrize(("ship", "method"), [("int8", {"method": "dynamic"}), ("float32", {})])
def test_what_was_asked_for_ships(
    ship: str, method: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, lambda int8, _: (10.0 if int8 else 30.0, 200.0))
    run, why = settled(a_run(ship=ship), examples(), opened, 1e6)
    assert run.quantization == method
    assert "MB" not in why


def test_a_runtime_without_int8_ships_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, lambda int8, _: (30.0, 200.0))

    def without(run: Run) -> tuple[Mapping[str, bytes], Predictor]:
        if run.quantization:
            raise BundleError("no such operator here")
        return opened(run)

    run, why = settled(a_run(), examples(), without, 1e6)
    assert run.quantization == {}
    assert "int8 cannot be run here: no such operator here" in why


def test_search_settings_are_those_that_translate_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(int8: bool, options: SearchOptions) -> tuple[float, float]:
        return (30.0 - options.coverage + options.length_penalty / 2, 200.0)

    measured(monkeypatch, figures)
    run, why = settled(a_run(ship="float32"), examples(), opened, 1e6)
    assert run.facts["search"] == {**FACTS["search"], "coverage": 0.0, "length_penalty": 2.0}
    assert (
        "coverage 0 and length penalty 2 gave 31.00 BLEU, the usual search 30.00 (+0.80 to +1.20)"
        in why
    )


def test_two_settings_that_do_the_same_are_tried_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone only loses, but one in place of the other wins."""

    def figures(int8: bool, options: SearchOptions) -> tuple[float, float]:
        off = abs(options.coverage / 0.2 + options.length_penalty - 2.0)
        return (30.0 - off + 0.5 * (options.coverage == 0), 200.0)

    measured(monkeypatch, figures)
    run, _ = settled(a_run(ship="float32"), examples(), opened, 1e6)
    assert run.facts["search"] == {**FACTS["search"], "coverage": 0.0, "length_penalty": 2.0}


def test_a_hair_is_not_enough_to_leave_the_usual_search(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, lambda _, options: (30.0 - options.coverage / 4, 200.0))
    run, why = settled(a_run(ship="float32"), examples(), opened, 1e6)
    assert run.facts == FACTS
    assert "no other search settings were surely better" in why


def test_the_luck_of_a_few_sentences_is_no_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better by BLEU, but by two of 200 sentences; against better a little nearly everywhere."""
    usual = np.tile(np.array([6, 4, 2, 1, 10, 9, 8, 7, 10, 10.0]), (200, 1))
    lucky, better = usual.copy(), usual.copy()
    lucky[:2, :4] = [10, 9, 8, 7]
    lucky[2, :4] = 0
    better[::2, :4] = [7, 5, 3, 1]

    def rows(options: SearchOptions, of: NDArray[np.float64]) -> NDArray[np.float64]:
        return usual if options.coverage else of

    for other, ships in ((lucky, False), (better, True)):

        def tried(
            _: Pairs, __: TranslationPredictor, options: SearchOptions, other: Any = other
        ) -> Tried:
            found = rows(options, other)
            return Tried(float(bleu(found.sum(axis=0)[None])[0]), 200.0, found)

        monkeypatch.setattr(Pairs, "tried", tried)
        monkeypatch.setattr(settle, "FEWEST_PAIRS", 10)
        run, _ = settled(a_run(ship="float32"), examples(), opened, 1e6)
        assert (run.facts["search"].get("coverage") == 0) == ships


def test_without_seconds_the_usual_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, lambda *_: (30.0, 2.0))
    run, why = settled(a_run(), examples(), opened, 0.0)
    assert run == a_run()
    assert why.startswith("too few seconds to measure int8 and search settings")


def test_the_pairs_are_translated_and_timed() -> None:
    _, predictor = opened(a_run())
    assert isinstance(predictor, TranslationPredictor)
    pairs = Pairs(predictor, examples())
    pairs.choose(20)
    found = pairs.tried(predictor, replace(predictor.search, beam=1))
    assert 0 <= found.bleu <= 100
    assert found.sentences_per_second > 0
    assert len(pairs.chosen) == 20


def test_a_source_that_is_cut_keeps_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, predictor = opened(a_run())
    assert isinstance(predictor, TranslationPredictor)
    monkeypatch.setattr(asked, "MOST_PIECES", 4)
    read = list[np.ndarray]()

    def translations(sources: list[np.ndarray], *_: object, **__: object) -> list[Any]:
        read.extend(sources)
        return [[SimpleNamespace(pieces=[])] for _ in sources]

    monkeypatch.setattr(predictor, "translations", translations)
    pairs = Pairs(predictor, examples())
    pairs.choose(20)
    pairs.tried(predictor, predictor.search)
    assert max(map(len, read)) == 4
    assert {source[-1] for source in read} == {EOS}


def test_greedy_search_ships_where_a_budget_has_no_time_to_grade_a_beam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured(monkeypatch, lambda *_: (30.0, 1.0))
    run, why = settled(a_run(), examples(), opened, 1e6, grading=20.0)
    assert run.facts["search"]["beam"] == 1
    assert "would take about 40 of the 20 s that are left" in why
    _, predictor = opened(run)
    assert isinstance(predictor, TranslationPredictor) and predictor.search.beam == 1
    run, _ = settled(a_run(), examples(), opened, 1e6, grading=200.0)
    assert run.facts["search"]["beam"] == FACTS["search"]["beam"] > 1
