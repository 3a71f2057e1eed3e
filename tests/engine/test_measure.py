"""Scores from a process of its own, and openings of the test split."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
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
    alone = {"model", "file", "batch"}
    cores = len(os.sched_getaffinity(0))
    again = {f"{name} on all cores" for name in grade.ON_ALL} if cores > 1 else set()
    assert set(scores.latency_ms) == alone | again
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


def test_an_interrupt_ends_the_process_and_is_passed_on(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interpreter, noted = tmp_path / "python", tmp_path / "pid"
    interpreter.write_text(
        f"#!/bin/sh\nsleep 60 &\necho $! > {noted}.new\nmv {noted}.new {noted}\nwait\n"
    )
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    groups: list[int] = []

    def interrupt() -> None:
        for _ in range(1000):
            if noted.exists():
                break
            time.sleep(0.01)
        groups.append(os.getpgid(int(noted.read_text())))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        measure.run_job(grade.Job(str(run / "bundle")), 60)
    thread.join()
    # A terminal sends Ctrl-C to the group of whoever is in front.
    assert groups[0] != os.getpgid(0)
    for _ in range(1000):
        if gone(int(noted.read_text())):
            break
        time.sleep(0.01)
    assert gone(int(noted.read_text()))


def gone(number: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{number}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


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


@pytest.mark.parametrize("name", ["test", "Testing", "test.csv"])
def test_a_source_that_is_called_test_is_an_opening(
    run: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "elsewhere" / name
    if name.endswith(".csv"):
        source.parent.mkdir()
        rows = [f"{photos}/test/{label}/0.png,{label}" for label in "abc"]
        source.write_text("\n".join(["path,label", *rows]) + "\n")
    else:
        shutil.copytree(photos / "test", source)
    measure.evaluate(run, source)
    assert [line["source"] for line in openings(run)] == [str(source)]


def test_a_link_to_a_test_folder_is_an_opening(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").symlink_to(photos / "test")
    measure.evaluate(run, tmp_path / "pictures")
    assert len(openings(run)) == 1


def test_examples_that_the_run_set_aside_are_an_opening(
    run: Path, photos: Path, recipe: Recipe
) -> None:
    whole = photos / "train"  # no test folder in it
    options = {**recipe.options, "test_share": 0.3}
    own = Recipe("images", str(whole), options=options)
    store.write_atomically(run / store.RECIPE, store.recipe_toml(own))
    scores = measure.evaluate(run, whole)
    assert scores.split == "all"
    assert len(openings(run)) == 1
    store.write_atomically(
        run / store.RECIPE,
        store.recipe_toml(Recipe("images", str(whole), options={**options, "test_share": 0.0})),
    )
    measure.evaluate(run, whole)
    assert len(openings(run)) == 1


def test_a_run_whose_data_cannot_be_loaded_any_more_is_still_evaluated(
    run: Path, photos: Path, recipe: Recipe
) -> None:
    # Its options no longer fit the data, so nobody can say what its test split was.
    bad = Recipe(
        "images", str(photos), options={**recipe.options, "group_by": str(photos / "no.csv")}
    )
    store.write_atomically(run / store.RECIPE, store.recipe_toml(bad))
    scores = measure.evaluate(run, photos / "train", {"group_by": None})
    assert scores.examples == 60
    assert len(openings(run)) == 1


def test_the_bundle_inside_a_run_leaves_its_openings_in_the_run(run: Path, photos: Path) -> None:
    (run / store.RUN).write_text("{}")
    measure.evaluate(run / "bundle", f"{photos}:test")
    assert len(openings(run)) == 1
    assert not (run / "bundle" / "openings.jsonl").exists()


def test_an_opening_stands_there_before_the_first_answer(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "graded", stopped)
    with pytest.raises(KeyboardInterrupt):
        measure.evaluate(run, f"{photos}:test")
    (line,) = openings(run)
    assert line["begun"] is True
    assert line["source"] == f"{photos}:test"
    assert "quality" not in line


def test_openings_that_overlap_in_time_are_one_line_each(tmp_path: Path) -> None:
    first = measure.begin_opening(tmp_path, "first")
    second = measure.begin_opening(tmp_path, "second")
    assert second.complete(Scores(quality=0.2)) == f"recorded in {tmp_path / 'openings.jsonl'}"
    first.complete(Scores(quality=0.1))
    lines = store.read_lines(tmp_path / "openings.jsonl")
    assert [(line["source"], line["quality"]) for line in lines] == [
        ("first", 0.1),
        ("second", 0.2),
    ]
    assert not any("begun" in line for line in lines)


def test_scores_that_do_not_fit_into_the_line_get_one_of_their_own(tmp_path: Path) -> None:
    opening = measure.begin_opening(tmp_path, "x")
    opening.complete(Scores(quality=0.5, signature="s" * 4000))
    assert [line.get("quality") for line in openings(tmp_path)] == [None, 0.5]


def test_scores_are_not_written_over_something_else(tmp_path: Path) -> None:
    opening = measure.begin_opening(tmp_path, "x")
    (tmp_path / "openings.jsonl").write_text('{"source": "another"}\n')
    opening.complete(Scores(quality=0.5))
    assert [line["source"] for line in openings(tmp_path)] == ["another", "x"]
    (tmp_path / "openings.jsonl").unlink()
    assert "without its scores" in opening.complete(Scores(quality=0.5))


def test_a_receipt_shows_each_opening_once(run: Path, photos: Path) -> None:
    from shoestring.report.sheet import receipt

    for _ in range(2):
        measure.evaluate(run / "bundle", f"{photos}:test")
    looks = receipt(run / "bundle").looks
    assert [look["source"] for look in looks] == [f"{photos}:test"] * 2
    assert all("quality" in look for look in looks)


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
