"""remarks: what a fit that has ended leaves to be said: seconds that stopping early saved, and
weights that are exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shoestring.core.budget import Cost
from shoestring.core.listener import Listener
from shoestring.core.receipt import Finding, Receipt
from shoestring.core.run import PlanChange, Run
from shoestring.data.names import counted
from shoestring.engine.apply import noted

if TYPE_CHECKING:
    import torch

STOPPED = "should_stop"  # the reason of the plan's line where a technique ended the fit
ENDED, ZERO_LAYER = "stopped early", "zero layer"  # a line of the receipt, a kind of finding
FEWEST_ZEROS = 0.01  # share of all weights below which zeros are not worth a line


def fit_cost(cost: Cost, lines: Sequence[Receipt]) -> Cost:
    """The cost of a fit without what was found before it, which has lines of its own."""
    for line in lines:
        spent = line.cost
        cost -= Cost(wall_seconds=spent.wall_seconds, cpu_seconds=spent.cpu_seconds)
    return cost


def remarked(run: Run, weights: Mapping[str, torch.Tensor], cost: Cost, listener: Listener) -> Run:
    """The run with a line for each thing that is to be said of its fit."""
    saved = stopped_early(run.recipe.plan, cost)
    if saved:
        listener.say(saved)
        run = noted(run, ENDED, reason=saved)
    zeros = Zeros.of(weights)
    if zeros.share >= FEWEST_ZEROS:
        listener.say(zeros.sentence)
        run = noted(run, "zeros", reason=zeros.sentence, options={"share": zeros.share})
    if zeros.layers:
        finding = Finding(
            ZERO_LAYER,
            len(zeros.layers),
            f"{counted(len(zeros.layers), 'layer')} of the network came to hold nothing but "
            f"zeros and pass nothing on: {', '.join(zeros.layers)}; penalize less (a smaller l1)",
            zeros.layers,
        )
        listener.say(finding.message)
        run = replace(run, findings=(*run.findings, finding))
    return run


def stopped_early(plan: Sequence[PlanChange], cost: Cost) -> str:
    """What ending a fit early saved, net of the steps of its cool-down; nothing where it went on
    to its end."""
    stop = next((i for i, change in enumerate(plan) if change.reason == STOPPED), None)
    if not stop or not cost.steps:
        return ""
    planned, ended = plan[stop - 1].total_steps, plan[-1].total_steps
    seconds = max(0, planned - ended) * cost.wall_seconds / cost.steps
    return (
        f"stopped after {ended} of {planned} steps, {ended - plan[stop].at_step} of them a "
        f"cool-down: about {seconds:.1f} s were saved"
    )


@dataclass(frozen=True)
class Zeros:
    """Exact zeros among the weights of matrices and kernels."""

    count: int
    total: int
    layers: tuple[str, ...]  # names of those that hold nothing else

    @property
    def share(self) -> float:
        return self.count / max(1, self.total)

    @property
    def sentence(self) -> str:
        return f"{self.share:.1%} of {self.total:,} weights are exactly zero"

    @staticmethod
    def of(weights: Mapping[str, torch.Tensor]) -> Zeros:
        count, total, layers = 0, 0, []
        for name, tensor in weights.items():
            if tensor.ndim < 2 or not tensor.is_floating_point():
                continue
            zeros = int((tensor == 0).sum())
            count, total = count + zeros, total + tensor.numel()
            if zeros == tensor.numel():
                layers.append(name)
        return Zeros(count, total, tuple(layers))
