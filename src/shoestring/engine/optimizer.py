"""optimizer: the optimizers of a recipe, their groups, and their state as named tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from shoestring.core.errors import RunError, UserError
from shoestring.core.placement import Tensors
from shoestring.core.protocols import Network
from shoestring.core.run import OPTIMIZERS, Recipe
from shoestring.core.techniques import Hook
from shoestring.engine.orthogonal import each_orthogonal, orthogonal

MUON_RATE = 10.0  # times the learning rate of the rest: 0.1 beside AdamW's 0.01
MUON_MOMENTUM = 0.6
MATRIX_MOMENTUM = 0.95

Like = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Lying(Protocol):
    """How weights lie, of which this process may have a part only."""

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's part, in the same memory."""

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        """`way` of the whole matrices, cut again as they were."""


class Whole:
    """All of every weight is here."""

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        return way(updates)


class Stepper(ABC):
    """Steps some groups of weights; `state` holds its tensors by weight.

    Built on torch's functional optimizers: the classes of torch.optim import the compiler at
    first use, which costs every command several seconds here and gains nothing.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], lying: Lying) -> None:
        self._lying = lying
        self.groups = [{"rate_factor": 1.0, "weight_decay": 0.0, **group} for group in groups]
        self.state: dict[torch.Tensor, dict[str, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step at a learning rate; weights without a gradient stay."""
        for group in self.groups:
            weights = [w for w in group["params"] if w.grad is not None]
            for weight in weights:
                if weight not in self.state:
                    self.state[weight] = self.fresh(weight)
            if weights:
                self.update(weights, rate * group["rate_factor"], group["weight_decay"])

    def zero_grad(self) -> None:
        for weight in self.weights():
            weight.grad = None

    def weights(self) -> list[torch.Tensor]:
        return [weight for group in self.groups for weight in group["params"]]

    def _stateful(self, weights: Sequence[torch.Tensor], name: str) -> list[torch.Tensor]:
        return self._here([self.state[weight][name] for weight in weights])

    def _here(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Steps element by element need no more than the parts that are here."""
        return [self._lying.here(tensor) for tensor in tensors]

    @abstractmethod
    def fresh(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """The state of a weight before its first step."""

    @abstractmethod
    def update(self, weights: list[torch.Tensor], rate: float, decay: float) -> None: ...


class Adam(Stepper):
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], lying: Lying, betas: tuple[float, float]
    ) -> None:
        super().__init__(groups, lying)
        self.betas = betas

    def fresh(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "step": torch.zeros((), dtype=torch.float32, device=weight.device),
            "mean": torch.zeros_like(weight),
            "square": torch.zeros_like(weight),
        }

    def update(self, weights: list[torch.Tensor], rate: float, decay: float) -> None:
        adamw(
            self._here(weights),
            self._here([_gradient(w) for w in weights]),
            self._stateful(weights, "mean"),
            self._stateful(weights, "square"),
            [],
            self._stateful(weights, "step"),
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=rate,
            weight_decay=decay,
            eps=1e-8,
            maximize=False,
        )


class Momentum(Stepper):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013)."""

    def fresh(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum": torch.zeros_like(weight)}

    def update(self, weights: list[torch.Tensor], rate: float, decay: float) -> None:
        if decay:
            torch._foreach_mul_(self._here(weights), 1 - rate * decay)  # decoupled, as Adam's is
        sgd(
            self._here(weights),
            self._here([_gradient(w) for w in weights]),
            list(self._stateful(weights, "momentum")),
            fused=True,
            weight_decay=0.0,
            momentum=0.9,
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )


class Muon(Stepper):
    """Momentum whose update is made orthogonal by a few Newton-Schulz steps, for convolutions
    that a normalisation follows; their weights are kept at norm sqrt(units).

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    torch.optim.Muon takes no kernels, and does not hold the norm, on which the short schedules
    here rely.
    """

    def fresh(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum": torch.zeros_like(weight)}

    def update(self, weights: list[torch.Tensor], rate: float, decay: float) -> None:
        for weight in weights:
            gradient, momentum = _gradient(weight), self.state[weight]["momentum"]
            momentum.mul_(MUON_MOMENTUM).add_(gradient)
            mixed = [gradient.add(momentum, alpha=MUON_MOMENTUM)]
            (update,) = self._lying.orthogonal(mixed, lambda each: [orthogonal(x) for x in each])
            weight.mul_(len(weight) ** 0.5 / (weight.norm() + 1e-7))
            weight.sub_(update, alpha=rate)


class MatrixMuon(Stepper):
    """Muon for matrices that no normalisation follows: the momentum made orthogonal, each of
    those that lie stacked in a weight by itself, scaled to take AdamW's rate and weight decay.

    Source: Liu et al. 2025, "Muon is scalable for LLM training". torch.optim.Muon knows no stacked
    matrices and none that are cut over processes.
    """

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], lying: Lying, stacked: Mapping[torch.Tensor, int]
    ) -> None:
        super().__init__(groups, lying)
        self._stacked = stacked

    def fresh(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"matrix_momentum": torch.zeros_like(weight)}

    def update(self, weights: list[torch.Tensor], rate: float, decay: float) -> None:
        by_count: dict[int, list[torch.Tensor]] = {}
        for weight in weights:
            by_count.setdefault(self._stacked[weight], []).append(weight)
        for count, several in by_count.items():
            mixed = []
            for weight in several:
                gradient, momentum = _gradient(weight), self.state[weight]["matrix_momentum"]
                momentum.lerp_(gradient, 1 - MATRIX_MOMENTUM)
                mixed.append(gradient.lerp(momentum, MATRIX_MOMENTUM))
            updates = self._lying.orthogonal(mixed, partial(each_orthogonal, count=count))
            for weight, update in zip(several, updates, strict=True):
                weight.mul_(1 - rate * decay).sub_(update, alpha=rate)


def steppers(
    model: nn.Module,
    recipe: Recipe,
    network: Network,
    hooks: Sequence[Hook],
    lying: Lying | None = None,
) -> list[Stepper]:
    """What steps a model's weights. Weight decay spares biases and normalisation, which have one
    dimension. `muon` is Muon for what the network names, for kernels and for matrices each in its
    own way, and AdamW for the rest. Groups may carry
    `rate_factor`, which multiplies the rate of the schedule. Raises UserError for a name that is
    none.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise UserError(
            f"there is no optimizer {recipe.optimizer!r}; there are: {', '.join(OPTIMIZERS)}"
        )
    decay = recipe.weight_decay or 0.0
    groups = [part for group in _asked(model, network, hooks) for part in _decaying(group, decay)]
    hidden: dict[torch.Tensor, int] = {}
    if not groups:
        if recipe.optimizer == "muon":
            hidden |= dict(network.orthogonal(model).items())
        taken = {id(p) for p in hidden}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
        groups = _decaying({"params": rest}, decay)
    first: Stepper
    lying = lying or Whole()
    match recipe.optimizer:
        case "adam":
            first = Adam(groups, lying, (0.9, recipe.beta2 or 0.999))
        case "sgd":
            first = Momentum(groups, lying)
        case _:
            first = Adam(groups, lying, (0.9, recipe.beta2 or 0.95))  # short fits: forget fast
    found: list[Stepper] = [first]
    if kernels := [w for w in hidden if w.ndim > 2]:
        found.append(Muon([{"params": kernels, "rate_factor": MUON_RATE}], lying))
    if matrices := [w for w in hidden if w.ndim == 2]:
        group = {"params": matrices, "weight_decay": decay}
        found.append(MatrixMuon([group], lying, hidden))
    return found


def _decaying(group: Mapping[str, Any], decay: float) -> list[dict[str, Any]]:
    """A group that says nothing of weight decay as two: the recipe's for matrices, none for the
    rest."""
    if "weight_decay" in group:
        return [dict(group)]
    matrices = [p for p in group["params"] if p.ndim > 1]
    rest = [p for p in group["params"] if p.ndim <= 1]
    parts = (
        {**group, "params": matrices, "weight_decay": decay},
        {**group, "params": rest, "weight_decay": 0.0},
    )
    return [part for part in parts if part["params"]]


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


def state_tensors(steppers: Sequence[Stepper]) -> dict[str, torch.Tensor]:
    """Copies of every stepper's state, named by stepper, weight and kind."""
    return {
        f"{number}.{index}.{name}": value.clone()
        for number, stepper in enumerate(steppers)
        for index, weight in enumerate(stepper.weights())
        for name, value in stepper.state.get(weight, {}).items()
    }


def restore_state(
    steppers: Sequence[Stepper], tensors: Mapping[str, torch.Tensor], like: Like
) -> None:
    """Puts back what `state_tensors` took, each tensor in the form that `like` gives it for its
    weight."""
    for number, stepper in enumerate(steppers):
        stepper.state.clear()
        for index, weight in enumerate(stepper.weights()):
            prefix = f"{number}.{index}."
            found = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
            if found and found.keys() != stepper.fresh(weight).keys():
                raise RunError(
                    "another version of shoestring began this fit, whose optimizer kept other "
                    "numbers; begin it anew"
                )
            if found:
                stepper.state[weight] = {n: like(t, weight) for n, t in found.items()}


def _gradient(weight: torch.Tensor) -> torch.Tensor:
    assert weight.grad is not None
    return weight.grad
