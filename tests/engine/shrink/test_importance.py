"""What each unit of a network is worth."""

from __future__ import annotations

import pytest
import torch

from shoestring import plugins
from shoestring.core.protocols import Dataset
from shoestring.core.run import Run
from shoestring.core.units import UnitGroup
from shoestring.engine.loss import cross_entropy
from shoestring.engine.shrink import importance, thin
from tests import tiny

TASKS = plugins.task_names()
Made = tuple[Run, Dataset, torch.nn.Module, list[UnitGroup]]


@pytest.fixture(scope="module", params=TASKS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A network that has learned a little, with its groups."""
    folder = tmp_path_factory.mktemp(f"importance-{request.param}")
    source = tiny.of_task(request.param).write(folder)
    run, dataset = tiny.prepared(folder / "run", source, steps=20, evaluate_every=20)
    run, weights = tiny.fitted(run, dataset)
    assert run.architecture is not None
    network = plugins.task(run.task).network(run.architecture["kind"])
    model = network.build(run.architecture)
    model.load_state_dict(weights)
    return run, dataset, model.eval(), list(network.groups(run.architecture))


def losses(made: Made, weights: dict[str, torch.Tensor]) -> float:
    """The mean training loss of the batches that first-order importance looks at."""
    run, dataset, _, _ = made
    assert run.architecture is not None
    network = plugins.task(run.task).network(run.architecture["kind"])
    model = network.build(run.architecture)
    model.load_state_dict(weights)
    model.eval()
    found = []
    with torch.no_grad():
        for batch in importance.batches(run, dataset, importance.BATCHES):
            logits, labels = network.logits(model, batch.inputs, batch.targets)
            found.append(float(cross_entropy(logits, labels)[0]))
    return sum(found) / len(found)


def test_every_unit_of_every_group_has_a_score(made: Made) -> None:
    run, dataset, model, groups = made
    for scores in (
        importance.magnitude(model, groups),
        importance.scale(model, groups),
        importance.taylor(run, model, dataset, groups),
    ):
        assert {name: len(found) for name, found in scores.items()} == {
            group.name: group.units for group in groups
        }
        assert all(score >= 0 for found in scores.values() for score in found)
        assert any(score > 0 for found in scores.values() for score in found)


def test_scores_by_size_come_to_one_on_average(made: Made) -> None:
    _, _, model, groups = made
    for found in importance.magnitude(model, groups).values():
        assert sum(found) / len(found) == pytest.approx(1, rel=1e-4)


def test_a_silent_unit_is_worth_nothing(made: Made) -> None:
    run, dataset, model, groups = made
    kept = {group.name: range(1, group.units) for group in groups}
    silent = thin.silenced(model.state_dict(), groups, kept)
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(silent)
    try:
        by_size = importance.magnitude(model, groups)
        by_loss = importance.taylor(run, model, dataset, groups)
    finally:
        model.load_state_dict(whole)
    for group in groups:
        assert by_size[group.name][0] < min(by_size[group.name][1:])
        # Beside units that are worth something; a number of a few steps in float32.
        assert by_loss[group.name][0] <= 1e-10 + 1e-3 * max(by_loss[group.name])


def test_to_first_order_it_is_what_the_loss_changes_by(made: Made) -> None:
    """Each unit made a hundredth smaller for all that read it, and the loss looked at."""
    run, dataset, model, groups = made
    scores = importance.taylor(run, model, dataset, groups)
    group = groups[-1]
    weights, step = model.state_dict(), 1e-2
    whole = losses(made, weights)
    changes = []
    for unit in range(min(group.units, 6)):
        less = {name: tensor.clone() for name, tensor in weights.items()}
        for part in group.slices:
            if part.role == "reads":
                places = torch.tensor(part.places(group.units, [unit]))
                rows = less[part.tensor].index_select(part.dim, places) * (1 - step)
                less[part.tensor].index_copy_(part.dim, places, rows)
        changes.append(abs(whole - losses(made, less)) / step)
    # The mean of squares over batches is at least the square of the mean change.
    count = len(list(importance.batches(run, dataset, importance.BATCHES)))
    for change, score in zip(changes, scores[group.name], strict=False):
        assert change <= 1.1 * (score / count) ** 0.5 + 1e-3


def test_statistics_made_anew_are_those_of_the_data(made: Made) -> None:
    run, dataset, model, _ = made
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    importance.refreshed(run, model, dataset)
    means = [name for name in before if name.endswith("running_mean")]
    assert all(not torch.equal(before[name], model.state_dict()[name]) for name in means)
    weights = [name for name in before if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in weights)
    assert not model.training
