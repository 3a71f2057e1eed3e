"""graph_ensemble: writes several translators as one: encoders side by side, steps side by side.

A member's memories, states and tables have its number in their names (`state.0.hidden`); pieces,
parents and the grid are the same for all. Nothing else of a member's graphs changes.

Shapes: R rows, S source pieces, V pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.core import voting
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.translation import graph
from shoestring.tasks.translation.ensemble import EnsembleTranslator
from shoestring.tasks.translation.graph import Writer, floats
from shoestring.tasks.translation.graph_weights import Weights
from shoestring.tasks.translation.quantize import integers
from shoestring.tasks.translation.steps import DECODER, ENCODER, FORCED, GREEDY, TABLE

OWN = ("memory", "state", "next", "table", "gates")  # names that begin so are a member's own


def to_onnx(model: EnsembleTranslator, run: Run) -> Mapping[str, bytes]:
    """The files of a bundle. The tokenizer is the one in the run's folder."""
    return {**graphs(model, run.quantization), graph.TOKENIZER: graph.tokenizer_of(run)}


def graphs(model: EnsembleTranslator, quantization: Plain) -> dict[str, bytes]:
    """The graphs and weights.bin."""
    weights = Weights()
    members = list(_members(model, quantization, 1.0, ""))
    int8 = any(member.int8 for member in members)
    found = {name: Writer(weights, int8) for name in (ENCODER, DECODER, GREEDY, FORCED)}
    for member in members:
        member.encoder(found[ENCODER])
    for name in (DECODER, GREEDY, FORCED):
        found[name].answer(name, *_together(found[name], members), model.output.out_features)
    if int8:
        found[TABLE], target = Writer(weights, int8), Writer(weights, int8)
        for member in members:
            if member.int8:
                member.tables(found[TABLE], target)
        if not all(member.model.tied for member in members if member.int8):
            found[f"target.{TABLE}"] = target
    return {name: one.to_bytes() for name, one in found.items()} | {
        graph.WEIGHTS: weights.to_bytes()
    }


class Member:
    """A translator inside an ensemble, and its share."""

    def __init__(self, model: Any, int8: bool, weight: float, name: str) -> None:
        from shoestring.tasks.translation import graph_lstm, graph_transformer
        from shoestring.tasks.translation.lstm import LstmTranslator

        self.model, self.int8, self.weight, self.name = model, int8, weight, name
        self._writes: Any = graph_lstm if isinstance(model, LstmTranslator) else graph_transformer

    def encoder(self, whole: Writer) -> None:
        self._writes.encoder(self.model, MemberWriter(whole, self))

    def decoder(self, whole: Writer) -> tuple[str, str]:
        """The names of (R, V) logits and (R, S) attention."""
        logits, attention = self._writes.decoder(self.model, MemberWriter(whole, self))
        return str(logits), str(attention)

    def tables(self, source: Writer, target: Writer) -> None:
        """What it looks pieces up in, in int8."""
        own = MemberWriter(source, self)
        own.table(floats(self.model.embedding.weight))
        last = own if self.model.tied else MemberWriter(target, self)
        self._writes.target_tables(self.model, last)


def _members(
    model: EnsembleTranslator, quantization: Plain, share: float, begin: str
) -> Sequence[Member]:
    """All of them, with those of ensembles in it."""
    own = voting.quantizations(quantization, len(model.members))
    found: list[Member] = []
    for number, (member, weight, one) in enumerate(
        zip(model.members, model.weights, own, strict=True)
    ):
        name = f"{begin}{number}"
        if isinstance(member, EnsembleTranslator):
            found += _members(member, one, share * weight, f"{name}-")
        else:
            found.append(Member(member, integers(one), share * weight, name))
    return found


def _together(whole: Writer, members: Sequence[Member]) -> tuple[str, str]:
    """The logarithm of the weighted mean of the members' probabilities (R, V), and the mean of
    their attention (R, S)."""
    shares = seen = ""
    for member in members:
        logits, attention = member.decoder(whole)
        weight = whole.number(member.weight)
        part = whole.node("Mul", whole.node("Softmax", logits, axis=1), weight)
        shares = whole.node("Add", shares, part) if shares else part
        part = whole.node("Mul", attention, weight)
        seen = whole.node("Add", seen, part) if seen else part
    return whole.node("Log", whole.node("Clip", shares, whole.number(voting.FLOOR))), seen


class MemberWriter(Writer):
    """Writes a member's nodes into the graph of all."""

    def __init__(self, whole: Writer, member: Member) -> None:
        super().__init__(whole.weights, member.int8)
        self._names = whole._names
        self._whole, self._member, self._given = whole, member.name, set[str]()

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        name = f"positions.{shape[1]}" if name == "positions" else self._named(name)
        if all(known.name != name for known in self._whole._inputs):
            self._whole.input(name, kind, shape)
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        return self._whole.output(self._named(name), kind, shape)

    def several(
        self, operator: str, *inputs: str, outputs: int | list[str], **options: Any
    ) -> list[str]:
        if isinstance(outputs, list):
            outputs = [self._named(name) for name in outputs]
        return self._whole.several(operator, *inputs, outputs=outputs, **options)

    def _named(self, name: str) -> str:
        """The member's own name of what it gives or reads; what all share keeps its name, as does
        what was named here before."""
        first, _, rest = name.partition(".")
        if first in OWN and name not in self._given:
            name = ".".join(filter(None, (first, self._member, rest)))
            self._given.add(name)
        return name
