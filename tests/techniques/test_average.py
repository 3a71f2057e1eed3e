"""Averages of weights: moving and plain, when they are taken, and with which statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shoestring
from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.run import Recipe, Run
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from shoestring.techniques.average import Average
from tests import tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


def walked(technique: Average, values: list[float], start: float = 0.0) -> Any:
    """What a single weight averages to that takes these values over a fit."""
    model, state = nn.Linear(1, 1, bias=False), dict[str, Any]()
    for step, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
        state["progress"] = start + (1 - start) * step / len(values)
        technique.after_step(model, 0.1, state)
    found = technique.evaluation_weights(model, state)
    return None if found is None else float(found["weight"])


def test_swa_is_the_plain_mean_of_the_last_part() -> None:
    swa = Average(kind="swa", every=1, start=0.5)
    assert walked(swa, [9.0, 9.0, 1.0, 2.0]) == pytest.approx(1.5)
    assert walked(swa, [9.0] * 50 + [float(i) for i in range(50)]) == pytest.approx(24.5)


def test_before_its_part_swa_has_no_opinion() -> None:
    swa = Average(kind="swa", every=1, start=0.9)
    model = nn.Linear(1, 1)
    state: dict[str, Any] = {"progress": 0.5}
    swa.after_step(model, 0.1, state)
    assert swa.evaluation_weights(model, state) is None


def test_a_short_last_part_is_averaged_too() -> None:
    assert walked(Average(kind="swa", start=0.75), [9.0, 9.0, 9.0, 2.0]) == pytest.approx(2.0)


@pytest.mark.parametrize("average", [Average(), Average(kind="swa", start=0.25)])
def test_zeros_that_l1_left_are_zeros_of_the_average(average: Average) -> None:
    model, state = nn.Linear(2, 1), dict[str, Any]()
    for step in range(20):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 0.0 if step > 10 else 1.0]]))
            model.bias.zero_()
        state["progress"] = step / 20
        average.after_step(model, 0.1, state)
    found = average.evaluation_weights(model, state)
    assert found is not None
    assert found["weight"][0, 0] == pytest.approx(1.0) and found["weight"][0, 1] == 0.0


def test_ema_forgets() -> None:
    ema = Average(decay=0.5, every=1)
    assert walked(ema, [100.0, *[1.0] * 40]) == pytest.approx(1.0, abs=1e-3)


def test_the_rate_of_swa_climbs_falls_and_stays() -> None:
    swa = Average(kind="swa", start=0.6, rate=0.25)
    assert swa.learning_rate(0.0) == pytest.approx(0.05)
    assert swa.learning_rate(0.2) == 1.0
    assert swa.learning_rate(0.4) == pytest.approx(0.625)
    assert [swa.learning_rate(p) for p in (0.6, 0.8, 1.0)] == pytest.approx([0.25] * 3)
    assert Average().learning_rate(0.7) == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("kind=sma", "kind is one of ema, swa"),
        ("decay=1", "decay lies between 0 and 1"),
        ("start=0.9", "start and rate are of kind=swa"),
        ("kind=swa,start=0.1", "start lies between 0.2 and 1"),
        ("kind=swa,decay=0.5", "decay is of kind=ema"),
        ("refresh=-1", "refresh is a number of batches from 0"),
    ],
)
def test_values_that_are_none_are_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plugins.technique(f"average:{words}")


@pytest.mark.parametrize("words", ["average:decay=0.9,every=2", "average:kind=swa,every=2"])
def test_what_ships_has_statistics_of_its_own_weights(
    tmp_path: Path, source: Path, words: str
) -> None:
    run, dataset = tiny.prepared(tmp_path / "a", source, steps=60, evaluate_every=60)
    run = plugins.technique(words).apply(run, Budget())
    done, weights = tiny.fitted(run, dataset)
    assert done.curve[-1]["quality"] > 0.8
    run, _ = tiny.prepared(tmp_path / "b", source, steps=60, evaluate_every=60)
    run = plugins.technique(f"{words},refresh=0").apply(run, Budget())
    _, averaged = tiny.fitted(run, dataset)
    means = [name for name in weights if name.endswith("running_mean")]
    assert means
    assert any(not torch.equal(weights[n], averaged[n]) for n in means)
    plain = [n for n in weights if "running" not in n and "num_batches" not in n]
    assert all(torch.equal(weights[n], averaged[n]) for n in plain)


@pytest.mark.parametrize("options", ["", ",freeze=all"])
def test_what_transfer_keeps_is_not_computed_anew(
    tmp_path: Path, source: Path, options: str
) -> None:
    """The statistics of frozen parts, and of a bundle's normalisations, which are folded away."""
    first, dataset = tiny.prepared(tmp_path / "a", source, steps=20)
    parent = shoestring.train(source, out=tmp_path / "p", steps=20, network="compact:width=4")
    start = parent.path / "bundle" if not options else parent.path
    fresh = first.with_recipe(network={})
    for words in (f"transfer:start={start}{options}", "average:every=2"):
        fresh = plugins.technique(words).apply(fresh, Budget())
    place = Local("cpu")
    loop = Loop(fresh, Feeds.of(fresh, dataset, place), place)
    before = {n: t.clone() for n, t in loop.raw.state_dict().items() if "running" in n}
    for step in range(4):
        loop.step(step / 4, 1.0)
    loop.evaluate()
    after = loop.best
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == set(before) if not options else {n for n in before if "head" not in n} <= kept


def test_swa_takes_the_schedule_over() -> None:
    run = Run(Path("run"), "images", Recipe("images", "photos", schedule="cosine"))
    assert Average(kind="swa").apply(run, Budget()).recipe.schedule == "constant"
    assert Average().apply(run, Budget()).recipe.schedule == "cosine"
