"""diagnose from end to end on tiny data: data with planted flaws, and runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import shoestring
from shoestring.autopilot import more_data
from shoestring.autopilot.diagnose import mending
from shoestring.autopilot.diagnosis import Diagnosis
from shoestring.core.budget import Budget
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Finding
from shoestring.core.run import Recipe, Run
from shoestring.engine import probe, store
from shoestring.engine.probe import Probe
from tests import tiny

WRONG = (3, 41, 77, 120)


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars, some with a wrong label, and one picture twice."""
    path = tiny.write_npz(tmp_path_factory.mktemp("flawed") / "bars.npz", count=150)
    with np.load(path) as arrays:
        pictures, labels = arrays["x"], arrays["y"]
    labels[list(WRONG)] = (labels[list(WRONG)] + 1) % tiny.CLASSES
    pictures[10] = pictures[13]
    np.savez(path, x=pictures, y=labels)
    return path


@pytest.fixture(scope="module")
def run(flawed: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return shoestring.train(
        flawed,
        steps=30,
        network="compact:width=4",
        batch_size=16,
        precision="float32",
        threads=1,
        device="cpu",
        out=tmp_path_factory.mktemp("runs") / "a",
    )


@pytest.fixture(scope="module")
def found(flawed: Path) -> Iterator[Diagnosis]:
    def planned(run: Run, dataset: Dataset, fit_seconds: float, listener: Listener) -> Recipe:
        return probe.fixed(replace(run.recipe, precision="float32", threads=1), 250)

    with pytest.MonkeyPatch.context() as patch:  # steps from seconds differ between machines
        patch.setattr(probe, "planned", planned)
        yield shoestring.diagnose(
            flawed,
            budget=600,
            network="compact:width=4",
            threads=1,
            device="cpu",
            more_data=False,
        )


def test_wrong_labels_are_found_out_of_fold(found: Diagnosis) -> None:
    assert found.labels is not None
    assert found.labels.checked == 150
    names = {suspect.name for suspect in found.labels.suspects[: len(WRONG)]}
    assert len(names & {f"all/{i}" for i in WRONG}) >= 3  # 250 steps make no perfect judge
    assert all(s.label != s.likely for s in found.labels.suspects)
    assert any("labels" in advice.words for advice in found.advice)


def test_what_reading_found_stands_in_the_diagnosis(found: Diagnosis) -> None:
    assert "duplicate" in {finding.kind for finding in found.findings}
    assert found.more_data is None
    assert found.kind == "data"
    assert found.counts["train"] + found.counts["validation"] == 150


def test_without_fits_data_are_only_read(flawed: Path) -> None:
    found = shoestring.diagnose(flawed, labels=False, more_data=False)
    assert found.findings
    assert found.labels is None
    assert found.more_data is None


def test_a_budget_too_small_for_its_fits_says_what_it_would_need(flawed: Path) -> None:
    found = shoestring.diagnose(flawed, budget=2)
    assert found.labels is None
    assert "it would need" in found.notes[0]


def test_a_run_is_told_over_or_underfitting_without_a_fit(run: Run) -> None:
    found = shoestring.diagnose(run.path)
    assert found.kind == "run"
    assert found.fitness is not None
    assert found.fitness.sentence
    assert found.fitness.training.examples == found.counts["train"]
    assert found.more_data is None
    assert found.curve
    assert sorted(p.name for p in run.path.iterdir() if p.name.startswith("probe")) == []


def test_a_run_whose_data_are_gone_is_still_shown(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "b"
    shutil.copytree(run.path, moved)
    for name in (store.RUN, store.RECIPE):
        text = (moved / name).read_text().replace(json.dumps(run.recipe.source)[1:-1], "gone.npz")
        (moved / name).write_text(text)
    found = shoestring.diagnose(moved)
    assert found.fitness is None
    assert "cannot be read any more" in found.notes[0]


def test_a_run_takes_no_words_about_its_training(run: Run) -> None:
    with pytest.raises(UserError, match="is a run"):
        shoestring.diagnose(run.path, seed=3)


def test_an_unfinished_run_is_to_be_resumed(run: Run, tmp_path: Path) -> None:
    (tmp_path / store.STARTED).write_text("{}")
    with pytest.raises(RunError, match="--resume"):
        shoestring.diagnose(tmp_path)


# --- more data ------------------------------------------------------------------------------------


def probes(errors: dict[int, tuple[float, ...]], graded: int = 1_000) -> list[Probe]:
    return [
        Probe(examples, 1 - error, error, graded, 100, 10 * max(errors) / examples, 1.0)
        for examples, each in errors.items()
        for error in each
    ]


def test_falling_errors_say_that_more_data_pay() -> None:
    found = more_data.judged(
        probes({50: (0.4, 0.41), 100: (0.29, 0.28), 200: (0.2, 0.2), 400: (0.14, 0.143)}), "images"
    )
    assert "more data pays" in found.sentence
    assert 0.86 < found.doubled.low < found.doubled.value < found.doubled.high < 0.94
    assert 0 < found.gain.low < found.gain.value < found.gain.high
    assert [point.examples for point in found.points] == [50, 100, 200, 400]


def test_level_errors_say_that_they_do_not() -> None:
    level = dict.fromkeys((50, 100, 200, 400), (0.2, 0.201))
    assert "would buy little" in more_data.judged(probes(level), "images").sentence


def test_fits_too_short_to_see_more_say_so() -> None:
    level = dict.fromkeys((50, 100, 200, 400), (0.2, 0.201))
    short = [replace(p, epochs=400 / p.examples) for p in probes(level)]
    assert "more time first" in more_data.judged(short, "images").sentence


def test_too_few_errors_say_nothing() -> None:
    none = dict.fromkeys((50, 100, 200, 400), (0.0,))
    found = more_data.judged(probes(none, 40), "images")
    assert "cannot be told" in found.sentence
    assert (found.exponent, found.doubled, found.gain) == (None, None, None)
    assert len(found.points) == 4


def test_fits_that_learnt_nothing_say_nothing() -> None:
    guess = dict.fromkeys((50, 100, 200, 400), (0.99, 0.98))
    assert "more time" in more_data.judged(probes(guess), "images").sentence


def test_a_quality_of_a_hundred_is_told_in_its_own_unit() -> None:
    found = more_data.judged(
        [
            Probe(n, q, 2.0, 256, 100, 80_000 / n, 1.0)
            for n, q in ((1_000, 10.0), (2_000, 18.0), (4_000, 25.5), (8_000, 32.0))
        ],
        "translation",
    )
    assert 32 < found.doubled.value < 45
    assert found.doubled.low < 39 < found.doubled.high


def test_small_sets_have_no_shares_to_grow() -> None:
    assert more_data.shares_of(60) == ()
    assert more_data.shares_of(64) == (0.25, 0.5, 1.0)
    assert more_data.shares_of(10_000) == more_data.SHARES


def test_shares_are_trained_on_at_equal_steps(tmp_path: Path) -> None:
    path = tiny.write_npz(tmp_path / "bars.npz", count=130)
    prepared, dataset = tiny.prepared(tmp_path / "run", path)
    recipe = probe.fixed(prepared.recipe, 6)
    labels = probe.labels_of("images", dataset.train, dataset.facts)
    found = more_data.grown(dataset, recipe, labels, Budget(), lambda *_: None, repeats=1)
    assert {p.steps for p in found} == {6}
    assert [p.examples for p in found] == sorted(p.examples for p in found)
    assert found[-1].examples == len(dataset.train)
    assert {p.graded for p in found} == {len(dataset.validation)}


def test_mending_names_each_kind_once() -> None:
    twice = [Finding("leak", 2, "two leak"), Finding("leak", 1, "one more")]
    assert len(mending([*twice, Finding("split", 3, "set aside")])) == 1


def test_a_leak_that_was_left_out_needs_no_mending() -> None:
    out, kept = Finding("leak", 2, "two, left out", dropped=2), Finding("leak", 1, "one, kept")
    assert mending([out]) == ()
    assert [advice.why for advice in mending([out, kept])] == ["one, kept"]
