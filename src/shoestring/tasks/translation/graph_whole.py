"""graph_whole: writes the greedy translation of one sentence as one graph, its steps in a Loop.

A step of a small network is some tens of microseconds of arithmetic; to call the runtime, hand it
the states and take them back costs as much again. `whole.onnx` is called once for a sentence. It
reads what the encoder reads, and `limit`, the most pieces; it gives `found` (T, 1, 1), what greedy
search finds, the end included. The body of its Loop has the nodes of the greedy decoder but those
that go by rows: one sentence is one row.

Shapes: T target pieces, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoestring.tasks.translation.graph import BOOL, FLOAT, INT64, RUNTIME_DOMAIN, Array, Writer
from shoestring.tasks.translation.graph_weights import Weights
from shoestring.tasks.translation.special import BOS, EOS
from shoestring.tasks.translation.steps import GREEDY, TARGET

_STEP, _GOES, _GOES_ON = "step", "goes", "goes.on"  # as an ONNX Loop has them


def write(model: Any, writes: Any, weights: Weights, int8: bool) -> Writer:
    """The graph of a translator. `writes` is the module with its `encoder` and `decoder`."""
    whole = _Whole(weights, int8)
    limit = whole.input("limit", INT64, [])
    writes.encoder(model, whole)
    body = _Body(whole)
    logits, _ = writes.decoder(model, body)
    body.answer(GREEDY, logits, "", model.output.out_features)
    body.node("Cast", body.node("Add", "best", body.whole(-EOS)), to=BOOL, output=_GOES_ON)
    body.output(_GOES_ON, BOOL, [1, 1])
    body.node("Reshape", "best", body.whole(-1), output="next.pieces")
    body.output("next.pieces", INT64, [1])
    carried = list(body.states)
    after = [f"next.{name.removeprefix('state.')}" for name in carried]
    inside = body.to_graph(
        [_STEP, _GOES, *(body.before(name) for name in carried)], [_GOES_ON, *after, "best"]
    )
    begin = [limit, whole.constant(np.array(True)), *map(body.first, carried)]
    ends = [*(f"last.{name}" for name in carried), "found"]
    whole.several("Loop", *begin, outputs=ends, body=inside)
    whole.found("found")
    return whole


class _Lean(Writer):
    """Writes a sum and its normalization as one node, which gives both."""

    def __init__(self, weights: Weights, int8: bool) -> None:
        super().__init__(weights, int8)
        self._sums: dict[str, tuple[str, str]] = {}  # that nobody has made yet

    def residual(self, value_RH: str, more_RH: str) -> str:
        found = self.fresh()
        self._sums[found] = value_RH, more_RH
        return found

    def normed(self, value_RH: str, weight_H: Array, bias_H: Array, epsilon: float) -> str:
        if value_RH not in self._sums:
            return super().normed(value_RH, weight_H, bias_H, epsilon)
        inputs = [*self._sums.pop(value_RH), self.constant(weight_H), self.constant(bias_H)]
        outputs = [self.fresh(), "", "", value_RH]
        domain = RUNTIME_DOMAIN
        return self.several(
            "SkipLayerNormalization", *inputs, outputs=outputs, epsilon=epsilon, domain=domain
        )[0]


class _Whole(_Lean):
    """The graph around the Loop: what the encoder gives goes no further than that."""

    def __init__(self, weights: Weights, int8: bool) -> None:
        super().__init__(weights, int8)
        self.encoded: set[str] = set()

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        return name if name in self.inputs else super().input(name, kind, shape)

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        self.encoded.add(name)
        return name

    def found(self, name: str) -> None:
        super().output(name, INT64, ["t", 1, 1])


class _Body(_Lean):
    """The graph inside the Loop. What does not change from step to step it reads from around it."""

    def __init__(self, around: _Whole) -> None:
        super().__init__(around.weights, around.int8)
        self._names = around._names  # no name may stand in both
        self._around = around
        self.states: dict[str, tuple[int, Sequence[int | str]]] = {}
        super().input(_STEP, INT64, [])
        super().input(_GOES, BOOL, [])

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        first, _, _ = name.partition(".")
        if first in ("pieces", "state"):
            self.states[name] = kind, shape
            return super().input(self.before(name), kind, shape)
        if first == "positions":
            table = self._around.input(f"{TARGET}{name}", FLOAT, ["t", shape[-1]])
            return self.node("Gather", table, self.node("Unsqueeze", _STEP, self.whole(0)))
        if first in ("table", "gates"):
            return self._around.input(f"{TARGET}{name}", kind, shape)
        return name

    @staticmethod
    def before(name: str) -> str:
        return f"before.{name}"

    def first(self, name: str) -> str:
        """What a state is at the first step: one of pieces so far, of which there are none, where
        the encoder does not give it."""
        if name == "pieces":
            return self.constant(np.array([BOS]))
        if name in self._around.encoded:
            return name
        _, (_, *shape) = self.states[name]
        return self.constant(
            np.zeros([1, *(n if isinstance(n, int) else 0 for n in shape)], np.float32)
        )

    def rows(self, value: str, places: str) -> str:
        return value

    def gridded(self, value: str, grid: str) -> str:
        return self.node("Unsqueeze", value, self.whole(0))
