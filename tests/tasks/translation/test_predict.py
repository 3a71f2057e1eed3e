"""Translations from a bundle: every kind of input, in order, with flat memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shoestring.bundle import bundle
from shoestring.bundle.verify import verify
from shoestring.core.errors import BundleError, UserError
from shoestring.core.protocols import silent
from shoestring.tasks.translation import asked, grading, heatmap
from shoestring.tasks.translation import predict as predicting
from shoestring.tasks.translation.answering import AnswerOptions, Unreadable
from shoestring.tasks.translation.asked import MOST_PIECES
from shoestring.tasks.translation.predict import TranslationPredictor
from shoestring.tasks.translation.scores import scores
from shoestring.tasks.translation.search import search
from shoestring.tasks.translation.special import EOS
from shoestring.tasks.translation.steps import looked
from tests.tasks.translation.shipping import SOURCES, examples, made


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return made(tmp_path_factory.mktemp("lstm"))


@pytest.fixture(scope="module", params=["lstm", "transformer"])
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> bundle.Bundle:
    """In int8."""
    return made(tmp_path_factory.mktemp(request.param), request.param, {"method": "dynamic"})


def texts(answers: list) -> list[str]:
    return [answer["translations"][0]["text"] for answer in answers]


def test_an_answer_has_its_parts(opened: bundle.Bundle) -> None:
    (answer,) = opened.predict("one red dog")
    assert answer["input"] == "one red dog"
    assert set(answer["translations"][0]) == {"text"}
    (answer,) = opened.predict("one red dog", {"nbest": 3, "scores": True})
    found = [one["score"] for one in answer["translations"]]
    assert len(found) == 3
    assert found == sorted(found, reverse=True)
    assert all(np.isfinite(found))


def test_answers_are_the_same_alone_in_company_and_in_any_form(opened: bundle.Bundle) -> None:
    together = texts(opened.predict(SOURCES))
    assert len(set(together)) > 5
    assert together == [texts(opened.predict(line))[0] for line in SOURCES]
    assert together == texts(list(opened.answers(line for line in SOURCES)))
    assert together[:3] == texts(opened.predict(tuple(SOURCES[:3])))


@pytest.mark.parametrize("beam", [1, 3])
def test_greedy_scores_are_given_where_they_are_asked_for(opened: bundle.Bundle, beam: int) -> None:
    plain = opened.predict(SOURCES[:9], {"beam": beam})
    scored = opened.predict(SOURCES[:9], {"beam": beam, "scores": True})
    assert texts(plain) == texts(scored)
    assert all(np.isfinite(one["translations"][0]["score"]) for one in scored)


def test_every_line_has_its_answer_in_its_place(opened: bundle.Bundle) -> None:
    long = " ".join(["dog"] * 10_000)
    lines = ["one dog", "", "   ", Unreadable("no text"), long, "\u200f\u05d0\u05d1 \x00", "🙂" * 9]
    answers = opened.predict(lines)
    assert len(answers) == len(lines)
    assert texts(answers[1:3]) == ["", ""]
    assert answers[3] == {"input": "line 4", "error": "no text"}
    assert f"up to {MOST_PIECES - 1:,} are translated" in answers[4]["error"]
    assert answers[4]["input"] == "line 5"
    assert all("translations" in answers[i] for i in (0, 5, 6))
    assert opened.predict([]) == []
    assert texts(opened.predict("")) == [""]


def test_the_longest_line_that_is_translated_is(opened: bundle.Bundle) -> None:
    word = opened.predictor.tokenizer.encode("dog dog")[1:]
    line = " ".join(["dog"] * ((MOST_PIECES - 3) // len(word)))
    (answer,) = opened.predict(line, {"beam": 1, "max_length": 4})
    assert "translations" in answer


def test_what_is_no_text_is_refused(opened: bundle.Bundle) -> None:
    with pytest.raises(UserError, match=r"a sentence is text, not int"):
        opened.predict(["one", 2])


def test_a_wider_nbest_widens_the_beam(opened: bundle.Bundle) -> None:
    (answer,) = opened.predict("one red dog", {"nbest": 5})
    assert len(answer["translations"]) == 5


def test_a_limit_cuts(opened: bundle.Bundle) -> None:
    for beam in (1, 3):
        whole, cut = (
            opened.predict("one red dog", {"max_length": limit, "beam": beam})[0]["translations"][0]
            for limit in (20, 2)
        )
        assert len(cut["text"]) < len(whole["text"])


@pytest.mark.parametrize("beam", [1, 3])
def test_a_guard_against_circles_can_be_asked_for(small: bundle.Bundle, beam: int) -> None:
    """A network that was not trained goes round in circles."""
    free = [small.predict(line, AnswerOptions(beam=beam)) for line in SOURCES[:12]]
    kept = [small.predict(line, AnswerOptions(beam=beam, no_repeat=2)) for line in SOURCES[:12]]
    assert free != kept
    off = [small.predict(line, AnswerOptions(beam=beam, no_repeat=0)) for line in SOURCES[:12]]
    assert off == free


def test_windows_come_as_lines_do(opened: bundle.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "_WINDOW", 4)
    taken = []

    def lines() -> Iterator[str]:
        for line in SOURCES[:10]:
            taken.append(line)
            yield line

    answers = opened.answers(lines())
    next(answers)
    assert len(taken) == 4
    assert texts(list(answers)) == texts(opened.predict(SOURCES[1:10]))


def test_batches_hold_sentences_of_like_length_and_a_bounded_number_of_pieces() -> None:
    lengths = np.random.default_rng(0).integers(1, 900, 500).tolist()
    batches = list(asked.batches(lengths))
    assert sorted(place for batch in batches for place in batch) == list(range(500))
    flat = [lengths[place] for batch in batches for place in batch]
    assert flat == sorted(flat)
    for batch in batches:
        assert len(batch) <= 64
        assert len(batch) * max(lengths[place] for place in batch) <= 4_096
    assert list(asked.batches([])) == []
    assert list(asked.batches([5_000, 1])) == [[1], [0]]


def test_attention_becomes_a_picture(opened: bundle.Bundle, tmp_path: Path) -> None:
    for beam in (1, 3):
        path = tmp_path / f"{beam}.png"
        opened.predict("one red dog", {"attention": str(path), "beam": beam})
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_picture_waits_for_the_first_sentence_of_a_stream(
    opened: bundle.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lines of a pipe may hold none, and be answered before more arrive."""
    monkeypatch.setattr(predicting, "_WINDOW", 2)
    path = tmp_path / "a.png"
    answers = list(opened.answers(["", " ", "", "one red dog"], {"attention": str(path)}))
    assert len(answers) == 4
    assert path.read_bytes().startswith(b"\x89PNG")


def test_blanks_of_any_kind_are_as_one(small: bundle.Bundle) -> None:
    """Training, grading and answering read a source alike."""
    lines = ["one red dog", "  one red dog", "one red dog \u00a0", "one\tred\u00a0dog"]
    lines += ["one  red\u3000\u2028dog"]
    assert len({texts(small.predict(line))[0] for line in lines}) == 1
    pairs = examples(1)
    found = [small.predictor.outcomes(pairs.respelt([line]), silent) for line in lines]
    assert len({str(one["hypotheses"][0]) for one in found}) == 1


def test_long_lines_are_not_gathered_in_a_window_of_many(
    opened: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "MOST_WAITING", 60)
    taken = []

    def lines() -> Iterator[str]:
        for line in ["one red dog " * 4] * 6:
            taken.append(line)
            yield line

    answers = opened.answers(lines())
    next(answers)
    assert len(taken) == 2
    assert len(list(answers)) == 5


def test_a_picture_of_nothing_is_not_passed_over(opened: bundle.Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    answers = opened.answers(["", " "], {"attention": str(path)})
    assert texts([next(answers), next(answers)]) == ["", ""]
    with pytest.raises(UserError, match=r"no sentence was translated, so .*a\.png was not drawn"):
        next(answers)
    assert not path.exists()
    wrong = list(opened.answers([Unreadable("no text")], {"attention": str(path)}))
    assert wrong == [{"input": "line 1", "error": "no text"}]  # which says enough


def test_a_letter_that_goes_as_bytes_has_one_label(opened: bundle.Bundle) -> None:
    predictor = opened.predictor
    source, target, looks = predictor.attended("one 🙂 dog", "a ж")
    assert looks.shape == (len(target), len(source))
    assert source.count("🙂") == 1
    assert source[source.index("🙂") :][:4] == ["🙂", "", "", ""]
    columns, rows, _ = heatmap.words(source, target, looks)
    assert [len(text.encode()) for text in columns if "🙂" in text] == [4]
    assert any("ж" in text for text in rows)


def test_a_given_translation_looks_as_a_found_one_did(opened: bundle.Bundle) -> None:
    predictor = opened.predictor
    source = predictor.tokenizer.source("one red dog")
    greedy = replace(predictor.search, beam=1)
    ((best,),) = search(predictor.steps, [source], greedy, attention=True)
    looks = looked(predictor.steps, source, np.array(best.pieces, np.int64))
    assert best.attention is not None
    assert looks.shape == (len(best.pieces) + 1, len(source))
    assert looks[: len(best.attention)] == pytest.approx(best.attention, abs=1e-5)


def test_as_many_translations_come_as_were_asked_for(opened: bundle.Bundle) -> None:
    answers = opened.predict(list(SOURCES), {"nbest": 5})
    assert {len(answer["translations"]) for answer in answers} == {5}


def test_a_line_of_marks_is_refused_before_it_is_normalised(opened: bundle.Bundle) -> None:
    """Unicode's composition takes the square of a run of combining marks."""
    first, second = opened.predict(["e" + "\u0301\u0323" * 250_000, "one red dog"])
    assert "500,001 characters in one line" in first["error"]
    assert second["translations"]


@pytest.mark.parametrize("beam", [1, 3])
def test_the_picture_is_of_the_translation_that_is_answered(
    small: bundle.Bundle, beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In int8 a sentence can be translated otherwise among others than alone."""
    drawn: list[tuple[str, list[str], tuple[int, ...]]] = []

    def write(path: str, source: list[str], target: list[str], attention: np.ndarray) -> None:
        drawn.append((path, target, attention.shape))

    monkeypatch.setattr(heatmap, "write", write)
    lines = ["", "one red dog", *SOURCES, "a " * 90]
    answers = small.predict(lines, {"attention": "a.png", "beam": beam, "nbest": beam})
    ((path, target, shape),) = drawn
    assert (path, shape) == ("a.png", (len(target), shape[1]))
    words = "".join(target).removesuffix(predicting.END).replace(predicting.BLANK, " ")
    assert words.split() == texts(answers)[1].split()


def test_outcomes_hold_what_scores_are_made_of(opened: bundle.Bundle) -> None:
    some, seen = examples(70), list[int]()
    found = opened.predictor.outcomes(some, lambda _, done, total: seen.append(done))
    assert all(len(values) == 70 for values in found.values())
    assert seen[0] == 0
    assert seen[-1] == 70
    assert (found["log_probability"] < 0).all()
    tokenizer = opened.predictor.tokenizer
    assert found["tokens"].tolist() == [len(tokenizer.encode(t)) + 1 for t in some.targets]
    assert (found["tokens_right"] <= found["tokens"]).all()
    assert found["hypotheses"].tolist() == texts(opened.predict(list(some.sources)))
    scored = scores(found, opened.manifest["facts"])
    assert scored.metric == "BLEU"
    assert scored.examples == 70
    assert scored.loss == pytest.approx(
        -found["log_probability"].sum() / found["tokens"].sum(), rel=1e-6
    )


def test_a_source_too_long_to_be_translated_counts_as_an_empty_translation(
    opened: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, read = examples(12), list[list[int]]()
    lengths = [len(opened.predictor.tokenizer.source(text)) for text in some.sources]
    limit = sorted(lengths)[6]
    assert limit < max(lengths)
    for module in (asked, grading, predicting):
        monkeypatch.setattr(module, "MOST_PIECES", limit)
    start = opened.predictor.steps.start

    def started(sources: list, *rest: object) -> object:
        read.extend(source.tolist() for source in sources)
        return start(sources, *rest)

    monkeypatch.setattr(opened.predictor.steps, "start", started)
    found = opened.predictor.outcomes(some, silent)
    assert {source[-1] for source in read} == {EOS}
    assert {len(source) <= limit for source in read} == {True}
    answers = opened.predict(list(some.sources))
    told = ["" if "error" in a else a["translations"][0]["text"] for a in answers]
    assert found["hypotheses"].tolist() == told
    assert [text == "" for text in told] == [length > limit for length in lengths]
    assert (found["tokens"] > 0).all()
    assert found["too_long"].tolist() == [length > limit for length in lengths]
    said = scores(found, opened.manifest["facts"]).details["too_long"]
    assert said.startswith(f"{sum(length > limit for length in lengths)} sources have more than")
    none = {**found, "too_long": np.ones(12, np.bool_), "seconds": np.zeros(12)}
    assert "sentences_per_second" not in scores(none, opened.manifest["facts"]).details


def test_an_endless_translation_does_not_widen_the_outcomes_of_all(
    opened: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array of texts gives every one of them the room of the longest."""
    whole = opened.predictor.outcomes(examples(9), silent)
    monkeypatch.setattr(grading, "MOST_KEPT", 5)
    found = opened.predictor.outcomes(examples(9), silent)
    assert max(map(len, whole["hypotheses"])) > 5
    assert [text if len(text) <= 5 else f"{text[:4]}…" for text in whole["hypotheses"]] == (
        found["hypotheses"].tolist()
    )
    assert (found["chrf_counts"] == whole["chrf_counts"]).all()


def test_outcomes_of_nothing_are_empty(opened: bundle.Bundle) -> None:
    found = opened.predictor.outcomes(examples(0), silent)
    assert all(len(values) == 0 for values in found.values())


def test_a_bundle_in_int8_verifies_and_answers(small: bundle.Bundle) -> None:
    assert verify(small.path)["ok"]
    assert len(small.predict(SOURCES)) == len(SOURCES)


def test_golden_inputs_that_are_none_are_refused(opened: bundle.Bundle) -> None:
    inputs, outputs = opened.predictor.golden()
    again = opened.predictor.golden(inputs)[1]
    assert np.array_equal(outputs["probabilities"], again["probabilities"])
    rows = inputs["sources"]
    for wrong in (
        {},
        {**inputs, "sources": rows.astype(np.int32)},
        {**inputs, "sources": rows + 10_000},
        {**inputs, "sources": rows[:1]},
        {**inputs, "sources": rows * 0},
    ):
        with pytest.raises(BundleError, match=r"golden"):
            opened.predictor.golden(wrong)


def test_every_input_that_is_timed_runs(opened: bundle.Bundle) -> None:
    timed = opened.predictor.latency_inputs()
    assert "model" in timed
    assert all(work() for work in timed.values())


def test_a_bundle_that_lacks_something_says_what(opened: bundle.Bundle, tmp_path: Path) -> None:
    files = {f.name: f.read_bytes() for f in opened.path.iterdir()}
    manifest = {"task": "translation", "facts": opened.manifest["facts"]}
    listed = {n: d for n, d in files.items() if n in opened.manifest["files"]}
    for name in ("encoder.onnx", "decoder.onnx", "greedy.onnx", "forced.onnx", "tokenizer.model"):
        rest = {n: d for n, d in listed.items() if n != name}
        with pytest.raises(BundleError, match=rf"no {name}"):
            bundle.predictor(manifest, rest)
    with pytest.raises(BundleError, match=r"tokenizer\.model of the bundle cannot be read"):
        bundle.predictor(manifest, {**listed, "tokenizer.model": b"not one"})
    for facts, words in (
        ({"source": "en"}, "target language"),
        ({**manifest["facts"], "search": {"beam": 0}}, "search settings are not usable"),
        ({**manifest["facts"], "search": {"bean": 3}}, "search settings are not usable"),
        ({**manifest["facts"], "search": [3]}, "no table"),
        ({**manifest["facts"], "search": {"longest": [1.0]}}, "search settings are not usable"),
    ):
        with pytest.raises(BundleError, match=words):
            bundle.predictor({**manifest, "facts": facts}, listed)


@pytest.mark.parametrize("method", ["none", "dynamic"])
@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_bundle_from_before_greedy_search_was_one_graph_answers_the_same(
    kind: str, method: str, tmp_path: Path
) -> None:
    now = made(tmp_path, kind, {"method": method})
    files = {n: (now.path / n).read_bytes() for n in now.manifest["files"]}
    assert "whole.onnx" in files
    older = {n: data for n, data in files.items() if n != "whole.onnx"}
    before = bundle.predictor(now.manifest, older, threads=1)
    for line in SOURCES[:12]:
        asked = AnswerOptions(beam=1)
        assert before.predict([line], asked) == now.predict(line, asked)


def test_a_graph_of_whole_sentences_has_to_fit_the_others(tmp_path: Path) -> None:
    one = made(tmp_path, "lstm", {"method": "dynamic"})
    files = {n: (one.path / n).read_bytes() for n in one.manifest["files"]}
    wrong = {**files, "whole.onnx": files["greedy.onnx"]}
    with pytest.raises(BundleError, match=r"encoder\.onnx and whole\.onnx do not fit"):
        bundle.predictor(one.manifest, wrong)


PIPED = """
import resource, sys
from shoestring.bundle import bundle
opened = bundle.load(sys.argv[1], threads=1)
def lines(count):
    for number in range(count):
        yield ("one red dog " * (number % 7) + str(number)) if number % 50 else ""
def asked(count):
    return sum(len(a["translations"]) for a in opened.answers(lines(count), {"beam": 1}))
assert asked(2_000) == 2_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert asked(int(sys.argv[2])) == int(sys.argv[2])
assert "torch" not in sys.modules
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def piped(folder: Path, count: int) -> int:
    """Kilobytes that memory grows by over so many more lines."""
    words = [sys.executable, "-c", PIPED, str(folder), str(count)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        words, env=env, capture_output=True, text=True, check=False, timeout=3_600
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_memory_stays_flat_over_a_pipe_of_20_000_lines_without_torch(opened: bundle.Bundle) -> None:
    assert piped(opened.path, 20_000) < 30_000


@pytest.mark.slow
def test_memory_stays_flat_over_a_pipe_of_a_million_lines(opened: bundle.Bundle) -> None:
    assert piped(opened.path, 1_000_000) < 30_000


def test_the_predictor_takes_lines_from_standard_input(
    opened: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.tasks.translation.answering import Lines

    data = b"one red dog\r\n\n\xff\ntwo trees"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    answers = list(opened.predictor.answers(Lines([]), AnswerOptions()))
    assert isinstance(opened.predictor, TranslationPredictor)
    assert texts(answers[:2]) == [texts(opened.predict("one red dog"))[0], ""]
    assert "line 3 of standard input is not UTF-8" in answers[2]["error"]
    assert texts(answers[3:]) == texts(opened.predict("two trees"))
