from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shoestring import plugins
from shoestring.autopilot.train import train
from shoestring.core.errors import UserError
from shoestring.core.run import Run
from shoestring.engine import store
from shoestring.engine.fuse.student import TRAINED_BY, student
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("student")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    source = tiny.write_npz(folder / "bars.npz", count=120)
    return train(recipe=tiny.recipe(source, steps=4, evaluate_every=2), out=folder / "run")


def test_the_same_network_is_trained_as_it_was(run: Run) -> None:
    found = student(run, "same", False, None, None)
    assert found.architecture == run.architecture
    assert found.weights is None and found.run is None
    assert found.changes() == {name: getattr(run.recipe, name) for name in TRAINED_BY}
    assert found.recipe.hooks == run.recipe.hooks


def test_a_network_of_its_kind_keeps_the_recipe_and_another_kind_gets_its_own(run: Run) -> None:
    alike = student(run, "compact:width=3+depth=2", False, 2.0, None)
    assert [alike.architecture[name] for name in ("width", "depth")] == [3, 2]
    assert alike.changes() == {name: getattr(run.recipe, name) for name in TRAINED_BY}
    other = student(run, "classic", False, 2.0, None)
    assert other.changes()["optimizer"] == "adam"
    assert other.changes()["learning_rate"] == 1e-4


def test_what_is_left_open_is_decided_from_the_time(run: Run) -> None:
    short, long = (
        student(run, "compact", False, epochs, None).architecture["width"]
        for epochs in (1.0, 1000.0)
    )
    assert short < long


def test_hooks_that_put_weights_in_place_stay_out_where_there_are_others(run: Run) -> None:
    words = f"transfer:start={run.path}"
    begun = run.with_hook(words)
    assert words in student(begun, "same", False, None, None).recipe.hooks
    assert words not in student(begun, "same", True, None, None).recipe.hooks
    assert words not in student(begun, "classic", False, 1.0, None).recipe.hooks


def test_runs_that_cannot_learn_from_it_are_refused(run: Run, folder: Path) -> None:
    task = next(name for name in plugins.task_names() if name != run.task)
    source = tiny.of_task(task).write(folder)
    other = train(recipe=tiny.recipe(source, steps=1), out=folder / "other")
    with pytest.raises(UserError, match=rf"is of {task} and .* of {run.task}"):
        student(run, str(other.path), False, None, None)
    with pytest.raises(UserError, match="there is no network 'nothing'"):
        student(run, "nothing", False, None, None)


def test_a_student_s_other_labels_are_told_as_the_student_s(run: Run, folder: Path) -> None:
    labels = [*run.facts["labels"][:-1], "more"]
    other = replace(run, path=folder / "labels", facts={**run.facts, "labels": labels})
    shutil.copytree(run.path, other.path)
    store.write_finished(other)
    with pytest.raises(
        UserError, match=rf"the teacher does not know 'more' .*the data {len(labels)}"
    ):
        student(run, str(other.path), False, None, None)
