"""gauge: what is measured before a build, on steps and weights that are thrown away."""

from __future__ import annotations

from pathlib import Path

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.listener import Quiet
from shoestring.engine import gauge
from tests import tiny


def test_the_bytes_of_random_weights_are_those_of_learned_ones(tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", count=150)
    run, dataset = tiny.prepared(tmp_path / "run", source)
    weight = gauge.weighed(run, dataset, run.recipe.network)
    from shoestring.autopilot.train import train

    scores = train(recipe=tiny.recipe(source), out=tmp_path / "a").scores
    assert scores is not None and scores.size_bytes is not None
    assert abs(weight.size_bytes - scores.size_bytes) < 700
    assert weight.small_bytes < weight.size_bytes
    assert weight.parameters == scores.parameters
    assert weight.latency_ms is not None and weight.latency_ms > 0


def test_rates_are_measured_and_nothing_is_kept(tmp_path: Path) -> None:
    for name in plugins.task_names():
        folder = tmp_path / name
        folder.mkdir()
        run, dataset = tiny.prepared(folder / "run", tiny.of_task(name).write(folder))
        found = gauge.gauged(run, dataset, Budget(10.0), Quiet())
        assert found.step_seconds > 0 and found.epoch_steps >= 1
        assert found.after_seconds > found.pass_seconds > 0
        assert found.epoch_seconds == found.step_seconds * found.epoch_steps
        assert not list((folder / "run").glob("*.safetensors"))
