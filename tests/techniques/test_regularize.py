"""Penalties: exact zeros, shares of weights, clipped gradients; each alone and together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.run import Recipe, Run
from shoestring.techniques.regularize import Regularize, shrunk
from tests import tiny

RUN = Run(Path("run"), "images", Recipe("images", "photos", network={"width": 4}))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


def zeros(weights: dict[str, torch.Tensor]) -> float:
    matrices = [t for t in weights.values() if t.ndim > 1]
    return sum(int((t == 0).sum()) for t in matrices) / sum(t.numel() for t in matrices)


def test_without_options_it_takes_the_usual_ones_and_says_so() -> None:
    usual = Regularize()
    assert (usual.l2, usual.dropout, usual.l1) == (0.05, 0.2, 0.0)
    assert plugins.words(usual) == "regularize:l2=0.05,dropout=0.2"
    assert Regularize(l1=1e-6) == plugins.technique("regularize:l1=1e-6")
    assert Regularize(l1=1e-6).dropout is None


def test_what_is_named_goes_into_the_recipe_and_nothing_else() -> None:
    run = Regularize(l2=0.1, label_smoothing=0.2).apply(RUN, Budget())
    assert (run.recipe.weight_decay, run.recipe.label_smoothing) == (0.1, 0.2)
    assert run.recipe.network == {"width": 4}
    run = Regularize(dropout=0.0).apply(RUN, Budget())
    assert run.recipe.network == {"width": 4, "dropout": 0.0}
    assert (run.recipe.weight_decay, run.recipe.label_smoothing) == (None, None)
    assert RUN.recipe.network == {"width": 4}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("l1=-1", "l1 is a number from 0"),
        ("l2=nan", "l2 is a number from 0"),
        ("clip=inf", "clip is a number from 0"),
        ("dropout=1", "dropout is a share from 0 to below 1"),
        ("label_smoothing=1.5", "label_smoothing is a share"),
    ],
)
def test_values_that_are_none_are_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plugins.technique(f"regularize:{words}")


def test_the_proximal_step_solves_what_it_stands_for() -> None:
    """shrunk(w, t) is the x with the least (x - w)^2 / 2 + t |x|."""
    weight = torch.linspace(-2, 2, 41, dtype=torch.float64)
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    costs = (x[:, None] - weight) ** 2 / 2 + 0.5 * x[:, None].abs()
    best = x[costs.argmin(0)]
    assert torch.allclose(shrunk(weight, 0.5), best, atol=1e-3)
    assert (shrunk(weight, 0.5)[weight.abs() <= 0.5] == 0).all()


def test_l1_spares_biases_and_weights_that_the_step_did_not_move() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    before = [p.detach().clone() for p in model.parameters()]
    model[0](torch.ones(1, 3)).sum().backward()
    model[2].weight.grad = torch.zeros(3, 3)
    model[2].weight.requires_grad_(False)
    Regularize(l1=10.0).after_step(model, 0.1, {})
    after = list(model.parameters())
    assert not after[0].any()
    assert all(torch.equal(a, b) for a, b in zip(after[1:], before[1:], strict=True))


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_l1_leaves_exact_zeros_in_what_ships_and_none_without_it(
    tmp_path: Path, source: Path, optimizer: str
) -> None:
    hooks = ("regularize:l1=0.5",)
    settings = {"optimizer": optimizer, "schedule": "constant", "steps": 30}
    _, plain = tiny.fitted(*tiny.prepared(tmp_path / "a", source, **settings))
    _, thin = tiny.fitted(*tiny.prepared(tmp_path / "b", source, hooks=hooks, **settings))
    assert zeros(plain) == 0
    assert zeros(thin) > 0.02


def test_clipping_is_written_into_the_recipe(tmp_path: Path, source: Path) -> None:
    run, _ = tiny.prepared(tmp_path, source, steps=1)
    assert Regularize(clip=0.5).apply(run, Budget()).recipe.clip == 0.5


def test_all_of_it_together_trains(tmp_path: Path, source: Path) -> None:
    hooks = ("regularize:l1=1e-4,l2=0.01,dropout=0.1,label_smoothing=0.05,clip=1.0",)
    run, dataset = tiny.prepared(tmp_path, source, hooks=hooks, steps=60, evaluate_every=60)
    run, _ = tiny.fitted(run, dataset)
    assert run.curve[-1]["quality"] > 0.8
