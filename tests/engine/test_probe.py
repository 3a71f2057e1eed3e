"""Fits that are thrown away: exactly their steps, answers to what was held out, no trace."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.listener import Quiet
from shoestring.engine import part, probe
from tests import tiny


def test_a_probe_answers_examples_that_it_did_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = tiny.prepared(tmp_path / "run", tiny.write_npz(tmp_path / "bars.npz"))
    left = tmp_path / "temporary"
    left.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(left))
    inside, outside = np.arange(30), np.arange(30, len(dataset.train))
    some = part.part_of(dataset, outside)
    recipe = probe.fixed(run.recipe, 25)
    found = probe.probed(recipe, some, Budget(), (dataset.train.part(inside),))
    assert found.steps == 25
    assert found.examples == len(outside)
    assert found.graded == len(dataset.validation)
    (answers,) = found.answers
    assert answers.shape == (30, tiny.CLASSES)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    again = probe.probed(recipe, some, Budget(), (dataset.train.part(inside),))
    assert np.array_equal(again.answers[0], answers)
    assert list(left.iterdir()) == []


def test_a_plan_is_as_many_steps_as_the_seconds_hold(tmp_path: Path) -> None:
    run, dataset = tiny.prepared(tmp_path / "run", tiny.write_npz(tmp_path / "bars.npz"))
    recipe = probe.planned(run, dataset, 2.0, Quiet())
    assert recipe.total_steps == recipe.steps == recipe.evaluate_every
    assert (recipe.steps or 0) > 1
    assert recipe.budget_seconds is None


def test_one_label_an_example_or_none(tmp_path: Path) -> None:
    for name in plugins.task_names():
        folder = tmp_path / name
        folder.mkdir()
        _, dataset = tiny.prepared(folder / "run", tiny.of_task(name).write(folder))
        labels = probe.labels_of(name, dataset.validation, dataset.facts)
        if "labels" in dataset.facts:
            assert labels is not None
            assert len(labels) == len(dataset.validation)
        else:
            assert labels is None
