"""tune: a search before the fit, in process, side by side, and as a killed process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileBackend

import shoestring
from shoestring import plugins
from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.plain import from_plain
from shoestring.core.run import Run
from shoestring.core.trials import Trials
from shoestring.engine import store
from shoestring.engine.search import space, tuning
from shoestring.engine.search.study import DEFAULTS, JOURNAL
from shoestring.engine.search.trial import Length, Search
from tests import tiny

SHORT = {"steps": 30, "network": "compact:width=4", "batch_size": 16, "precision": "float32"}


class Heard(tiny.Quiet):
    """A listener that keeps what was said."""

    def __init__(self) -> None:
        self.said = ""

    def say(self, text: str) -> None:
        self.said += text + "\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


@pytest.fixture(scope="module")
def tuned(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "a"
    words = "tune:trials=5,checkpoints=2"
    return shoestring.train(source, out=out, techniques=[words], **SHORT, threads=1)


def trials_of(run: Run) -> Trials:
    return from_plain(Trials, json.loads((run.path / store.TRIALS).read_text()))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_best_values_are_in_the_recipe_and_on_the_receipt(tuned: Run) -> None:
    trials, recipe = trials_of(tuned), tuned.recipe
    assert [line.number for line in trials.lines] == list(range(5))
    best = trials.lines[trials.best or 0]
    line = next(r for r in tuned.receipts if r.technique.startswith("tune"))
    assert line.cost.wall_seconds > 0
    assert f"best was trial {best.number}, accuracy" in line.reason
    assert "judged on 8 examples of validation" in line.reason
    assert line.options["best"] == best.values
    assert line.options["trials"] == 5
    if best.origin != DEFAULTS:
        assert recipe.learning_rate == best.values["learning_rate"]
        assert recipe.network["dropout"] == best.values["network.dropout"]
        assert line.gain is not None
        assert "on the other 16 examples" in line.reason
    assert not any(words.startswith("tune") for words in recipe.hooks)


def test_what_a_person_said_is_left_alone(tuned: Run) -> None:
    searched = set(trials_of(tuned).ranges)
    assert searched == {
        "learning_rate",
        "network.depth",
        "network.dropout",
        "weight_decay",
        "augmentation strength",
    }
    assert tuned.recipe.batch_size == 16
    assert tuned.recipe.network["width"] == 4


def test_only_the_best_weights_and_the_defaults_stay_on_disk(tuned: Run) -> None:
    folder = tuned.path / store.TRIALS_FOLDER
    kept = sorted(path.stem for path in folder.glob("*.safetensors"))
    assert len(kept) <= 3
    assert "000" in kept
    assert kept == sorted(path.stem for path in folder.glob("*.toml"))
    assert not [path for path in folder.iterdir() if path.is_dir()]
    assert not store.kept(tuned.path)  # none of it goes along into what is made of the run


def test_its_record_is_repeated_without_a_search(tuned: Run, tmp_path: Path) -> None:
    again = shoestring.train(recipe=tuned.path, out=tmp_path / "again")
    assert again.recipe == tuned.recipe
    name = "model.safetensors"
    assert (again.path / name).read_bytes() == (tuned.path / name).read_bytes()
    assert not (again.path / store.TRIALS).exists()


def test_runs_beside_it_on_the_same_data_are_tried_first(
    tuned: Run, source: Path, tmp_path: Path
) -> None:
    heard = Heard()
    out = tuned.path.parent / "b"
    words = "tune:trials=3,leave=network"
    run = shoestring.train(
        source, out=out, techniques=[words], **SHORT, threads=1, seed=1, listener=heard
    )
    trials = trials_of(run)
    if trials_of(tuned).best:  # else that run has the defaults
        assert trials.warm_starts == (str(tuned.path),)
        assert trials.lines[1].origin == str(tuned.path)
        assert trials.lines[1].values["learning_rate"] == tuned.recipe.learning_rate
        assert f"begins with the values of {tuned.path}" in heard.said
    store.remove(out)


def test_a_trial_that_fails_is_shown_with_its_reason(source: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "space.toml", "[learning_rate]\nchoices = [0.01, 0.02, 1e30]\n")
    heard = Heard()
    words = f"tune:search={file},trials=9"
    run = shoestring.train(
        source, out=tmp_path / "a", techniques=[words], **SHORT, threads=1, listener=heard
    )
    failed = [line for line in trials_of(run).lines if line.ending == "failed"]
    assert failed
    assert all("the loss was not finite" in line.reason for line in failed)
    assert all(line.values == {"learning_rate": 1e30} for line in failed)
    line = next(r for r in run.receipts if r.technique.startswith("tune"))
    assert f"trial {failed[0].number} failed: the loss was not finite" in line.reason
    assert "failed; the loss was not finite" in heard.said
    assert run.recipe.learning_rate in (0.01, 0.02)


def test_a_search_of_which_nothing_comes_says_why(source: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "space.toml", "[learning_rate]\nchoices = [1e30, 1e31]\n")
    words = f"tune:search={file},trials=9"
    said = {**SHORT, "learning_rate": 1e30}
    with pytest.raises(RunError, match="all 5 trials failed; the first: the loss was not finite"):
        shoestring.train(source, out=tmp_path / "a", techniques=[words], **said, threads=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[clip]\nlow=1\nhigh=2\n[network.wdth]\nlow=1\nhigh=2\n", "line 4: .* option 'wdth'"),
        ("[network.dropout]\nlow = 0.5\nhigh = 1.5\n", "line 1: network.dropout = 1.5: .* dropout"),
        ("[augment.shift]\nlow = 0.5\nhigh = 1.5\n", "line 1: augment.shift = 1.5: .* share"),
        ("[augment.swap]\nlow = 0.1\nhigh = 0.5\n", "line 1: .*swap does not fit images"),
    ],
)
def test_ranges_that_do_not_fit_are_told_by_their_line(
    text: str, message: str, source: Path, tmp_path: Path
) -> None:
    words = f"tune:search={write(tmp_path / 'space.toml', text)}"
    with pytest.raises(UserError, match=message):
        shoestring.train(source, out=tmp_path / "a", techniques=[words], **SHORT)
    assert not (tmp_path / "a").exists()


def test_a_wrong_space_is_told_before_any_data_are_read(tmp_path: Path) -> None:
    words = f"tune:search={write(tmp_path / 'space.toml', '[clip]')}"
    with pytest.raises(UserError, match=r"space\.toml, line 1: clip needs low and high"):
        shoestring.train("mnist", out=tmp_path / "a", techniques=[words])
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "words",
    ["trials=1", "share=1", "share=0", "processes=0", "checkpoints=0", "search=a,leave=clip"],
)
def test_options_that_make_no_sense_are_refused(words: str) -> None:
    with pytest.raises(UserError):
        plugins.technique(f"tune:{words}")


@pytest.mark.parametrize("task", plugins.task_names())
def test_every_task_has_usual_ranges_that_fit(task: str, tmp_path: Path) -> None:
    source = tiny.of_task(task).write(tmp_path)
    run, dataset = tiny.prepared(tmp_path / "run", source, task=task)
    one = plugins.task(task)
    ranges = one.space(run.recipe, dataset)
    names = {place.name for place in ranges}
    assert names >= {"learning_rate", "batch_size", "weight_decay", "network.dropout"}
    network = one.network(run.recipe.network["kind"])
    for place in ranges:
        for value in place.choices or (place.value(place.low), place.value(place.high)):
            recipe = space.with_values(run, (place,), {place.name: value}).recipe
            network.architecture(recipe.network, run.facts)
    fixed = run.with_hook("transfer:start=runs/other").recipe
    assert {x.name for x in one.space(fixed, dataset)} >= {"learning_rate", "network.dropout"}
    assert not any(
        path.startswith("network.") and path != "network.dropout"
        for place in one.space(fixed, dataset)
        for path in place.paths
    )


@pytest.mark.parametrize("task", plugins.task_names())
def test_every_task_is_tuned(task: str, tmp_path: Path) -> None:
    source = tiny.of_task(task).write(tmp_path)
    recipe = tiny.recipe(source, task=task)
    run = shoestring.train(
        recipe=recipe, techniques=["tune:trials=3,leave=network"], out=tmp_path / "run"
    )
    assert len(trials_of(run).lines) == 3
    assert run.scores is not None


def test_a_rate_is_not_found_and_searched(source: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "space.toml", "[learning_rate]\nlow = 0.01\nhigh = 0.1\n")
    words = [f"tune:search={file}", "schedule:find=rate"]
    with pytest.raises(UserError, match="learning_rate is searched, and found before each fit"):
        shoestring.train(source, out=tmp_path / "a", techniques=words, **SHORT)


def test_a_budget_too_small_for_a_search_leaves_it_out_with_the_reason(
    source: Path, tmp_path: Path
) -> None:
    run = shoestring.train(
        source, out=tmp_path / "a", techniques=["tune"], budget=0.5, network="compact:width=4"
    )
    line = next(r for r in run.receipts if r.technique.startswith("tune"))
    assert line.status == "skipped"
    assert "give a budget of" in line.reason
    assert run.trained
    assert not any(words.startswith("tune") for words in run.recipe.hooks)


def test_it_is_no_technique_to_ablate(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tune searches before a fit"):
        shoestring.ablate(source, techniques=["tune"], out=tmp_path / "a")


def test_one_who_asks_to_stop_keeps_the_trials(source: Path, tmp_path: Path) -> None:
    class Stops(tiny.Quiet):
        def say(self, text: str) -> None:
            if text.startswith("trial 1 "):
                os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "a"
    with pytest.raises(Interrupted, match=f"go on with: shoestring train --resume {out}"):
        shoestring.train(
            source, out=out, techniques=["tune:trials=4"], **SHORT, threads=1, listener=Stops()
        )
    heard = Heard()
    run = shoestring.train(out=out, resume=True, listener=heard)
    assert "the search goes on after 2 trials" in heard.said
    assert len([line for line in trials_of(run).lines if "again" not in line.reason]) == 4


def test_a_disk_that_is_full_leaves_a_search_that_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "a", JournalFileBackend.append_logs

    def full(backend: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        if len(ended(out)) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(backend, logs)

    with monkeypatch.context() as patched:
        patched.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(RunError, match=rf"the disk is full; .* --resume {out}"):
            shoestring.train(source, out=out, techniques=["tune:trials=3"], **SHORT, threads=1)
    run = shoestring.train(out=out, resume=True)
    assert len([line for line in trials_of(run).lines if "again" not in line.reason]) == 3


def test_of_trials_that_are_as_good_the_one_of_least_loss_is_taken(tuned: Run) -> None:
    first = replace(trials_of(tuned).lines[0], part=1.0, ending="finished")
    lines = tuple(
        replace(first, number=number, quality=quality, loss=loss, part=part)
        for number, (quality, loss, part) in enumerate(
            [(0.9, 0.4, 1.0), (0.901, 0.5, 1.0), (0.8, 0.1, 1.0), (0.95, 0.1, 1 / 3)]
        )
    )
    best = tuning.chosen(lines, 1000, 1.0)
    assert best is not None
    assert best.number == 0
    assert tuning.chosen((), 1000, 1.0) is None


def test_a_search_is_read_again_or_told_to_be_broken(tuned: Run) -> None:
    search = tuning.read(tuned.path / store.TRIALS_FOLDER)
    assert isinstance(search, Search)
    assert search.length == Length(steps=30)
    with pytest.raises(RunError, match=r"search\.json cannot be read"):
        tuning.read(tuned.path)


# --- real processes ------------------------------------------------------------------------------


def ended(folder: Path) -> list[dict[str, object]]:
    """Lines of the journal that end a trial."""
    path = folder / store.TRIALS_FOLDER / JOURNAL
    if not path.exists():
        return []
    lines = [json.loads(x) for x in path.read_text().splitlines(keepends=True) if x.endswith("\n")]
    return [line for line in lines if line.get("op_code") == 6 and line.get("state", 0) in (1, 2)]


def killed_in_the_search(source: Path, folder: Path, words: str, after: int) -> None:
    """Starts a training and kills it once so many trials have ended."""
    command = [sys.executable, "-m", "shoestring", "train"]
    more = ("--steps", "30", "--network", "compact:width=4", "--batch-size", "16", "--quiet")
    more += ("--precision", "float32", "--threads", "1", "--with", words)
    process = subprocess.Popen([*command, str(source), "--out", str(folder), *more])
    try:
        while len(ended(folder)) < after:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_killed_search_goes_on_without_losing_a_finished_trial(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    killed_in_the_search(source, out, "tune:trials=7,warm=false", 3)
    count = len(ended(out))
    heard = Heard()
    run = shoestring.train(out=out, resume=True, listener=heard)
    lines = trials_of(run).lines
    assert f"the search goes on after {count} trials" in heard.said
    assert len([line for line in lines if "again" not in line.reason]) == 7
    # What ended before the kill was not done again, and drew what an unbroken search would draw.
    whole = shoestring.train(
        source,
        out=tmp_path / "whole",
        techniques=["tune:trials=7,warm=false"],
        **SHORT,
        threads=1,
    )
    kept = trials_of(whole).lines[:count]
    assert [(x.values, x.quality) for x in lines[:count]] == [(x.values, x.quality) for x in kept]
    used = run.receipts[-1].options["used_seconds"]
    assert used > sum(x.seconds for x in lines[:count])


@pytest.mark.slow
def test_trials_side_by_side_end_with_whoever_started_them(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    killed_in_the_search(source, out, "tune:trials=9,processes=2,warm=false", 2)
    time.sleep(1)
    count = len(ended(out))
    time.sleep(2)
    assert len(ended(out)) == count  # no worker goes on without its parent
    run = shoestring.train(out=out, resume=True)
    trials = trials_of(run)
    assert trials.processes == 2
    assert len([line for line in trials.lines if "again" not in line.reason]) == 9


@pytest.mark.slow
def test_a_budget_is_kept_with_a_search_side_by_side(source: Path, tmp_path: Path) -> None:
    run = shoestring.train(
        source, out=tmp_path / "a", techniques=["tune:processes=2"], budget=40, threads=1
    )
    assert run.receipts[-1].options["used_seconds"] < 42
    trials = trials_of(run)
    assert trials.processes == 2
    assert 18 < trials.seconds < 26
