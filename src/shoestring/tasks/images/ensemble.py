"""ensemble: several networks for pictures that answer as one.

Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from shoestring.core import voting
from shoestring.core.protocols import Examples, Network, Predictor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.images import joined
from shoestring.tasks.images.agreement import agreement, lead_of
from shoestring.tasks.images.model import ImageNetwork
from shoestring.tasks.images.predict import GRAPH


class ImageEnsemble(nn.Module):
    """Floats (B, C, H, W) to (B, K) logarithms of what the members' probabilities come to."""

    def __init__(self, architecture: Plain, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kinds = [str(one["kind"]) for one in architecture[voting.MEMBERS]]
        self.weights: list[float] = list(architecture["weights"])
        self.vote: str = architecture["vote"]

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        shares_BK = [member(x_BCHW).float().softmax(1) for member in self.members]
        return voting.pooled(shares_BK, self.weights, self.vote)

    @property
    def turns(self) -> bool:
        """Whether a member's answer counts as a vote, so that probabilities can jump."""
        inner = [member for member in self.members if isinstance(member, ImageEnsemble)]
        return self.vote == "hard" or any(member.turns for member in inner)

    def leads(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """(B,) the smallest lead of an answer that counts: this one, and those that vote."""
        found = [lead_of(self(x_BCHW).exp())]
        for member in self.members:
            if isinstance(member, ImageEnsemble):
                found.append(member.leads(x_BCHW))
            elif self.vote == "hard":
                found.append(lead_of(member(x_BCHW).softmax(1)))
        return torch.stack(found).amin(0)


class EnsembleNetwork(voting.JoinedNetwork):
    """Members of any kinds, ensembles among them."""

    settles = False
    quantizations: tuple[str, ...] = ImageNetwork.quantizations

    def member(self, kind: str) -> Network:
        return cast(Network, self if kind == voting.KIND else ImageNetwork(kind))

    def build(self, architecture: Plain) -> nn.Module:
        members = [self.member(one["kind"]).build(one) for one in architecture[voting.MEMBERS]]
        return ImageEnsemble(architecture, members)

    def logits(
        self, model: nn.Module, inputs: Any, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return model(inputs), targets

    def settled(
        self,
        run: Run,
        examples: Examples,
        opened: Callable[[Run], tuple[Mapping[str, bytes], Predictor]],
        seconds: float,
        grading: float,
    ) -> tuple[Run, str]:
        """Nothing, as for its members."""
        return run, ""

    def graphs(self, model: nn.Module, run: Run) -> Mapping[str, bytes]:
        """The members' own graphs, each as it is quantized, in one."""
        assert isinstance(model, ImageEnsemble)
        own = voting.quantizations(run.quantization, len(model.members))
        graphs = [
            network.graphs(member, replace(run, quantization=own[number]))[GRAPH]
            for number, network, member in self.members(model)
        ]
        return {GRAPH: joined.joined(graphs, model.weights, model.vote)}

    def agreement(self, model: nn.Module, predictor: Predictor, examples: Examples) -> str:
        assert isinstance(model, ImageEnsemble)
        leads = model.leads if model.turns else None
        return agreement(model, predictor, examples, leads)
