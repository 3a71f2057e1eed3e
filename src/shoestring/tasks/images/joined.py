"""joined: the graphs of several networks for pictures as one, whose answers are one.

What stands in several of them, the cast of the pixels and equal constants, stands there once.
Shapes: n pictures, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core import voting
from shoestring.core.errors import MissingExtra, UserError

_FLOAT = 1  # as ONNX numbers it


def joined(graphs: Sequence[bytes], weights: Sequence[float], vote: str) -> bytes:
    """The bytes of a model.onnx of these; UserError where they read other pixels."""
    graph = _Graph()
    answers = [graph.member(data) for data in graphs]
    graph.vote(answers, weights, vote)
    return graph.to_bytes()


class _Graph:
    """Collects the nodes of the members, equal ones once, under names of its own."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "train", "exporting a network") from error
        self._onnx = onnx
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[tuple[Any, ...], list[str]] = {}  # outputs by what a node does to what
        self._constants: dict[bytes, Any] = {}
        self._names = _names()
        self._first: Any = None  # of the members, whose ends and versions it has
        self._opsets: dict[str, int] = {}
        self._ir_version = 0
        self._notes: set[str] = set()

    def member(self, data: bytes) -> str:
        """Adds a member; the name of its probabilities."""
        model = self._onnx.ModelProto.FromString(data)
        if self._first is None:
            self._first = model
        ends = [[*m.graph.input, *m.graph.output] for m in (self._first, model)]
        if ends[0] != ends[1]:
            raise UserError("the members of an ensemble read pictures of different sizes")
        for opset in model.opset_import:
            self._opsets[opset.domain] = max(self._opsets.get(opset.domain, 0), opset.version)
        self._ir_version = max(self._ir_version, model.ir_version)
        self._notes |= {model.doc_string} - {""}
        names: dict[str, str] = {"": "", model.graph.input[0].name: self._first.graph.input[0].name}
        for tensor in model.graph.initializer:
            names[tensor.name] = self._shared(tensor)
        for node in model.graph.node:
            inputs = [names[name] for name in node.input]
            outputs = self._node(node, inputs)
            names |= dict(zip(node.output, outputs, strict=True))
        return names[model.graph.output[0].name]

    def _shared(self, tensor: Any) -> str:
        copy: Any = self._onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.ClearField("name")
        key: bytes = copy.SerializeToString(deterministic=True)
        if key not in self._constants:
            copy.name = next(self._names)
            self._constants[key] = copy
        name: str = self._constants[key].name
        return name

    def _node(self, node: Any, inputs: list[str]) -> list[str]:
        options = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        key = (node.domain, node.op_type, *inputs, *options)
        if key not in self._made:
            outputs = [next(self._names) if name else "" for name in node.output]
            copy = self._onnx.NodeProto()
            copy.CopyFrom(node)
            del copy.input[:], copy.output[:]
            copy.input.extend(inputs)
            copy.output.extend(outputs)
            copy.ClearField("name")
            self._nodes.append(copy)
            self._made[key] = outputs
        return self._made[key]

    def node(self, operator: str, *inputs: str, option: tuple[str, int] | None = None) -> str:
        node = self._onnx.helper.make_node(operator, [], ["value"])
        if option is not None:
            node.attribute.append(self._onnx.helper.make_attribute(*option))
        return self._node(node, list(inputs))[0]

    def constant(self, values: NDArray[Any]) -> str:
        return self._shared(self._onnx.numpy_helper.from_array(values))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def vote(self, answers: Sequence[str], weights: Sequence[float], vote: str) -> None:
        """Brings (n, K) probabilities of each member together, as `voting.pooled` does."""
        total = self._sum(answers, weights)
        if vote == "hard":
            labels = self._first.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
            numbers = self.constant(np.arange(labels))
            best = [self.node("ArgMax", answer, option=("axis", 1)) for answer in answers]
            votes = [self.node("Equal", one, numbers) for one in best]
            votes = [self.node("Cast", one, option=("to", _FLOAT)) for one in votes]
            whole = [(1 - voting.TIE) * weight for weight in weights]
            total = self.node("Mul", total, self.number(voting.TIE))
            total = self.node("Add", self._sum(votes, whole), total)
        last = self._first.graph.output[0].name
        for node in self._nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == total:
                        names[place] = last

    def _sum(self, values: Sequence[str], weights: Sequence[float]) -> str:
        """The weighted sum; weights that are all the same are taken once, at the end."""
        same = len(set(weights)) == 1
        total = ""
        for value, weight in zip(values, weights, strict=True):
            part = value if same else self.node("Mul", value, self.number(weight))
            total = self.node("Add", total, part) if total else part
        return self.node("Mul", total, self.number(weights[0])) if same else total

    def to_bytes(self) -> bytes:
        helper, first = self._onnx.helper, self._first
        graph = helper.make_graph(
            self._nodes,
            "g",
            list(first.graph.input),
            list(first.graph.output),
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid(domain, n) for domain, n in sorted(self._opsets.items())]
        notes = {"doc_string": "; ".join(sorted(self._notes))} if self._notes else {}
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self._ir_version, **notes)
        return bytes(model.SerializeToString(deterministic=True))


def _names() -> Any:
    """a, b, ... z, A, ... Z, then a0, a1, ..."""
    for number in count():
        for letter in ascii_letters:
            yield letter + (f"{number - 1}" if number else "")
