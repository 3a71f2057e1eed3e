"""quantize: ships weights of a few bits where that is smaller or faster and loses little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary

from shoestring import plugins
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import BundleError, Skipped, UserError
from shoestring.core.protocols import Network, State, Task
from shoestring.core.quantity import plain_quality
from shoestring.core.quantizing import BITS, CALIBRATION, KEPT, LAYERS, METHOD, levels
from shoestring.core.run import Run
from shoestring.core.techniques import Finisher, Hook

if TYPE_CHECKING:
    import torch

    from shoestring.engine.shrink.candidates import Candidate, Weighing

Calibration = Literal["minmax", "percentile", "mse", "entropy"]
WEIGHTS = "weights"  # a method of networks that can keep what they compute with in floats
FASTER = 1.05  # by how much it has to be the faster, where speed was asked for
TIMING_SECONDS = 1.0  # to time two graphs beside each other
# Shares of the largest weight that the last of few levels may stand for.
SHARES = (1.0, *(round(0.95 - 0.05 * n, 2) for n in range(15)))
# The float weights of models in a fit, while their rounded ones are in their place.
_WHOLE: WeakKeyDictionary[torch.nn.Module, dict[str, torch.Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Quantize(Finisher, Hook):
    """Makes the bundle of int8 weights, one step for each output channel, and keeps the float one
    where int8 is not smaller and faster here (want=size or speed: one of them alone), or loses
    more than `points`. Weights in the run stay float32.

    method=static: feature maps are bytes too, in steps of ranges that were measured on training
    examples; the calibrations are compared on a third of validation, and the gain is measured on
    the rest. dynamic: ranges are looked up in each call. qat: the fit goes on with weights and
    feature maps rounded as they will ship. auto: static for pictures, dynamic for translators.
    Where too much is lost, layers that hurt most stay float32 (mixed). With want=size alone, or
    with bits=4 or 2, weights alone are rounded: the smallest file, no faster; these want qat.

    Helps most where matrices are large: then a quarter of the bytes and two to four times the
    speed. Tiny networks come out smaller but slower. Costs seconds; qat a short fit.

    Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference"; Migacz 2017 (entropy); Nagel et al. 2021, "A white paper on
    neural network quantization" (mse, sensitivity).
    """

    chooses = True

    method: Literal["auto", "static", "dynamic", "qat"] = field(
        default="auto", metadata={"help": "how ranges of feature maps are found; qat: with a fit"}
    )
    want: Literal["both", "size", "speed"] = field(
        default="both", metadata={"help": "what must have got better, or the bundle stays"}
    )
    bits: int = field(default=8, metadata={"help": "of a weight: 8, 4 or 2"})
    activations: Literal["auto", "uint8", "float32"] = field(
        default="auto", metadata={"help": "feature maps; auto: float32 for want=size and few bits"}
    )
    calibration: Literal["auto", "minmax", "percentile", "mse", "entropy"] = field(
        default="auto", metadata={"help": "what becomes of the ends of ranges; auto: compared"}
    )
    examples: int = field(
        default=256, metadata={"help": "training examples that ranges are measured on"}
    )
    points: float = field(
        default=0.5, metadata={"help": "of quality, of 100, that may be lost on validation"}
    )
    mixed: bool = field(default=True, metadata={"help": "layers that hurt may stay float32"})
    epochs: float = field(default=2.0, metadata={"help": "of the fit of method=qat"})
    rate: float = field(
        default=0.2, metadata={"help": "factor on the run's learning rate for that fit"}
    )

    def __post_init__(self) -> None:
        if self.bits not in (8, 4, 2):
            raise ValueError(f"bits is 8, 4 or 2, not {self.bits}")
        if self.bits != 8 and self.activations == "uint8":
            raise ValueError(f"weights of {self.bits} bits go with activations=float32")
        if self.examples < 1:
            raise ValueError(f"examples is a number from 1, not {self.examples}")
        if not self.points >= 0 or not 0 < self.epochs < inf or not 0 < self.rate < inf:
            raise ValueError(
                f"points is from 0, epochs and rate are above 0; not {self.points}, {self.epochs} "
                f"and {self.rate}"
            )

    @property
    def portion(self) -> float:  # type: ignore[override]  # a class attribute there
        return 0.5 if self.method == "qat" else 0.1

    def apply(self, run: Run, budget: Budget) -> Run:
        from shoestring.engine import apply, derive
        from shoestring.engine.shrink import candidates

        model, dataset = derive.model_of(run), derive.dataset_of(run)
        weighing = candidates.Weighing(run, model, dataset)
        wanted = self._wanted(weighing.network)
        before = weighing.made(run.quantization)
        child, cost = run, None
        if self.method == "qat":
            child, model, cost = self._trained(run, model, budget)
            weighing = candidates.Weighing(child, model, dataset)
        try:
            found, said = self._calibrated(weighing, wanted)
            found, mixed = self._within(weighing, before, found, budget)
        except BundleError as error:
            raise Skipped(f"{run.path} ships as it was: {error}") from error
        told = self._judged(before, found, [said, mixed])
        if child is run:
            child = derive.child(run, "quantize")
        child = apply.noted(replace(child, quantization=found.quantization), "settle", reason=told)
        return derive.sealed(child, model.state_dict(), budget, cost)

    # --- which ---

    def _rounds_activations(self) -> bool:
        """Whether feature maps become bytes, where the network offers the choice."""
        if self.activations != "auto":
            return self.activations == "uint8"
        return self.bits == 8 and self.want != "size"

    def ready(self, task: Task) -> None:
        refused: list[UserError] = []
        for kind in task.networks:
            try:
                self._wanted(task.network(kind))
                return
            except UserError as error:
                refused.append(error)
        raise refused[0]

    def _wanted(self, network: Network) -> dict[str, Any]:
        """What is asked of the network; UserError where it does not know it."""
        known = network.quantizations
        method = known[0] if self.method in ("auto", "qat") else self.method
        if not self._rounds_activations() and WEIGHTS in known:
            method = WEIGHTS
        if self.bits < 8 and WEIGHTS not in known:
            raise UserError(
                f"weights of a network {network.kind} ship in 8 bits or as floats, not in "
                f"{self.bits} bits"
            )
        if method not in known:
            raise UserError(
                f"a network {network.kind} is not quantized by method={method}; take auto, qat, "
                f"{', '.join(name for name in known if name != WEIGHTS)}"
            )
        return {METHOD: method} if self.bits == 8 else {METHOD: method, BITS: self.bits}

    def _calibrated(self, weighing: Weighing, wanted: dict[str, Any]) -> tuple[Candidate, str]:
        """The best of the calibrations that were asked for, and how they came out."""
        if wanted[METHOD] != "static":
            return weighing.made(weighing.calibrated(wanted, self.examples)), ""
        names = get_args(Calibration) if self.calibration == "auto" else (self.calibration,)
        tried = {
            name: weighing.made(weighing.calibrated({**wanted, CALIBRATION: name}, self.examples))
            for name in names
        }
        best = min(names, key=lambda name: tried[name].rank)
        told = [f"{name} {_quality(tried[name])}" for name in names]
        return tried[best], f"calibrated by {best} ({', '.join(told)})"

    def _within(
        self, weighing: Weighing, before: Candidate, found: Candidate, budget: Budget
    ) -> tuple[Candidate, str]:
        """The candidate, or with layers that hurt in float32 where it loses too much."""
        layers = list(found.quantization.get(LAYERS, ()))
        if self._lost(weighing, before, found) <= 0:
            return found, ""
        if self.mixed and len(layers) > 1:
            helped: dict[str, tuple[float, float]] = {}
            for name in layers:
                helped[name] = weighing.made({**found.quantization, KEPT: [name]}).rank
                if budget.remaining() < (budget.seconds or 0.0) / 4:
                    break
            kept: list[str] = []
            for name in sorted(helped, key=lambda name: helped[name])[: len(layers) - 1]:
                kept.append(name)
                tried = weighing.made({**found.quantization, KEPT: sorted(kept, key=_place)})
                if self._lost(weighing, before, tried) <= 0:
                    return tried, f"layers {', '.join(sorted(kept, key=_place))} stay float32"
        raise Skipped(
            f"with {_named(found)} it loses too much on {len(weighing.deciding)} deciding "
            f"examples: {_quality(found)} instead of {_quality(before)}, where {self.points:g} "
            "points were allowed; it ships as it was"
        )

    def _lost(self, weighing: Weighing, before: Candidate, found: Candidate) -> float:
        """By how much more than allowed; of few examples one more may always be wrong."""
        perfect = weighing.task.perfect
        allowed = max(self.points / 100, 1.01 / len(weighing.deciding)) * perfect
        return before.quality - found.quality - allowed

    def _judged(self, before: Candidate, found: Candidate, said: list[str]) -> str:
        """Why it ships; Skipped where what was wanted did not come."""
        from shoestring.engine.shrink import candidates

        faster = candidates.speed(before, found, TIMING_SECONDS)
        smaller = before.size_bytes / found.size_bytes
        told = (
            f"{_named(found)} takes {found.size_bytes:,} bytes instead of {before.size_bytes:,} "
            f"and is {faster:.2f} times as fast on one thread, at {_quality(found)} instead of "
            f"{_quality(before)} on deciding examples"
        )
        same = before.quantization.get(BITS, 8) == found.quantization.get(BITS, 8)
        if self.method == "qat" and before.quantization and same:
            # Rounded before as well: what the fit can make better is its quality.
            if found.rank >= before.rank:
                raise Skipped(f"{told}: it is no better, so that it ships as it was")
            return "; ".join(part for part in (told, *said) if part)
        missing = [
            word
            for word, asked, came in (
                ("smaller", self.want != "speed", smaller > 1),
                ("faster", self.want != "size", faster >= FASTER),
            )
            if asked and not came
        ]
        if missing:
            words = " and ".join(missing)
            raise Skipped(f"{told}: it is not {words} here, so that it ships as it was")
        return "; ".join(part for part in (told, *said) if part)

    # --- the fit of method=qat ---

    def _trained(
        self, run: Run, model: torch.nn.Module, budget: Budget
    ) -> tuple[Run, torch.nn.Module, Cost]:
        from shoestring.engine import derive

        changes: dict[str, Any] = {"hooks": (*run.recipe.hooks, plugins.words(self))}
        usual = run.own_recipe.learning_rate
        if usual is not None:
            changes["learning_rate"] = usual * self.rate
        child = derive.child(run, "quantize")
        child, weights, cost = derive.tuned(
            child, model.state_dict(), budget, self.epochs, **changes
        )
        model.load_state_dict({name: tensor.detach().cpu() for name, tensor in weights.items()})
        return child, model.eval(), cost

    def prepare(self, model: torch.nn.Module, network: Network) -> torch.nn.Module:
        """In a fit of method=qat what convolutions and matrices read is rounded as a byte would
        be, over the range of the batch."""
        from torch import nn

        if self.method == "qat" and self._rounds_activations():
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.register_forward_pre_hook(_rounded_input)
        return model

    def begin_step(self, model: torch.nn.Module, network: Network, progress: float) -> None:
        """Puts rounded weights in place: gradients are taken there and go to the whole ones
        (the straight-through estimator of Bengio et al. 2013)."""
        if self.method != "qat":
            return
        weights = _matrices(model)
        _WHOLE[model] = {name: weight.detach().clone() for name, weight in weights.items()}
        for weight in weights.values():
            weight.data.copy_(on_levels(weight, self.bits))

    def before_step(self, model: torch.nn.Module) -> None:
        whole = _WHOLE.pop(model, {})
        for name, weight in _matrices(model).items() if whole else ():
            weight.data.copy_(whole[name])

    def evaluation_weights(
        self, model: torch.nn.Module, state: State
    ) -> Mapping[str, torch.Tensor] | None:
        """The rounded ones, which are what ships: they lie on their levels and stay there."""
        if self.method != "qat":
            return None
        return {name: on_levels(weight, self.bits) for name, weight in _matrices(model).items()}


def on_levels(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """A weight (O, ...) rounded to whole steps, symmetric about zero, one step for each of the
    first axis: of 8 bits the last level is the largest weight, of fewer it is where the squared
    error is least. What lies on its levels stays."""
    import torch

    last = levels(bits)
    rows_OI = weight.detach().flatten(1)
    largest_O1 = rows_OI.abs().amax(1, keepdim=True)
    largest_O1 = torch.where(largest_O1 > 0, largest_O1, torch.ones_like(largest_O1))
    step_O1 = largest_O1 / last
    if bits < 8:
        shares_S11 = torch.tensor(SHARES, device=weight.device)[:, None, None]
        steps_SO1 = step_O1 * shares_S11
        whole_SOI = (rows_OI / steps_SO1).round_().clamp_(-last, last)
        error_SO = (whole_SOI.mul_(steps_SO1).sub_(rows_OI)).square_().sum(2)
        step_O1 = steps_SO1.squeeze(2).gather(0, error_SO.argmin(0, keepdim=True)).T
    found: torch.Tensor = (rows_OI / step_O1).round_().clamp_(-last, last).mul_(step_O1)
    return found.view_as(weight)


def _matrices(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of convolutions, matrices and tables, by state-dict name; shared ones by each."""
    import torch

    return {
        name: weight
        for name, weight in model.state_dict(keep_vars=True).items()
        if isinstance(weight, torch.nn.Parameter) and weight.ndim >= 2
    }


def _rounded_input(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    value, *others = inputs
    with_grad = value.detach()
    low, high = with_grad.amin().clamp(max=0.0), with_grad.amax().clamp(min=0.0)
    step = ((high - low) / 255).clamp(min=1e-12)
    rounded = ((with_grad / step).round() * step).to(value.dtype)
    return (value + (rounded - with_grad), *others)


def _place(layer: str) -> list[int]:
    """What layers are sorted by: their number, behind that of the member whose layer it is."""
    return [int(part) for part in layer.split(".")]


def _named(candidate: Candidate) -> str:
    bits = candidate.quantization.get(BITS, 8)
    return f"int{bits}" if candidate.quantization.get(METHOD) != WEIGHTS else f"int{bits} weights"


def _quality(candidate: Candidate) -> str:
    scores = candidate.scores
    found = f"{scores.metric} {plain_quality(candidate.quality, scores.metric)}"
    return found if scores.loss is None else f"{found}, loss {scores.loss:.4f}"


TECHNIQUE = Quantize
