"""Optimizers: groups, Muon's update, and state that comes back exactly."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from shoestring.core.errors import RunError, UserError
from shoestring.core.protocols import Network
from shoestring.core.run import Recipe
from shoestring.core.techniques import Hook
from shoestring.engine import optimizer, placement
from shoestring.engine.orthogonal import each_orthogonal, orthogonal


class OneHidden:
    """As far as an optimizer asks: the second convolution and the matrix are for Muon."""

    def orthogonal(self, model: nn.Module) -> dict[nn.Parameter, int]:
        layers = cast(nn.Sequential, model)
        kernel, matrix = layers[2].weight, layers[5].weight
        return {cast(nn.Parameter, kernel): 1, cast(nn.Parameter, matrix): 3}


NETWORK = cast(Network, OneHidden())


def a_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 6),
    )


def recipe(name: str, decay: float = 0.1) -> Recipe:
    return Recipe("images", "x", optimizer=name, learning_rate=0.01, weight_decay=decay)


def test_weight_decay_spares_biases_and_normalisation() -> None:
    (adamw,) = optimizer.steppers(a_model(), recipe("adamw"), NETWORK, [])
    for group in adamw.groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_muon_takes_what_the_network_names_and_leaves_the_rest_to_adamw() -> None:
    model = a_model()
    adamw, kernels, matrices = optimizer.steppers(model, recipe("muon"), NETWORK, [])
    assert [p.shape for g in kernels.groups for p in g["params"]] == [(4, 8, 3, 3)]
    assert [p.shape for g in matrices.groups for p in g["params"]] == [(6, 64)]
    count = sum(len(g["params"]) for o in (adamw, kernels, matrices) for g in o.groups)
    assert count == len(list(model.parameters()))


def test_an_unknown_optimizer_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match="muon, adamw, adam, sgd"):
        optimizer.steppers(a_model(), recipe("lion"), NETWORK, [])


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (4, 8, 3, 3), (16, 16, 1, 1)])
def test_muons_update_is_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    update = orthogonal(torch.randn(shape)).reshape(shape[0], -1)
    singular = torch.linalg.svdvals(update)
    # Three steps of the quintic bring every singular value that is not tiny near one.
    assert float(singular.max()) < 1.3
    assert float(singular.median()) > 0.5


def test_matrices_of_one_shape_are_made_orthogonal_together_as_each_by_itself() -> None:
    torch.manual_seed(2)
    updates = [torch.randn(shape) for shape in ((6, 8), (6, 8), (8, 6), (6, 8))]
    found = each_orthogonal(updates, 2)
    for update, part in zip(updates, found, strict=True):
        (alone,) = each_orthogonal([update], 2)
        assert torch.equal(part, alone)
        halves = [each_orthogonal([half], 1)[0] for half in update.chunk(2)]
        torch.testing.assert_close(part, torch.cat(halves))


def test_matrices_that_lie_stacked_are_made_orthogonal_one_by_one() -> None:
    model = a_model()
    *_, matrices = optimizer.steppers(model, recipe("muon", decay=0.5), NETWORK, [])
    weight = cast(nn.Linear, model[5]).weight
    before = weight.detach().clone()
    weight.grad = torch.randn(6, 64)
    weight.grad[2:4] *= 1e-3  # of one of them alone: the others' size says nothing of it
    matrices.step(0.1)
    moved = (before * (1 - 0.1 * 0.5) - weight.detach()) / 0.1
    for part in moved.chunk(3):
        singular = torch.linalg.svdvals(part / (0.2 * 64**0.5))
        assert 0.6 < float(singular.min())
        assert float(singular.max()) < 1.3
    # A weight of AdamW moves by about its rate an element; one of a matrix by a fifth of it.
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2, rel=0.3)


def test_two_techniques_that_set_rates_are_refused() -> None:
    class Rates(Hook):
        def parameter_groups(self, model: nn.Module, network: Network) -> Any:
            return [{"params": list(model.parameters()), "rate_factor": 0.5}]

    model = a_model()
    (one,) = optimizer.steppers(model, recipe("adamw"), NETWORK, [Rates()])
    assert one.groups[0]["rate_factor"] == 0.5
    with pytest.raises(UserError, match="take one of them"):
        optimizer.steppers(model, recipe("adamw"), NETWORK, [Rates(), Rates()])


@pytest.mark.parametrize("name", optimizer.OPTIMIZERS)
def test_a_restored_optimizer_goes_on_exactly(name: str) -> None:
    def trained(steps: int, restart_at: int | None) -> list[torch.Tensor]:
        model = a_model()
        steppers = optimizer.steppers(model, recipe(name), NETWORK, [])
        for step in range(steps):
            if step == restart_at:
                state = optimizer.state_tensors(steppers)
                weights = {n: t.clone() for n, t in model.state_dict().items()}
                model = a_model()
                model.load_state_dict(weights)
                steppers = optimizer.steppers(model, recipe(name), NETWORK, [])
                optimizer.restore_state(steppers, state, placement.like)
            torch.manual_seed(step)
            loss = model(torch.randn(4, 1, 8, 8)).square().mean()
            loss.backward()
            for stepper in steppers:
                stepper.step(0.01)
                stepper.zero_grad()
        return [p.detach() for p in model.parameters()]

    for a, b in zip(trained(5, None), trained(5, 3), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_other_numbers_is_refused() -> None:
    model = a_model()
    steppers = optimizer.steppers(model, recipe("muon"), NETWORK, [])
    other = {"2.0.momentum": torch.zeros(6, 64)}
    with pytest.raises(RunError, match="begin it anew"):
        optimizer.restore_state(steppers, other, placement.like)
