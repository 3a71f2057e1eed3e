"""train: from data to a run with a verified bundle, in process and as a killed process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shoestring
from shoestring.autopilot import asking
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Quiet
from shoestring.core.run import Recipe, Run
from shoestring.engine import store, tensorfile
from tests import tiny

SHORT = {"steps": 40, "network": "compact:width=4", "batch_size": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "a"
    return shoestring.train(source, out=out, **SHORT, threads=1)


def test_a_run_holds_what_it_promises(run: Run) -> None:
    assert sorted(p.name for p in run.path.iterdir()) == [
        "bundle",
        "events.out.tfevents.shoestring",
        "metrics.jsonl",
        "model.safetensors",
        "outcomes.npz",
        "recipe.toml",
        "run.json",
    ]
    assert shoestring.verify(run.path)["ok"]
    assert store.read(run.path) == run


def test_its_scores_are_read_off_the_bundle(run: Run) -> None:
    scores = run.scores
    assert scores is not None
    assert scores.where == "bundle"
    assert scores.split == "validation"
    assert scores.interval is not None
    assert scores.interval.low <= (scores.quality or 0) <= scores.interval.high
    files = [run.path / "bundle" / name for name in ("bundle.json", "model.onnx")]
    assert scores.size_bytes == sum(file.stat().st_size for file in files)
    assert scores.model_bytes == files[1].stat().st_size
    assert scores.latency_ms["model"]["median"] > 0


def test_its_receipt_has_a_line_for_everything(run: Run) -> None:
    names = [receipt.technique.partition(":")[0] for receipt in run.receipts]
    assert names[0] == "data"
    assert names[-5:] == ["fit", "export", "grade", "start and imports", "total"]
    lines = [receipt.cost.wall_seconds for receipt in run.receipts]
    assert sum(lines[:-1]) == pytest.approx(lines[-1], abs=0.01)
    fit = next(r for r in run.receipts if r.technique == "fit")
    assert fit.cost.steps == 40
    assert fit.cost.examples == 40 * 16
    for receipt in run.receipts:
        if receipt.options and receipt.technique.startswith("augment"):
            assert receipt.verdict == "not measured"
            assert "--without augment" in receipt.reason


def test_the_record_repeats_the_run_byte_for_byte(run: Run, tmp_path: Path) -> None:
    again = shoestring.train(recipe=run.path / "recipe.toml", out=tmp_path / "again")
    assert again.recipe == run.recipe
    assert [r.technique for r in again.receipts] == [r.technique for r in run.receipts]
    for name in ("model.safetensors", "bundle/model.onnx", "recipe.toml"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


def test_a_changed_recipe_makes_a_plan_of_its_own(run: Run, tmp_path: Path) -> None:
    other = shoestring.train(recipe=run.path, steps=8, out=tmp_path / "b", without=["augment"])
    assert other.recipe.total_steps == 8
    assert other.recipe.hooks == ()
    assert other.recipe.learning_rate == run.recipe.learning_rate


def test_a_record_without_a_technique_is_without_what_that_wrote_elsewhere() -> None:
    base = Recipe(
        "images",
        "digits",
        network={"kind": "compact", "width": 8, "dropout": 0.3},
        weight_decay=0.2,
        clip=2.0,
        warm_up=0.3,
        schedule="constant",
        label_smoothing=0.1,
        hooks=("regularize:l2=0.2,dropout=0.3", "schedule:warm_up=0.3", "average:kind=swa"),
    )
    bare = asking.opened_again(base, ["regularize"])
    assert (bare.weight_decay, bare.network) == (None, {"kind": "compact", "width": 8})
    assert (bare.clip, bare.label_smoothing, bare.warm_up) == (2.0, 0.1, 0.3)  # not its words
    assert asking.opened_again(base, ["schedule"]).warm_up is None
    assert asking.opened_again(base, ["average"]).schedule is None
    assert asking.opened_again(base, []) == base
    full = asking.asked(base, False, ["regularize"], {}, {"network": "compact:dropout=0.1"}, {})
    assert full.network["dropout"] == 0.1  # what a person says beside it counts


def test_a_changed_record_keeps_the_budget_of_its_recipe(source: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("budget_seconds = 5.0\n")
    first = shoestring.train(source, recipe=recipe, out=tmp_path / "a", network="compact:width=4")
    second = shoestring.train(recipe=first.path, seed=1, out=tmp_path / "b")
    for run in (first, second):
        total = run.receipts[-1]
        assert total.options["asked_seconds"] == 5.0
        assert total.options["used_seconds"] < 7.0


def test_a_wrong_word_ends_before_any_folder_is_made(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    for words in (
        {"techniques": ["argument"]},
        {"techniques": ["augment:ratoi=1"]},
        {"without": ["nothing"]},
        {"network": "giant"},
        {"network": "compact:width"},
        {"options": {"per_clas": 3}},
        {"learning_rate": -1},
        {"batch_size": 0},
        {"precision": "int3"},
        {"budget": 0},
        {"budget": "-1"},
        {"steps": 0},
    ):
        with pytest.raises(UserError):
            shoestring.train(source, out=out, **words)
        assert not out.exists()
    with pytest.raises(UserError, match="say what to train on"):
        shoestring.train(out=out)


def test_a_network_option_that_is_none_is_named_with_those_there_are(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no option 'wide'; it has: width, depth"):
        shoestring.train(source, out=tmp_path / "x", network="compact:wide=3", steps=1)


def test_a_technique_given_twice_is_refused(source: Path, tmp_path: Path) -> None:
    twice = ["augment:shift=0.1", "augment:shift=0.2"]
    with pytest.raises(UserError, match="augment was given twice"):
        shoestring.train(source, out=tmp_path / "x", techniques=twice, steps=1)


def test_a_budget_is_kept_and_a_hopeless_one_ends_honestly(source: Path, tmp_path: Path) -> None:
    class Heard(Quiet):
        said = ""

        def say(self, text: str) -> None:
            self.said += text + "\n"

    heard = Heard()
    run = shoestring.train(source, out=tmp_path / "x", budget=0.2, listener=heard)
    assert run.recipe.total_steps == 1
    assert "expect little" in heard.said
    total = next(r for r in run.receipts if r.technique == "total")
    assert total.options["asked_seconds"] == 0.2
    assert total.options["used_seconds"] > 0.2
    assert shoestring.verify(run.path)["ok"]


def test_the_test_split_is_opened_only_when_asked(source: Path, tmp_path: Path) -> None:
    options = {"test_share": 0.2}
    sealed = shoestring.train(source, out=tmp_path / "a", options=options, **SHORT)
    assert not any(r.technique == "test opened" for r in sealed.receipts)
    assert not (sealed.path / store.OPENINGS).exists()
    recipe = tmp_path / "r.toml"
    recipe.write_text("open_test = true\nsteps = 40\nbatch_size = 16\n")
    opened = shoestring.train(
        source, out=tmp_path / "b", options=options, recipe=recipe, network="compact:width=4"
    )
    (line,) = [r for r in opened.receipts if r.technique == "test opened"]
    assert line.after is not None
    assert line.after.split == "test"
    assert line.at
    assert len(store.read_lines(opened.path / store.OPENINGS)) == 1


# --- real processes ------------------------------------------------------------------------------


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "shoestring", "train", *map(str, words)]


def killed_and_resumed(
    source: Path, folder: Path, seed: int, kills: int, steps: int = 400
) -> tuple[bytes, bytes]:
    """The weights of an unbroken process and of one that was killed at random moments."""
    words = (source, "--steps", str(steps), "--network", "compact:width=4,dropout=0.2")
    words += ("--batch-size", "16", "--precision", "float32", "--threads", "1", "--quiet")
    words += ("--with", "augment:shift=0.1,rotation=8", "--with", "average:decay=0.9")
    # Checkpoints at every look, so that there is something to lose and something to keep.
    environment = {**os.environ, "SHOESTRING_CHECKPOINT_SECONDS": "0"}
    whole, parts = folder / "whole", folder / "parts"
    began = time.monotonic()
    subprocess.run(command(*words, "--out", whole), check=True, env=environment)
    seconds = time.monotonic() - began
    draws = random.Random(seed)
    for attempt in range(kills):
        again = command("--resume", "--out", parts, "--quiet")
        started = parts.exists() and (parts / store.STARTED).exists()
        if parts.exists() and not started:  # killed before anything was written
            store.remove(parts)
        process = subprocess.Popen(
            again if started else command(*words, "--out", parts), env=environment
        )
        try:
            process.wait(timeout=draws.uniform(0.35, 0.95) * seconds / (1 if attempt == 0 else 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if (parts / store.RUN).exists():
            break
    if not (parts / store.RUN).exists():
        started = (parts / store.STARTED).exists()
        if not started and parts.exists():
            store.remove(parts)
        last = (
            command("--resume", "--out", parts, "--quiet")
            if started
            else command(*words, "--out", parts)
        )
        subprocess.run(last, check=True, env=environment)
    return (whole / store.WEIGHTS).read_bytes(), (parts / store.WEIGHTS).read_bytes()


def test_a_killed_and_resumed_process_ends_with_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    whole, parts = killed_and_resumed(source, tmp_path, seed=1, kills=2)
    assert whole == parts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_a_process_killed_at_any_moment_ends_with_the_same_bytes(
    source: Path, tmp_path: Path, seed: int
) -> None:
    whole, parts = killed_and_resumed(source, tmp_path, seed=seed, kills=3)
    assert whole == parts


def test_a_terminated_process_saves_says_how_to_go_on_and_does(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    words = (source, "--steps", "100000", "--network", "compact:width=4", "--batch-size", "16")
    words += ("--precision", "float32", "--threads", "1", "--out", out, "--log-every", "20")
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step"):
            process.send_signal(signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"--resume {out}" in errors
    started = json.loads((out / store.STARTED).read_text())
    assert started["recipe"]["plan"][0]["total_steps"] == 100000
    _, values = tensorfile.load(out / store.CHECKPOINT)
    assert values["progress"]["step"] >= 20
    with pytest.raises(RunError, match="unfinished"):
        store.read(out)


def test_changed_data_are_noticed_at_a_resume(source: Path, tmp_path: Path) -> None:
    copied = tmp_path / "bars.npz"
    copied.write_bytes(source.read_bytes())
    run, _ = tiny.prepared(tmp_path / "x", copied)
    run = run.with_recipe(fingerprint="0" * 64)
    store.write_started(run)
    with pytest.raises(RunError, match="not what it was"):
        shoestring.train(resume=True, out=tmp_path / "x")


def test_a_missing_source_says_so_and_where_names_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file or folder .*nowhere.*data list"):
        shoestring.train(tmp_path / "nowhere", out=tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        shoestring.train(tmp_path / "empty", out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_wrong_network_size_leaves_no_folder_behind(source: Path, tmp_path: Path) -> None:
    for words in ("compact:width=0", "classic:zzz=2"):
        with pytest.raises(UserError):
            shoestring.train(source, out=tmp_path / "x", network=words, steps=1)
        assert not (tmp_path / "x").exists()


def test_more_threads_than_any_machine_has_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cores"):
        shoestring.train(source, out=tmp_path / "x", threads=99999, steps=1)


@pytest.mark.parametrize("network", ["compact:width=4", "classic"])
def test_augment_without_options_is_the_usual_one_and_never_nothing(
    source: Path, tmp_path: Path, network: str
) -> None:
    run = shoestring.train(
        source, out=tmp_path / "x", techniques=["augment"], network=network, steps=2, threads=1
    )
    (words,) = run.recipe.hooks
    assert words.startswith("augment:shift=")
    (line,) = [r for r in run.receipts if r.technique.startswith("augment")]
    assert line.technique == words
    assert line.options["shift"] > 0
