"""ensemble: several translators that choose each piece together.

At each step the probabilities of the next piece are averaged; the members' memories and states
stand side by side. Shapes: B sentences, S source positions, T target positions, R rows of a
search, V pieces, N target pieces without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from shoestring.core import voting
from shoestring.core.errors import UserError
from shoestring.core.protocols import Examples, Network, Predictor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.translation.feed import Pairs
from shoestring.tasks.translation.model import TranslationNetwork

State = dict[str, torch.Tensor]  # every tensor has the rows of the search first


class EnsembleTranslator(nn.Module):
    """Offers what each of its members offers."""

    def __init__(self, architecture: Plain, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kinds = [str(one["kind"]) for one in architecture[voting.MEMBERS]]
        self.weights: list[float] = list(architecture["weights"])

    @property
    def output(self) -> nn.Linear:
        """A member's last layer: they all choose from the same pieces."""
        return cast(nn.Linear, cast(Any, self.members[0]).output)

    def forward(
        self,
        source_BS: torch.Tensor,
        lengths_B: torch.Tensor,
        target_in_BT: torch.Tensor,
        rows_N: torch.Tensor,
    ) -> torch.Tensor:
        """(N, V) log-probabilities of the target positions `rows_N`."""
        inputs = source_BS, lengths_B, target_in_BT, rows_N
        return self._pooled([member(*inputs) for member in self.members])

    def encode(self, source_BS: torch.Tensor, lengths_B: torch.Tensor) -> tuple[Any, ...]:
        """Each member's memory."""
        members: Any = self.members
        return tuple(member.encode(source_BS, lengths_B) for member in members)

    def start(self, memories: tuple[Any, ...]) -> State:
        """The members' states, each name behind the member's number."""
        members: Any = self.members
        return {
            f"{number}.{name}": tensor
            for number, (member, memory) in enumerate(zip(members, memories, strict=True))
            for name, tensor in member.start(memory).items()
        }

    def step(self, state: State, piece_R: torch.Tensor) -> tuple[torch.Tensor, State, torch.Tensor]:
        """(R, V) log-probabilities, the state after the piece, and (R, S) mean attention."""
        members: Any = self.members
        logits_RV, after, attention_RS = [], State(), None
        for number, (member, weight) in enumerate(zip(members, self.weights, strict=True)):
            begin = f"{number}."
            own = {n.removeprefix(begin): t for n, t in state.items() if n.startswith(begin)}
            found_RV, own, seen_RS = member.step(own, piece_R)
            logits_RV.append(found_RV)
            after |= {begin + name: tensor for name, tensor in own.items()}
            seen_RS = seen_RS * weight
            attention_RS = seen_RS if attention_RS is None else attention_RS + seen_RS
        assert attention_RS is not None
        return self._pooled(logits_RV), after, attention_RS

    def _pooled(self, logits: list[torch.Tensor]) -> torch.Tensor:
        shares = [one.float().softmax(1) for one in logits]
        return voting.pooled(shares, self.weights, "soft")


class EnsembleNetwork(voting.JoinedNetwork):
    """Members of any kinds over one vocabulary, ensembles among them."""

    settles = True
    quantizations: tuple[str, ...] = TranslationNetwork.quantizations

    def member(self, kind: str) -> Network:
        return cast(Network, self if kind == voting.KIND else TranslationNetwork(kind))

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        found = super().architecture(options, facts)
        if found["vote"] != "soft":
            raise UserError(
                "translators choose the next piece together by the mean of their probabilities: "
                "vote = soft, weighted or greedy, not hard"
            )
        return found

    def build(self, architecture: Plain) -> nn.Module:
        members = [self.member(one["kind"]).build(one) for one in architecture[voting.MEMBERS]]
        return EnsembleTranslator(architecture, members)

    def logits(
        self, model: nn.Module, inputs: Pairs, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return TranslationNetwork(self.kind).logits(model, inputs, targets)

    def settled(
        self,
        run: Run,
        examples: Examples,
        opened: Callable[[Run], tuple[Mapping[str, bytes], Predictor]],
        seconds: float,
        grading: float,
    ) -> tuple[Run, str]:
        return TranslationNetwork(self.kind).settled(run, examples, opened, seconds, grading)

    def graphs(self, model: nn.Module, run: Run) -> Mapping[str, bytes]:
        from shoestring.tasks.translation.graph_ensemble import to_onnx

        assert isinstance(model, EnsembleTranslator)
        return to_onnx(model, run)

    def agreement(self, model: nn.Module, predictor: Predictor, examples: Examples) -> str:
        return TranslationNetwork(self.kind).agreement(model, predictor, examples)
