"""test_run: recipes and runs are values: changed by replacing, never in place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shoestring.core.receipt import Receipt
from shoestring.core.run import PlanChange, Recipe, Run


@pytest.fixture
def run() -> Run:
    return Run(path=Path("runs/a"), task="images", recipe=Recipe("images", "photos"))


def test_a_run_is_trained_once_it_has_a_network(run: Run) -> None:
    assert not run.trained
    assert dataclasses.replace(run, architecture={"kind": "compact"}).trained


def test_a_changed_recipe_is_a_new_run(run: Run) -> None:
    other = run.with_recipe(batch_size=64, learning_rate=0.1)
    assert (other.recipe.batch_size, other.recipe.learning_rate) == (64, 0.1)
    assert (run.recipe.batch_size, run.recipe.learning_rate) == (None, None)
    assert other.path == run.path


def test_a_recipe_cannot_be_changed_in_place(run: Run) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.recipe.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.task = "other"


def test_hooks_are_added_in_order(run: Run) -> None:
    both = run.with_hook("augment").with_hook("regularize:l2=0.01")
    assert both.recipe.hooks == ("augment", "regularize:l2=0.01")
    assert run.recipe.hooks == ()


def test_a_hook_takes_the_place_of_one_of_its_name(run: Run) -> None:
    changed = run.with_hook("augment:shift=2").with_hook("average").with_hook("augment:shift=3")
    assert changed.recipe.hooks == ("average", "augment:shift=3")


def test_a_name_that_only_begins_alike_is_another_hook(run: Run) -> None:
    both = run.with_hook("aug").with_hook("augment")
    assert both.recipe.hooks == ("aug", "augment")


def test_receipts_are_appended(run: Run) -> None:
    first, second = Receipt("data"), Receipt("fit")
    assert run.with_receipt(first).with_receipt(second).receipts == (first, second)
    assert run.receipts == ()


def test_the_last_line_of_the_plan_holds() -> None:
    recipe = Recipe("images", "photos")
    assert recipe.total_steps is None
    plan = (PlanChange(0, 500, "measured"), PlanChange(200, 450, "slower than measured"))
    assert dataclasses.replace(recipe, plan=plan).total_steps == 450
