"""What schedule writes into a recipe, and which techniques contradict it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import shoestring
from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.run import Recipe, Run
from shoestring.engine.apply import edited
from shoestring.techniques.schedule import Schedule
from tests import tiny

RUN = Run(Path("run"), "images", Recipe("images", "photos"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


def applied(*words: str) -> Run:
    return edited(tuple(map(plugins.technique, words)), RUN, Budget())


def test_without_options_it_is_a_cosine_and_says_so() -> None:
    assert plugins.words(Schedule()) == "schedule:shape=cosine"
    assert plugins.technique("schedule:find=rate") == Schedule(find=("rate",))
    assert plugins.words(Schedule(find=("rate", "batch"))) == "schedule:find=rate+batch"
    assert plugins.technique("schedule:find=batch+rate").find == ("batch", "rate")
    assert Schedule(find=("rate",)).finds == ("rate",)
    assert Schedule().finds == ()


def test_what_is_named_goes_into_the_recipe_and_the_rest_is_left_open() -> None:
    recipe = applied("schedule:shape=cosine,warm_up=0.1,accumulate=4,precision=float32").recipe
    assert (recipe.schedule, recipe.warm_up, recipe.accumulate) == ("cosine", 0.1, 4)
    assert recipe.precision == "float32"
    recipe = applied("schedule:accumulate=2").recipe
    assert (recipe.schedule, recipe.warm_up, recipe.precision) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shape=step", "shape is one of one_cycle, cosine, linear, constant, not 'step'"),
        ("shape=linear,warm_up=0.1", "shape=linear has no warm-up, and warm_up=0.1 asks for one"),
        ("warm_up=1", "warm_up is a share from 0 to below 1"),
        ("accumulate=0", "accumulate is a number of batches from 1"),
        ("find=momentum", "find is one of rate, batch"),
        ("find=rate+rate", "find names rate twice"),
        ("precision=int8", "precision is one of float32, bfloat16"),
    ],
)
def test_values_that_are_none_are_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plugins.technique(f"schedule:{words}")


def test_a_warm_up_of_a_schedule_that_has_none_is_refused(tmp_path: Path) -> None:
    """`classic` has a constant rate unless another schedule is said."""
    source = tiny.write_npz(tmp_path / "bars.npz", 60)
    said = {"network": "classic", "steps": 1, "threads": 1, "out": tmp_path / "a"}
    with pytest.raises(UserError, match=r"the schedule here is constant, which has no warm-up"):
        shoestring.train(source, techniques=["schedule:warm_up=0.1"], **said)
    assert not (tmp_path / "a").exists()


def test_two_schedules_are_an_error_that_names_both() -> None:
    with pytest.raises(UserError, match="schedule was given twice"):
        applied("schedule:shape=cosine", "schedule:shape=linear")
    for pair in (
        ("schedule:shape=cosine", "average:kind=swa"),
        ("average:kind=swa", "schedule:shape=cosine"),
        ("schedule:warm_up=0.1", "average:kind=swa"),
    ):
        with pytest.raises(UserError, match="both decide the learning rate over the fit") as raised:
            applied(*pair)
        assert all(words in str(raised.value) for words in pair)


def test_what_decides_something_else_goes_together() -> None:
    run = applied("schedule:find=rate", "average:kind=swa", "early_stop", "regularize")
    assert [words.partition(":")[0] for words in run.recipe.hooks] == [
        "schedule",
        "average",
        "early_stop",
        "regularize",
    ]
    assert run.recipe.schedule == "constant"
    applied("schedule:shape=cosine", "average")


def test_steps_over_several_batches_are_those_of_one_large_batch(
    tmp_path: Path, source: Path
) -> None:
    """Without normalisation, which looks at each batch by itself."""
    classic = {"network": {"kind": "classic"}, "optimizer": "sgd", "learning_rate": 0.02}
    settings = {**classic, "schedule": "constant", "steps": 3, "evaluate_every": 3}
    run, dataset = tiny.prepared(tmp_path / "a", source, batch_size=48, **settings)
    _, whole = tiny.fitted(run, dataset)
    hooks = ("schedule:accumulate=3",)
    run, _ = tiny.prepared(tmp_path / "b", source, batch_size=16, hooks=hooks, **settings)
    run = edited((plugins.technique(hooks[0]),), run.with_recipe(hooks=()), Budget())
    assert run.recipe.accumulate == 3
    _, parts = tiny.fitted(run, dataset)
    for name, weight in whole.items():
        assert torch.allclose(weight, parts[name], atol=1e-5), name
