"""compare: two runs on the same examples: what differs, by how much, and on which of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoestring
from shoestring.bundle.grade import write_outcomes
from shoestring.core.errors import RunError, UserError
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.engine.apply import noted
from shoestring.report import evidence, text
from shoestring.report.compare import MOST_CHANGES, compare
from shoestring.tasks.translation.scores import sentence_statistics
from tests import tiny

LABELS = ["cat", "dog"]


def stored(folder: Path, outcomes: dict[str, Any], judged: bool = False, **changes: Any) -> Path:
    """A finished run of pictures in a folder, with these outcomes."""
    folder.mkdir(parents=True)
    recipe = Recipe("images", "nowhere", fingerprint="x")
    run = replace(
        Run(folder, "images", recipe, architecture={"kind": "compact"}, facts={"labels": LABELS}),
        **changes,
    )
    run = noted(run, "judge") if judged else run
    write_outcomes(folder / store.OUTCOMES, outcomes)
    store.write_atomically(
        folder / store.RUN, json.dumps(store.to_plain(replace(run, path=Path("."))))
    )
    return folder


def pictures(answers: list[int], truths: list[int], first: int = 0) -> dict[str, Any]:
    given = np.array(answers)
    return {
        "hashes": np.arange(first, first + len(answers), dtype=np.uint64),
        "labels": np.array(truths),
        "probabilities": np.eye(2, dtype=np.float32)[given],
        "right": given == np.array(truths),
    }


def test_a_run_that_answers_more_beats_the_other(tmp_path: Path) -> None:
    truths = [0, 1] * 50
    old = [t if i >= 30 else 1 - t for i, t in enumerate(truths)]
    new = [t if i >= 4 else 1 - t for i, t in enumerate(truths)]
    new[99] = 1 - truths[99]
    first = stored(tmp_path / "a", pictures(old, truths))
    second = stored(tmp_path / "b", pictures(new, truths))
    found = compare(first, second)
    assert (found.before, found.after) == (0.7, 0.95)
    assert found.gain.value == found.bootstrap.value == pytest.approx(0.25)
    assert 0 < found.bootstrap.low < 0.25 < found.bootstrap.high
    assert (found.verdict, found.won, found.lost) == ("better", 26, 1)
    assert found.sentence == (
        "the second beats the first; one seed each, so this says nothing of their recipes"
    )
    (test,) = found.tests
    assert (test.name, test.signature) == ("McNemar's exact test", "26 to 1 where they differ")
    assert test.p_value < 1e-5
    assert len(found.changes) == MOST_CHANGES
    # The data are gone, so that examples go by their numbers.
    assert found.changes[0].name == "example 5"
    assert (found.changes[0].before, found.changes[0].after) == ("dog", "cat")
    assert found.notes[0].startswith("the best weights of each run were chosen on these examples")
    back = compare(second, first)
    assert (back.verdict, back.won, back.lost) == ("worse", 1, 26)


def test_an_interval_that_no_test_agrees_with_shows_no_difference(tmp_path: Path) -> None:
    truths = [0, 1] * 50
    old = [t if i >= 5 else 1 - t for i, t in enumerate(truths)]
    first = stored(tmp_path / "a", pictures(old, truths))
    second = stored(tmp_path / "b", pictures(truths, truths))
    found = compare(first, second)
    assert found.gain.low > 0
    assert found.verdict == "within noise"
    assert found.sentence.startswith("no difference between the two was shown")
    assert found.notes[-1] == (
        "the interval lies on one side of zero, but McNemar's exact test is less sure (p = 0.062); "
        "a difference counts as shown where both say so"
    )


def test_runs_that_were_judged_apart_need_no_warning(tmp_path: Path) -> None:
    outcomes = pictures([0, 1, 1], [0, 1, 0])
    paths = [stored(tmp_path / name, outcomes, judged=True) for name in "ab"]
    found = compare(*paths)
    assert found.notes == ()
    assert (found.verdict, found.changes) == ("within noise", ())
    assert "both answered all of them alike" in str(found)


def test_only_common_examples_count(tmp_path: Path) -> None:
    truths = [0, 1] * 10
    first = stored(tmp_path / "a", pictures(truths, truths))
    second = stored(tmp_path / "b", pictures(truths, truths, first=6))
    found = compare(first, second)
    assert found.examples == 14
    assert found.notes[-1] == "12 examples that only one of them answered were left out"
    other = stored(tmp_path / "c", pictures(truths, truths, first=18))
    with pytest.raises(UserError, match="only 2 examples in common"):
        compare(first, other)


def sentences(texts: list[str], references: list[str]) -> dict[str, Any]:
    return {
        "hashes": np.arange(len(texts), dtype=np.uint64),
        "hypotheses": np.array(texts, np.str_),
        **sentence_statistics(texts, references, {"bleu_tokenizer": "13a"}),
    }


def test_sentences_are_tested_as_their_field_does(tmp_path: Path) -> None:
    references = [f"the old dog runs over hill number {i} today" for i in range(40)]
    old = [r.replace("old", "new").replace("today", "now") for r in references]
    new = [r if i % 2 else old[i] for i, r in enumerate(references)]
    facts = {"source": "en", "target": "de"}
    first = stored(tmp_path / "a", sentences(old, references), task="translation", facts=facts)
    second = stored(tmp_path / "b", sentences(new, references), task="translation", facts=facts)
    found = compare(first, second)
    assert (found.metric, found.verdict, found.won, found.lost) == ("BLEU", "better", 20, 0)
    assert [test.signature.partition(",")[0] for test in found.tests] == ["sacreBLEU"] * 2
    assert all(test.p_value < 0.05 for test in found.tests)
    assert found.changes[0].before.startswith("the new dog")
    assert found.changes[0].after == references[1]
    page = text.plain(evidence.comparison(found), 100)
    assert "paired bootstrap (Koehn 2004)" in page
    assert "20 won, 0 lost by the second" in page
    narrow = text.plain(evidence.comparison(found))
    assert len(narrow.splitlines()) < 110
    assert "sacreBLEU, 1,000" in narrow
    assert narrow.count("paired bootstrap over") == 1
    with pytest.raises(UserError, match=r"is a model of translation and .* of images"):
        compare(first, stored(tmp_path / "c", pictures([0], [0])))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of a moment with its bundle, and data."""
    folder = tmp_path_factory.mktemp("trained")
    source = tiny.write_npz(folder / "bars.npz")
    shoestring.train(
        source, out=folder / "a", steps=8, network="compact:width=4", device="cpu", threads=1
    )
    return folder / "a", source


def test_two_bundles_answer_what_they_are_given(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, source = trained
    bundle = shoestring.export(run, tmp_path / "bundle")
    with pytest.raises(UserError, match=r"is a bundle, which keeps no answers; say .* --on DATA"):
        compare(bundle, run)
    found = compare(bundle, run, on=tiny.write_npz(tmp_path / "other.npz", 60, seed=5))
    assert (found.examples, found.gain.value, found.changes) == (60, 0.0, ())
    same = compare(run, run, on=source)
    assert any("was trained on examples that are among these" in note for note in same.notes)
    opened = [line for line in same.notes if "test split was opened" in line]
    assert len(opened) <= 1


def test_a_run_names_its_examples(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = trained
    outcomes = dict(np.load(run / store.OUTCOMES))
    flipped = outcomes["probabilities"][:, ::-1].copy()
    outcomes |= {"probabilities": flipped, "right": flipped.argmax(1) == outcomes["labels"]}
    other = tmp_path / "other"
    other.mkdir()
    (other / store.RUN).write_bytes((run / store.RUN).read_bytes())
    write_outcomes(other / store.OUTCOMES, outcomes)
    found = compare(run, other)
    assert found.changes
    assert all(change.truth in ("0", "1", "2") for change in found.changes)
    assert all("/" in change.name for change in found.changes)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        compare(tmp_path, tmp_path)
