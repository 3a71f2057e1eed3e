"""Scores from a process of its own, and openings of the test split."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from shoestring import plugins
from shoestring.bundle import bundle, card, grade
from shoestring.core.budget import Allowance
from shoestring.core.errors import UserError
from shoestring.core.plain import to_plain
from shoestring.core.protocols import silent
from shoestring.core.receipt import Scores
from shoestring.core.run import Recipe
from shoestring.engine import measure, store
from tests.bundle.making import graph, made


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 8x8 pictures, with a test folder."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(2)
    for split, count in (("train", 20), ("test", 5)):
        for label in ("a", "b", "c"):
            (folder / split / label).mkdir(parents=True)
            for k in range(count):
                picture = random.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(picture).save(folder / split / label / f"{k}.png")
    return folder


@pytest.fixture
def recipe(photos: Path) -> Recipe:
    options = plugins.options_from(plugins.task("images").options, {}, "images")
    return Recipe("images", str(photos), options=to_plain(options))


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe) -> Path:
    """A run's folder with a bundle of a network that never learned."""
    facts = plugins.task("images").load(recipe, silent).facts
    graphs = {"model.onnx": graph()}
    manifest = {"task": "images", "facts": {**facts, "size": [8, 8]}}
    golden = bundle.predictor(manifest, graphs).golden()
    folder = tmp_path / "run"
    bundle.write(
        folder / "bundle", "images", manifest["facts"], graphs, golden, card.card(manifest), {}
    )
    store.write_atomically(folder / store.RECIPE, store.recipe_toml(recipe))
    return folder


def test_measure_grades_in_another_process_and_records(run: Path, recipe: Recipe) -> None:
    outcomes = run / "outcomes.npz"
    scores = measure.measure(
        run / "bundle",
        recipe,
        outcomes,
        latency_seconds=0.05,
        threads=1,
        allowance=Allowance(seconds=60.0),
    )
    examples = plugins.task("images").load(recipe, silent).validation
    assert scores.examples == len(examples) > 0
    assert scores.split == "validation"
    assert set(scores.latency_ms) == {"model", "file"}
    assert np.array_equal(grade.read_outcomes(outcomes)["hashes"], examples.hashes)
    recorded = bundle.load(run).manifest["scores"]
    assert recorded["examples"] == scores.examples
    assert recorded["size_bytes"] == scores.size_bytes


def test_what_the_process_says_of_its_failure_is_told(run: Path, recipe: Recipe) -> None:
    (run / "bundle" / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"measuring .* failed: .*model\.onnx is missing"):
        measure.measure(run, recipe, latency_seconds=0)


def test_a_process_that_hangs_is_stopped(run: Path) -> None:
    with pytest.raises(UserError, match=r"took more than 0 s and was stopped"):
        measure.run_job(grade.Job(str(run / "bundle")), 0.01)


def test_a_process_that_dies_is_told_with_its_last_words(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    interpreter = tmp_path / "python"
    for script, words in (
        ("echo some noise; echo 'Bus error' >&2; exit 3", "ended with code 3; last words: Bus err"),
        ("kill -9 $$", "was killed by signal 9; last words: it said nothing"),
    ):
        interpreter.write_text(f"#!/bin/sh\n{script}\n")
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))
        with pytest.raises(UserError, match=words):
            measure.run_job(grade.Job(str(run / "bundle")), 60)


def openings(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "openings.jsonl").read_text().splitlines()]


def test_every_opening_of_the_test_split_is_written_down(run: Path, photos: Path) -> None:
    for count in (1, 2):
        scores = measure.evaluate(run, f"{photos}:test")
        assert scores.examples == 15
        assert scores.split == "test"
        lines = openings(run)
        assert len(lines) == count
        assert lines[-1]["source"] == f"{photos}:test"
        assert lines[-1]["quality"] == pytest.approx(scores.quality, abs=1e-5)
        assert scores.details["opening"] == f"recorded in {run / 'openings.jsonl'}"


def test_a_bundle_by_itself_keeps_its_openings_and_verifies(tmp_path: Path, photos: Path) -> None:
    import shutil

    from shoestring.bundle.verify import verify

    folder = made(tmp_path / "bundle")
    labels = photos.parent / "renamed"
    shutil.copytree(photos, labels, dirs_exist_ok=True)
    for old, new in zip("abc", ["cat", "dog", "none of these"], strict=True):
        (labels / "test" / old).rename(labels / "test" / new)
        (labels / "train" / old).rename(labels / "train" / new)
    seen: list[str] = []
    measure.evaluate(folder, labels, progress=lambda what, done, total: seen.append(what))
    assert len(openings(folder)) == 1
    verify(folder)
    assert "answering" in seen


def test_the_validation_split_is_no_opening(run: Path, photos: Path) -> None:
    scores = measure.evaluate(run, photos / "train")
    assert scores.split != "test"
    assert not (run / "openings.jsonl").exists()


def test_an_opening_that_cannot_be_written_is_said_and_stops_nothing(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "openings.jsonl").mkdir()  # as little to be appended to as a read-only folder
    seen: list[str] = []
    scores = measure.evaluate(
        run, f"{photos}:test", progress=lambda what, done, total: seen.append(what)
    )
    assert scores.examples == 15
    assert "could not be recorded" in scores.details["opening"]
    assert any("could not be recorded" in what for what in seen)


def test_an_opening_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "openings.jsonl").symlink_to(tmp_path / "target")
    note = measure.record_opening(tmp_path, "x", Scores(quality=1.0))
    assert "could not be recorded" in note
    assert (tmp_path / "target").read_text() == "precious"


def test_wrong_options_are_named(run: Path, photos: Path) -> None:
    with pytest.raises(UserError, match=r"images has no option 'beam'"):
        measure.evaluate(run, photos, {"beam": 5})


def test_latency_is_measured_where_it_is_asked_for(run: Path, photos: Path) -> None:
    scores = measure.evaluate(run, photos / "train", latency_seconds=0.05)
    assert scores.latency_ms["model"]["median"] > 0
    assert os.listdir(run / "bundle") != []
