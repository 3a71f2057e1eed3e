"""optimizer: the optimizers of a recipe, their groups, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shoestring.core.errors import UserError
from shoestring.core.protocols import Hook, Network
from shoestring.core.run import Recipe

OPTIMIZERS = ("muon", "adamw", "adam", "sgd")
MUON_RATE = 12.0  # times the learning rate of the rest: 0.24 beside AdamW's 0.02 on MNIST
MUON_MOMENTUM = 0.6
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic of Jordan et al. 2024
NEWTON_SCHULZ_STEPS = 3


def optimizers(
    model: nn.Module, recipe: Recipe, network: Network, hooks: Sequence[Hook]
) -> list[torch.optim.Optimizer]:
    """What steps a model's weights. Weight decay is decoupled (Loshchilov & Hutter 2019) and
    spares biases and normalisation, which have one dimension.

    `muon` is Muon (Jordan et al. 2024) for hidden convolutions and AdamW for the rest. Groups
    carry `rate_factor`, which multiplies the rate of the schedule. Raises UserError for a name
    that is none.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise UserError(
            f"there is no optimizer {recipe.optimizer!r}; there are: {', '.join(OPTIMIZERS)}"
        )
    groups = _asked(model, network, hooks)
    decay = recipe.weight_decay or 0.0
    found: list[torch.optim.Optimizer] = []
    hidden: list[torch.Tensor] = []
    if not groups:
        hidden = hidden_convolutions(model) if recipe.optimizer == "muon" else []
        taken = {id(p) for p in hidden}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
    rate = recipe.learning_rate or 1e-3
    match recipe.optimizer:
        case "adam":
            found.append(torch.optim.Adam(groups, lr=rate, fused=True))
        case "sgd":
            found.append(torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=True))
        case _:
            found.append(torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True))
    if hidden:
        found.append(Muon(hidden, rate))
    return found


def _asked(model: nn.Module, network: Network, hooks: Sequence[Hook]) -> list[dict[str, Any]]:
    """The groups that a hook wants; an error where two do."""
    found: list[dict[str, Any]] = []
    for hook in hooks:
        given = hook.parameter_groups(model, network)
        if given is not None:
            if found:
                raise UserError("two techniques both set the rates of layers; take one of them")
            found = [dict(group) for group in given]
    return found


def hidden_convolutions(model: nn.Module) -> list[torch.Tensor]:
    """Weights of convolutions that read feature maps and have no bias: a normalisation follows
    them, so their scale does not matter."""
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        and module.bias is None
        and module.groups == 1
        and module.in_channels > 4
        and module.weight.requires_grad
    ]


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by a few Newton-Schulz steps, for convolutions
    that a normalisation follows; their weights are kept at norm sqrt(units).

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers". torch.optim.Muon takes
    matrices only, and does not hold the norm, on which the short schedules here rely.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], rate: float) -> None:
        super().__init__(
            [{"params": list(parameters), "rate_factor": MUON_RATE}], {"lr": rate * MUON_RATE}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                momentum.mul_(MUON_MOMENTUM).add_(weight.grad)
                update = orthogonal(weight.grad.add(momentum, alpha=MUON_MOMENTUM))
                weight.mul_(len(weight) ** 0.5 / (weight.norm() + 1e-7))
                weight.sub_(update, alpha=group["lr"])


def orthogonal(gradient: torch.Tensor) -> torch.Tensor:
    """The nearest half-orthogonal matrix to a gradient taken as (units, rest), roughly, by a
    quintic Newton-Schulz iteration in bfloat16; same shape, float32."""
    a, b, c = NEWTON_SCHULZ
    x = gradient.reshape(len(gradient), -1).to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    if tall:
        x = x.T
    return x.float().reshape(gradient.shape)


def state_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Copies of every optimizer's state, named by optimizer, parameter and kind."""
    return {
        f"{number}.{index}.{name}": torch.as_tensor(value).clone()
        for number, optimizer in enumerate(optimizers)
        for index, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
    }


def restore_state(
    optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Puts back what `state_tensors` took."""
    for number, optimizer in enumerate(optimizers):
        optimizer.state.clear()
        for index, parameter in enumerate(_parameters(optimizer)):
            prefix = f"{number}.{index}."
            found = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
            if found:
                optimizer.state[parameter] = found


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
