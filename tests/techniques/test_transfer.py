"""What transfer takes over, what it freezes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import shoestring
from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import RunError, UserError
from shoestring.core.run import Recipe, Run
from shoestring.engine import store, tensorfile
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from shoestring.techniques.transfer import Transfer
from tests import tiny

FAST = {"precision": "float32", "threads": 1, "batch_size": 16}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("parent")
    source = tiny.write_npz(folder / "bars.npz")
    return shoestring.train(source, out=folder / "a", steps=60, network="compact:width=4", **FAST)


def begun(run: Run, folder: Path, words: str, **changes: object) -> Loop:
    """A loop that begins as these words of transfer say, on the data of `run`."""
    fresh, dataset = tiny.prepared(folder, Path(run.recipe.source), **changes)
    applied = plugins.technique(words).apply(fresh.with_recipe(network={}), Budget())
    place = Local("cpu")
    return Loop(applied, Feeds.of(applied, dataset, place), place)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return tensorfile.load(run.path / store.WEIGHTS)[0]


def moved(loop: Loop, progress: float) -> set[str]:
    """The parts whose weights a step changes."""
    before = {name: t.clone() for name, t in loop.raw.state_dict().items()}
    loop.step(progress, 1.0)
    after = loop.raw.state_dict()
    changed = {after[n].data_ptr() for n in before if not torch.equal(before[n], after[n])}
    return {
        name
        for name, part in loop.network.parts(loop.raw)
        if changed & {t.data_ptr() for t in part.state_dict().values()}
    }


def test_a_run_gives_its_network_and_all_its_weights(parent: Run, tmp_path: Path) -> None:
    loop = begun(parent, tmp_path, f"transfer:start={parent.path}")
    assert loop.recipe.network == parent.recipe.network
    state = loop.raw.state_dict()
    floats = {n: t for n, t in weights(parent).items() if t.is_floating_point()}
    assert tiny.same(floats, {n: state[n] for n in floats})
    (told,) = loop.beginnings
    assert "whole: stem, stage_1, stage_2, head" in told
    assert "did not match" not in told


def test_a_bundle_gives_the_same_function(parent: Run, tmp_path: Path) -> None:
    loop = begun(parent, tmp_path, f"transfer:start={parent.path / 'bundle'}")
    original = loop.network.build(loop.architecture)
    original.load_state_dict(weights(parent))
    x = torch.randn(8, 1, tiny.SIDE, tiny.SIDE)
    torch.testing.assert_close(loop.raw.eval()(x), original.eval()(x), rtol=1e-4, atol=1e-4)
    loop.raw.train()
    for hook in loop.hooks:  # its folded norms stay as they are
        hook.set_modes(loop.raw, loop.network, 0.5)
    torch.testing.assert_close(loop.raw(x), original(x), rtol=1e-4, atol=1e-4)


def test_other_classes_begin_from_nothing_and_are_told(parent: Run, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    pictures = draws.integers(0, 255, (60, tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", x=pictures, y=np.arange(60) % 5)
    run = shoestring.train(
        tmp_path / "other.npz",
        out=tmp_path / "b",
        steps=2,
        techniques=[f"transfer:start={parent.path}"],
        **FAST,
    )
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "from nothing: head" in told
    assert "0.weight was made for 3 of 1 input channels" in told
    assert "its classes are others" in told
    assert run.parents == (str(parent.path),)
    again = shoestring.train(recipe=run.path, out=tmp_path / "c")
    assert tiny.same(weights(run), weights(again))


def test_unlike_widths_say_which_weights_do_not_match(parent: Run, tmp_path: Path) -> None:
    fresh, dataset = tiny.prepared(tmp_path, Path(parent.recipe.source))
    fresh = fresh.with_recipe(network={"kind": "compact", "width": 6})
    applied = Transfer(str(parent.path), parts=("stem",)).apply(fresh, Budget())
    feeds = Feeds.of(applied, dataset, Local("cpu"))
    with pytest.raises(UserError, match=r"0\.weight \(6 x 1 x 3 x 3 here, 4 x 1 x 3 x 3 there\)"):
        Loop(applied, feeds, Local("cpu"))


def test_a_bias_that_fits_any_network_is_no_start(parent: Run, tmp_path: Path) -> None:
    fresh, dataset = tiny.prepared(tmp_path, Path(parent.recipe.source))
    fresh = fresh.with_recipe(network={"kind": "compact", "width": 6})
    applied = Transfer(str(parent.path)).apply(fresh, Budget())
    with pytest.raises(UserError, match=r"nothing of .* fits this network: 0\.weight"):
        Loop(applied, Feeds.of(applied, dataset, Local("cpu")), Local("cpu"))


def test_only_the_parts_that_were_asked_for(parent: Run, tmp_path: Path) -> None:
    loop = begun(parent, tmp_path, f"transfer:start={parent.path},parts=stem+stage_1")
    (told,) = loop.beginnings
    assert "whole: stem, stage_1;" in f"{told};"
    assert "from nothing: stage_2, head" in told
    with pytest.raises(UserError, match="no part 'neck'; it has: stem, stage_1, stage_2, head"):
        begun(parent, tmp_path, f"transfer:start={parent.path},parts=neck")


def test_frozen_parts_stay_and_their_statistics_too(parent: Run, tmp_path: Path) -> None:
    start = f"transfer:start={parent.path}"
    assert moved(begun(parent, tmp_path, f"{start},freeze=stage_1"), 0.3) == {"stage_2", "head"}
    loop = begun(parent, tmp_path, f"{start},freeze=all")
    assert moved(loop, 0.3) == {"head"}
    loop.evaluate()  # which puts all of it into training mode again
    assert moved(loop, 0.4) == {"head"}


def test_gradual_unfreezing_goes_from_the_last_part_on(parent: Run, tmp_path: Path) -> None:
    start = f"transfer:start={parent.path},unfreeze=gradual"
    loop = begun(parent, tmp_path, start)
    assert moved(loop, 0.0) == {"head"}
    assert moved(loop, 0.2) == {"stage_2", "head"}
    assert moved(loop, 0.5) == {"stem", "stage_1", "stage_2", "head"}
    kept = begun(parent, tmp_path, f"{start},freeze=stem")
    assert moved(kept, 0.9) == {"stage_1", "stage_2", "head"}


def test_rates_fall_towards_the_input(parent: Run, tmp_path: Path) -> None:
    loop = begun(parent, tmp_path, f"transfer:start={parent.path},discriminative=0.5")
    factors = {
        name: {
            group["rate_factor"]
            for group in loop.steppers[0].groups
            for weight in group["params"]
            if any(weight is own for own in part.parameters())
        }
        for name, part in loop.network.parts(loop.raw)
    }
    assert factors == {"stem": {0.125}, "stage_1": {0.25}, "stage_2": {0.5}, "head": {1.0}}
    decays = {(w.ndim > 1, g["weight_decay"]) for g in loop.steppers[0].groups for w in g["params"]}
    assert decays == {(True, loop.recipe.weight_decay), (False, 0.0)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("freeze=neck", "no part 'neck' to freeze; there are none, stem, stage_1, stage_2, all"),
        ("freeze=head", "the last part that can be frozen is stage_2"),
    ],
)
def test_a_part_that_cannot_be_frozen(
    words: str, expected: str, parent: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=expected):
        begun(parent, tmp_path, f"transfer:start={parent.path},{words}")


@pytest.mark.parametrize(
    "words",
    ["freeze=all,unfreeze=gradual", "discriminative=0", "discriminative=2", "rate=0"],
)
def test_options_that_make_no_sense_are_refused(words: str) -> None:
    with pytest.raises(UserError, match="transfer: "):
        plugins.technique(f"transfer:start=a,{words}")


def test_a_start_that_is_none_lists_what_there_is(tmp_path: Path) -> None:
    for task in plugins.task_names():
        run = Run(tmp_path, task, Recipe(task, "x"))
        with pytest.raises(UserError, match="train one first"):
            Transfer().apply(run, Budget())
        with pytest.raises(UserError, match="no weights of that name; name a folder, or "):
            Transfer("nothing").apply(run, Budget())


def test_a_start_of_another_task_or_another_network_is_refused(parent: Run, tmp_path: Path) -> None:
    (other,) = [task for task in plugins.task_names() if task != parent.task]
    with pytest.raises(UserError, match=f"was trained for {parent.task}"):
        Transfer(str(parent.path)).apply(Run(tmp_path, other, Recipe(other, "x")), Budget())


def test_a_start_that_learned_from_what_is_judged_is_refused(parent: Run, tmp_path: Path) -> None:
    source, words = parent.recipe.source, f"transfer:start={parent.path}"
    shoestring.train(source, out=tmp_path / "a", steps=1, techniques=[words], **FAST)
    other = {"options": {"split_seed": 1}, "steps": 1, **FAST}
    with pytest.raises(UserError, match=r"was trained on \d+ of the \d+ validation examples"):
        shoestring.train(source, out=tmp_path / "b", techniques=[words], **other)
    words = f"transfer:start={parent.path / 'bundle'}"  # it lies in that very run
    with pytest.raises(UserError, match=r"was trained on \d+ of the \d+ validation examples"):
        shoestring.train(source, out=tmp_path / "d", techniques=[words], **other)
    # Fewer examples of the same split are no leak.
    fewer = {"options": {"per_class": 5}, "steps": 1, **FAST}
    shoestring.train(source, out=tmp_path / "c", techniques=[words], **fewer)


def test_a_start_that_changed_since_is_refused(parent: Run, tmp_path: Path) -> None:
    run = Run(tmp_path, parent.task, Recipe(parent.task, "x"))
    with pytest.raises(UserError, match="is not what it was when this recipe was recorded"):
        Transfer(str(parent.path), weights="run-0000").apply(run, Budget())
    applied = Transfer(str(parent.path)).apply(run, Budget())
    (words,) = applied.recipe.hooks
    hook = plugins.technique(words)
    assert isinstance(hook, Transfer)
    assert hook.weights.startswith("run-")
    model = plugins.task(run.task).network("compact")
    with pytest.raises(RunError, match="has changed since"):
        Transfer(hook.start, weights="run-0000")._donor(model)
