"""prune, on small runs of both tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.bundle.verify import verify
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import UserError
from shoestring.core.protocols import Quality
from shoestring.core.receipt import Receipt
from shoestring.core.run import Run
from shoestring.engine import derive, store
from shoestring.engine.shrink import thinning
from shoestring.techniques import prune
from shoestring.techniques.prune import Prune
from tests import tiny

TASKS = plugins.task_names()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A small trained run of each task."""
    found = {}
    for task in TASKS:
        folder = tmp_path_factory.mktemp(f"prune-{task}")
        small = tiny.of_task(task)
        network = {**small.RECIPE["network"]}
        if "width" in network:
            network["width"] = 8
        recipe = tiny.recipe(small.write(folder), steps=60, evaluate_every=20, network=network)
        found[task] = train(recipe=recipe, out=folder / "run")
    return found


@pytest.fixture(scope="module", params=TASKS)
def trained(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


@pytest.fixture(scope="module")
def images(runs: dict[str, Run]) -> Run:
    """For what is the same on every task, and slow enough to be looked at on one."""
    return runs[TASKS[0]]


@pytest.fixture(scope="module")
def halved(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pruned(trained, tmp_path_factory.mktemp("halved"), ratio=0.5, steps=2)


def pruned(run: Run, folder: Path, **options: Any) -> Run:
    return finish.apply(Prune(**{"epochs": 0.5, **options}), run.path, out=folder / "pruned")


def line(run: Run) -> Receipt:
    return next(one for one in reversed(run.receipts) if one.technique.startswith("prune"))


def parameters(run: Run) -> int:
    return sum(weight.numel() for weight in derive.model_of(run).parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "above 0 and below 1, not 0"),
        ({"ratio": 1}, "above 0 and below 1, not 1"),
        ({"ratio": 1.5}, r"above 0 and below 1, not 1\.5"),
        ({"until": "2%"}, "written like 0.2pp, not '2%'"),
        ({"steps": 0}, "from 1, not 0"),
        ({"epochs": -1}, "epochs is from 0"),
        ({"structure": "weights", "until": "1pp"}, "no until"),
        ({"structure": "weights", "of": "macs"}, "ratio of the weights"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prune(**options)
    words = ",".join(f"{name}={value}" for name, value in options.items())
    with pytest.raises(UserError, match=message):
        plugins.technique(f"prune:{words}")


def units(run: Run) -> list[int]:
    network = plugins.task(run.task).network(str((run.architecture or {})["kind"]))
    return [group.units for group in network.groups(run.architecture or {})]


def test_half_of_the_units_leave_and_the_receipt_says_which(trained: Run, halved: Run) -> None:
    network = plugins.task(halved.task).network(str((halved.architecture or {})["kind"]))
    before, after = (network.groups(run.architecture or {}) for run in (trained, halved))
    assert sum(units(halved)) <= 0.5 * sum(units(trained))
    assert parameters(halved) < parameters(trained)
    assert halved.scores is not None
    assert trained.scores is not None
    assert (halved.scores.size_bytes or 0) < (trained.scores.size_bytes or 0)
    assert halved.scores.macs == network.macs(halved.architecture or {})
    said = line(halved).reason
    assert f"{parameters(trained):,} to {parameters(halved):,} parameters" in said
    assert f"{before[0].name} {before[0].units} to {after[0].units}" in said
    assert halved.curve[-1]["step"] > 0
    verify(halved.path / store.BUNDLE)


def test_pruned_again_it_is_smaller_still(halved: Run, tmp_path: Path) -> None:
    twice = pruned(halved, tmp_path, ratio=0.3, epochs=0)
    assert parameters(twice) < parameters(halved)
    assert [one["path"] for one in twice.lineage] == [str(halved.path)]
    assert line(twice).gain is not None


@pytest.mark.parametrize("of", ["units", "parameters", "macs"])
@pytest.mark.parametrize("criterion", ["magnitude", "scale", "taylor"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_ratio_of_what_was_asked_leaves(
    trained: Run, of: str, criterion: str, scope: str
) -> None:
    options: dict[str, Any] = {"of": of, "criterion": criterion, "scope": scope}
    begun = thinning.Thin(trained, derive.model_of(trained).state_dict(), Cost())
    whole = begun.size_of(of)({})
    cut = Prune(**options)._cut(begun, 0.6 * whole, derive.dataset_of(trained), Budget())
    assert 0.4 * whole <= cut.size_of(of)({}) <= 0.6 * whole
    cut.model()  # the weights fit


def test_as_much_leaves_as_the_loss_allows(trained: Run, tmp_path: Path) -> None:
    """Anything is allowed here, so that only the least of each group stays in the end."""
    found = pruned(trained, tmp_path, until="100pp", epochs=0, criterion="magnitude")
    assert sum(units(found)) <= 0.3 * sum(units(trained))
    assert "deciding examples before" in line(found).reason
    assert Prune(until="1pp").chooses
    assert not Prune().chooses


def looked(monkeypatch: pytest.MonkeyPatch, *found: tuple[float, float]) -> None:
    """What looks at the deciding examples find, one after the other: quality and loss."""
    looks = iter(Quality(quality, loss, 20) for quality, loss in found)
    monkeypatch.setattr(thinning.Thin, "quality", lambda thin, feed: next(looks))


def test_of_few_deciding_examples_the_loss_is_asked_as_well(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of twenty is answered otherwise, and yet what they are given got much less likely."""
    looked(monkeypatch, (1.0, 0.05), (1.0, 0.05), (1.0, 0.2), (1.0, 0.06), (1.0, 0.06))
    found = pruned(images, tmp_path, until="0.2pp", epochs=0, criterion="magnitude")
    assert "nats are asked as well" in line(found).reason
    assert 0.65 < sum(units(found)) / sum(units(images)) <= 0.75  # 30% left, 40% did not


def test_a_cut_that_no_seconds_were_left_to_go_on_after_is_not_shipped(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, (0.99, 0.05), (0.11, 2.0))
    found = finish.apply("prune:epochs=0.5", images.path, budget="2m", out=tmp_path / "p")
    assert line(found).status == "skipped" and found.architecture == images.architecture
    assert "steps after the cut were too few: 0.1100" in line(found).reason


def test_a_ratio_beyond_what_always_stays_is_told(images: Run, tmp_path: Path) -> None:
    found = pruned(images, tmp_path, ratio=0.999, epochs=0)
    assert "left, and not 100%: the rest is what always stays" in line(found).reason
    assert "what always stays" not in line(pruned(images, tmp_path / "b", epochs=0)).reason


def test_half_a_step_is_tried_where_a_whole_one_lost_too_much(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, (1.0, 0.5), (0.999, 0.501), (0.9, 0.5), (0.999, 0.505), (0.0, 0.5))
    found = pruned(images, tmp_path, until="0.2pp", epochs=0, criterion="magnitude")
    assert "0.9990 at 0.5010 nats without 30% of the units, 0.9000 at" in line(found).reason
    assert "0.9990 at 0.5050 nats without 40% of the units" in line(found).reason
    assert 0.5 < sum(units(found)) / sum(units(images)) <= 0.6


def test_nothing_leaves_where_every_loss_is_too_much(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, (1.0, 0.5), *[(0.0, 0.5)] * 9)
    found = pruned(images, tmp_path, until="0pp", epochs=0)
    assert line(found).status == "skipped"
    assert "nothing could be taken out within 0pp" in line(found).reason
    assert found.architecture == images.architecture
    before, after = (run.path / store.BUNDLE for run in (images, found))
    assert {p.name: p.read_bytes() for p in before.iterdir()} == {
        p.name: p.read_bytes() for p in after.iterdir()
    }


def test_single_weights_become_zero_stay_so_and_make_no_file_smaller(
    trained: Run, tmp_path: Path
) -> None:
    found = pruned(trained, tmp_path, structure="weights", ratio=0.7, steps=2)
    whole = dict(derive.model_of(trained).named_parameters())
    for name, weight in derive.model_of(found).named_parameters():
        if weight.ndim >= 2:
            assert float((weight == 0).float().mean()) == pytest.approx(0.7, abs=0.03)
            assert not torch.equal(weight[weight != 0], whole[name][weight != 0])  # it learned
    assert "what ships is no smaller and no faster; compressed it would be" in line(found).reason
    assert found.architecture == trained.architecture


def test_zeros_stay_in_the_fits_that_follow(trained: Run, tmp_path: Path) -> None:
    sparse = pruned(trained, tmp_path / "1", structure="weights", ratio=0.7)
    cost = line(sparse).cost
    assert 0 < cost.evaluation_seconds < cost.wall_seconds  # of export and grading
    words = "quantize:method=qat,want=size,points=100,epochs=2"
    after = finish.apply(words, sparse.path, out=tmp_path / "2")
    assert after.recipe.then[:1] == sparse.recipe.then
    zeros = {
        name: weight == 0
        for name, weight in derive.model_of(sparse).named_parameters()
        if weight.ndim >= 2
    }
    learned = dict(derive.model_of(after).named_parameters())
    before = dict(derive.model_of(sparse).named_parameters())
    assert all(bool((learned[name][places] == 0).all()) for name, places in zeros.items())
    assert any(not torch.equal(learned[name], before[name]) for name in zeros)  # it went on
    words = f"distill:student={sparse.path},start=weights,epochs=0.5"
    taught = finish.apply(words, trained.path, out=tmp_path / "4")  # of another run's lineage
    assert derive.lasting(taught) == sparse.recipe.then
    anew = finish.apply("distill:epochs=0.5", sparse.path, out=tmp_path / "5")
    assert anew.recipe.then[:1] == sparse.recipe.then and derive.lasting(anew) == ()
    thinner = finish.apply("prune:ratio=0.3,epochs=0", sparse.path, out=tmp_path / "3")
    assert derive.lasting(thinner) == sparse.recipe.then  # through what takes out whole units, too


def test_a_network_without_known_units_is_named(images: Run) -> None:
    class Solid:
        kind = "solid"

        def groups(self, architecture: Any) -> list[Any]:
            return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(plugins.task(images.task)), "network", lambda self, kind: Solid())
        with pytest.raises(UserError, match="could be taken out of a network solid"):
            Prune().apply(images, Budget())


def test_ranges_that_were_measured_for_other_weights_are_dropped(
    images: Run, tmp_path: Path
) -> None:
    measured = {"method": "static", "layers": {"a": [0, 1]}}
    members = {"members": [{"method": "dynamic"}, measured]}
    plain = {"method": "dynamic"}
    for given, kept in ((measured, {}), (members, {}), (plain, plain)):
        place = derive.Desk(folder=tmp_path / "made", folders=[tmp_path / "made"])
        (tmp_path / "made").mkdir(exist_ok=True)
        with derive.at(place):
            assert prune._child(replace(images, quantization=given)).quantization == kept


def test_the_same_again_gives_the_same_weights(trained: Run, halved: Run, tmp_path: Path) -> None:
    again = pruned(trained, tmp_path, ratio=0.5, steps=2)
    assert tiny.same(derive.model_of(again).state_dict(), derive.model_of(halved).state_dict())


@pytest.mark.slow
def test_it_ends_within_its_budget(trained: Run, tmp_path: Path) -> None:
    clock = Budget(30.0)
    finish.apply(Prune(epochs=500, steps=2), trained.path, out=tmp_path / "made", budget=clock)
    assert clock.elapsed() <= 31
