from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoestring import plugins
from shoestring.autopilot.train import train
from shoestring.core.errors import UserError
from shoestring.core.run import PlanChange, Run
from shoestring.engine import placement, store
from shoestring.engine.fuse import teacher
from shoestring.engine.loop import Feeds
from tests import tiny

TASKS = plugins.task_names()


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(f"teacher-{request.param}")
    source = tiny.of_task(request.param).write(folder)
    hooks = {"without": ("augment",)}
    return train(recipe=tiny.recipe(source, steps=10, evaluate_every=5, **hooks), out=folder / "a")


def student(run: Run, folder: Path, steps: int, **changes: Any) -> tuple[Run, Feeds]:
    """A run that is about to learn from this one, and its data."""
    fresh, dataset = tiny.prepared(folder, Path(run.recipe.source), without=("augment",), **changes)
    fresh = fresh.with_recipe(
        fingerprint=dataset.fingerprint, plan=(PlanChange(0, steps, "as asked"),)
    )
    return fresh, Feeds.of(fresh, dataset, placement.Local("cpu"))


def test_a_run_a_bundle_and_a_file_are_told_apart(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "outputs"
    file.write_text("x\n", encoding="utf-8")
    kinds = {
        str(run.path): "run",
        str(run.path / store.BUNDLE): "bundle",
        str(file): "file",
    }
    found = {words: teacher.named(words, run.task) for words in kinds}
    assert {words: one.kind for words, one in found.items()} == kinds
    assert len({one.digest for one in found.values()}) == 3
    with pytest.raises(UserError, match="there is no teacher 'nobody': name a run, a bundle"):
        teacher.named("nobody", run.task)
    other = next(name for name in TASKS if name != run.task)
    for words in (run.path, run.path / store.BUNDLE):
        with pytest.raises(UserError, match="can be no teacher for"):
            teacher.named(str(words), other)


def test_a_teacher_that_was_replaced_is_refused(run: Run) -> None:
    recorded = teacher.named(str(run.path), run.task).digest
    assert teacher.checked(str(run.path), recorded, run.task).kind == "run"
    with pytest.raises(UserError, match="not what it was when this recipe was recorded"):
        teacher.checked(str(run.path), "run-0", run.task)


def test_what_it_thinks_of_unchanged_examples_is_computed_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = teacher.named(str(run.path), run.task)
    short, feeds = student(run, tmp_path / "short", 1)
    long, _ = student(run, tmp_path / "long", 1000)
    asked = teacher.tutor(named, short, feeds.train, "cpu", "")
    remembered = teacher.tutor(named, long, feeds.train, "cpu", "")
    # From here on nobody can be asked any more.
    monkeypatch.setattr(teacher, "_fill", None)
    again = teacher.tutor(named, long, feeds.train, "cpu", "")
    for ids in feeds.train.order(16, 3, 5)[:3]:
        batch = feeds.train.batch(ids)
        batch = replace(batch, inputs=feeds.train.prepare(batch.inputs))
        with torch.no_grad():
            first, second, third = asked(batch), remembered(batch), again(batch)
        for one in (second, third):
            shares = [found.logs_NK.softmax(1) for found in (first, one)]
            if first.classes_NK is None or one.classes_NK is None:
                assert first.classes_NK is one.classes_NK
            else:  # of classes that are as likely either may stand first
                assert (first.classes_NK == one.classes_NK).float().mean() > 0.9
            torch.testing.assert_close(*(s.sort(1).values for s in shares), atol=2e-3, rtol=0)


def test_changed_examples_are_shown_anew(run: Run, tmp_path: Path) -> None:
    options = plugins.task(run.task).augment_options()
    word = next(name for name in ("shift", "swap") if name in options)
    named = teacher.named(str(run.path), run.task)
    fresh, feeds = student(run, tmp_path, 1000)
    changed = fresh.with_hook(f"augment:{word}=0.1")
    assert isinstance(teacher.tutor(named, fresh, feeds.train, "cpu", ""), teacher._Remembered)
    assert not isinstance(
        teacher.tutor(named, changed, feeds.train, "cpu", ""), teacher._Remembered
    )


def test_a_teacher_that_saw_the_student_s_validation_is_refused(run: Run, tmp_path: Path) -> None:
    named = teacher.named(str(run.path), run.task)
    same, _ = student(run, tmp_path / "same", 1)
    teacher.doubtful(named, same)
    other, _ = student(run, tmp_path / "other", 1, options={"split_seed": 5})
    with pytest.raises(UserError, match=r"was trained on \d+ of the \d+ validation examples"):
        teacher.doubtful(named, other)


def test_a_teacher_whose_data_are_gone_teaches_nevertheless(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    kept = store.read(copy)
    store.write_finished(kept.with_recipe(source=str(tmp_path / "gone"), fingerprint="gone"))
    other, _ = student(run, tmp_path / "other", 1, options={"split_seed": 5})
    teacher.doubtful(teacher.named(str(copy), run.task), other)


def test_every_label_has_one_place(run: Run, tmp_path: Path) -> None:
    _, feeds = student(run, tmp_path, 1)
    feed = feeds.train
    places = [feed.places(feed.batch(ids)).numpy() for ids in feed.order(8, 0, 0)]
    found = np.concatenate(places)
    assert len(set(found.tolist())) == len(found)
    assert found.max() < feed.label_count
    for ids in feed.order(8, 0, 0)[:2]:
        assert len(feed.places(feed.batch(ids))) == feed.batch(ids).size
