"""What every task says of the sizes of its networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shoestring import plugins
from tests import tiny


@pytest.mark.parametrize("name", plugins.task_names())
@pytest.mark.parametrize("seconds", [5.0, 3_000.0])
def test_candidates_rise_to_the_usual_one_and_can_be_built(
    name: str, seconds: float, tmp_path: Path
) -> None:
    task = plugins.task(name)
    run, dataset = tiny.prepared(tmp_path / "run", tiny.of_task(name).write(tmp_path))
    recipe = replace(run.recipe, network={})
    offered = task.candidates(recipe, dataset, seconds)
    sizes = [one.parameters for one in offered]
    assert sizes == sorted(sizes) and len(offered) >= 2
    for one in (offered[0], offered[-1]):
        network = task.network(str(one.network["kind"]))
        model = network.build(network.architecture(one.network, dataset.facts))
        count = sum(p.numel() for p in model.parameters())
        assert abs(one.parameters - count) < 0.1 * count + 200
        assert one.enough_epochs > 0


@pytest.mark.parametrize("name", plugins.task_names())
def test_a_network_that_was_named_is_the_only_one(name: str, tmp_path: Path) -> None:
    task, small = plugins.task(name), tiny.of_task(name)
    run, dataset = tiny.prepared(tmp_path / "run", small.write(tmp_path))
    recipe = replace(run.recipe, network=small.RECIPE["network"])
    (only,) = task.candidates(recipe, dataset, 60.0)
    assert only.network["kind"] == small.RECIPE["network"]["kind"]
    assert task.probe(recipe, dataset) is None  # neither grey pictures nor text are photos
