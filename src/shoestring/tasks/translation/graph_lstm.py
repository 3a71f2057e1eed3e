"""graph_lstm: writes the LSTM translator as an encoder graph and a decoder step.

The encoder is the runtime's own LSTM, both directions with true lengths. A decoder step is written
out: one product for all gates, then the cell. All that a decoder layer reads lies between -1 and 1
(states, their means, tanh) or in the embedding, so int8 needs no look at other rows.

Shapes: A sentences, S source pieces, R rows, W rows a sentence, H units of the decoder, D units of
the memory, E embedding, G = 4 H gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.tasks.translation.graph import (
    FLOAT,
    FLOAT16,
    INT32,
    INT64,
    MASKED,
    RUNTIME_DOMAIN,
    UINT8,
    Writer,
    floats,
)
from shoestring.tasks.translation.quantize import LEVELS, UNIT, per_column

if TYPE_CHECKING:
    from torch import nn

    from shoestring.tasks.translation.lstm import Attention, LstmTranslator

Array = NDArray[np.float32]
MOST_TABLED = 1 << 24  # numbers in the table of the first layer's gates, 2 bytes each
_IOFC = (0, 3, 1, 2)  # the runtime's order of gates, of torch's i, f, g, o


# --- encoder --------------------------------------------------------------------------------------


def encoder(model: LstmTranslator, graph: Writer) -> None:
    """Writes the encoder."""
    pieces = graph.input("pieces", INT64, ["a", "s"])
    lengths = graph.input("lengths", INT32, ["a"])
    value_ASE = graph.embedded(pieces, floats(model.embedding.weight))
    value_SAE = graph.node("Transpose", value_ASE, perm=[1, 0, 2])
    ends = ""
    for number, pair in enumerate(
        zip(model.encoder.forwards, model.encoder.backwards, strict=True)
    ):
        scale = 1.0 if number else model.scale
        layers = [cast("nn.LSTM", layer) for layer in pair]
        value_SAE, ends = _both_directions(graph, value_SAE, lengths, layers, scale)
    states = graph.node("Transpose", value_SAE, perm=[1, 0, 2], output="memory.states")
    memory = _memory_units(model)
    graph.output(states, FLOAT, ["a", "s", memory])
    _keys(graph, model.decoder.attention, states)
    padding = graph.node("Equal", pieces, graph.whole(0))
    masks = graph.number(MASKED), graph.number(0.0)
    mask = graph.node("Where", padding, *masks)
    graph.node("Unsqueeze", mask, graph.whole(1), output="memory.mask")
    graph.output("memory.mask", FLOAT, ["a", 1, "s"])
    bridge = model.decoder.bridge
    first = graph.node("Tanh", graph.linear(ends, floats(bridge.weight), floats(bridge.bias), UNIT))
    empty = graph.node("Mul", first, graph.number(0.0))
    above = [_widened(graph, empty, model.units[0], units) for units in model.units[1:]]
    graph.node("Concat", empty, *above, axis=1, output="state.cells")
    hidden = graph.node("Concat", first, *above, axis=1)
    graph.output("state.cells", FLOAT, ["a", sum(model.units)])
    kind = UINT8 if graph.int8 else FLOAT
    if graph.int8:
        hidden = graph.bounded(hidden, UNIT)
    graph.node("Identity", hidden, output="state.hidden")
    graph.output("state.hidden", kind, ["a", sum(model.units)])


def _widened(graph: Writer, empty_AH: str, units: int, wanted: int) -> str:
    """(A, wanted) zeros, from (A, units) of them."""
    if units == wanted:
        return empty_AH
    times = -(-wanted // units)
    wide = graph.node("Concat", *[empty_AH] * times, axis=1) if times > 1 else empty_AH
    rest = times * units - wanted
    return _parts(graph, wide, [wanted, rest])[0] if rest else wide


def _memory_units(model: LstmTranslator) -> int:
    return 2 * cast("nn.LSTM", model.encoder.forwards[-1]).hidden_size


def _both_directions(
    graph: Writer, value_SAE: str, lengths: str, layers: list[nn.LSTM], scale: float
) -> tuple[str, str]:
    """(S, A, D) states, and (A, D) the last of each direction."""
    units = layers[0].hidden_size
    inputs = np.stack([_gates(layer.weight_ih_l0) * np.float32(scale) for layer in layers])
    hidden = np.stack([_gates(layer.weight_hh_l0) for layer in layers])
    bias = np.stack(
        [np.concatenate([_gates(layer.bias_ih_l0), _gates(layer.bias_hh_l0)]) for layer in layers]
    )
    options: dict[str, Any] = {"hidden_size": units, "direction": "bidirectional"}
    if graph.int8:
        parts = []
        for matrices in (inputs, hidden):
            rounded = [per_column(matrix.T) for matrix in matrices]
            parts.append(graph.constant(np.stack([r.whole for r in rounded])))
            parts.append(graph.constant(np.stack([r.scale for r in rounded])))
        zero = graph.constant(np.zeros((2, 4 * units), np.int8))
        weights, steps, recurrent, recurrent_steps = parts
        given = [value_SAE, weights, recurrent, graph.constant(bias), lengths, "", "", ""]
        given += [steps, zero, recurrent_steps, zero]
        found = graph.several(
            "DynamicQuantizeLSTM", *given, outputs=2, domain=RUNTIME_DOMAIN, **options
        )
    else:
        given = [value_SAE, *(graph.constant(part) for part in (inputs, hidden, bias)), lengths]
        found = graph.several("LSTM", *given, outputs=2, **options)
    states = graph.node("Transpose", found[0], perm=[0, 2, 1, 3])  # from (S, 2, A, D / 2)
    states = graph.node("Reshape", states, graph.whole(0, 0, -1))
    ends = graph.node("Transpose", found[1], perm=[1, 0, 2])
    return states, graph.node("Reshape", ends, graph.whole(0, -1))


def _gates(tensor: Any) -> Array:
    """Rows of four gates in the runtime's order."""
    parts = np.split(floats(tensor), 4)
    return np.concatenate([parts[gate] for gate in _IOFC])


def _keys(graph: Writer, attention: Attention, states_ASD: str) -> None:
    """What queries are held against, once for all steps: (A, H, S), (A, heads, H / heads, S), or
    (A, 1, S, H) for additive attention."""
    weight, heads = floats(attention.key.weight), attention.heads
    units = len(weight)
    if attention.additive:
        keys = graph.linear(states_ASD, weight, None, UNIT)
        graph.node("Unsqueeze", keys, graph.whole(1), output="memory.keys")
        graph.output("memory.keys", FLOAT, ["a", 1, "s", units])
        return
    weight *= np.float32((units // heads) ** -0.5)
    keys = graph.linear(states_ASD, weight, None, UNIT)
    if heads == 1:
        graph.node("Transpose", keys, perm=[0, 2, 1], output="memory.keys")
        graph.output("memory.keys", FLOAT, ["a", units, "s"])
    else:
        keys = graph.node("Reshape", keys, graph.whole(0, 0, heads, -1))
        graph.node("Transpose", keys, perm=[0, 2, 3, 1], output="memory.keys")
        graph.output("memory.keys", FLOAT, ["a", heads, units // heads, "s"])


# --- decoder --------------------------------------------------------------------------------------


def decoder(model: LstmTranslator, graph: Writer) -> tuple[str, str]:
    """Writes a step up to its logits (R, V) and attention (R, S).

    Of a hidden state products alone are taken, but for the attention's query: in int8 it is rounded
    once, goes on as bytes, and is a state as bytes.
    """
    parts, units = model.decoder, model.units
    layers = [parts.first, *(cast("nn.LSTM", layer) for layer in parts.above)]
    pieces = graph.input("pieces", INT64, ["r"])
    parents = graph.input("parents", INT64, ["r"])
    before = []
    kinds = {"hidden": UINT8 if graph.int8 else FLOAT, "cells": FLOAT}
    for name, kind in kinds.items():
        state = graph.input(f"state.{name}", kind, ["p", sum(units)])
        state = graph.rows(state, parents)
        before.append([state] if len(units) == 1 else _parts(graph, state, units))
    value = context = attention = ""
    after: dict[str, list[str]] = {"hidden": [], "cells": []}
    for number, layer in enumerate(layers):
        hidden, cell = before[0][number], before[1][number]
        if number == 0:
            gates = _first_gates(graph, model, pieces, hidden)
        else:
            reads = [value, context] if number == 1 else [value]
            gates = _gates_of(graph, layer, [*reads, hidden])
        plain, cell = _cell(graph, gates, cell, units[number])
        value = _rounded(graph, plain)
        after["hidden"].append(value)
        after["cells"].append(cell)
        if number == 0:
            context, attention = _attention(graph, parts.attention, plain, value, model)
            context = _rounded(graph, context)
    for name, kind in kinds.items():
        graph.node("Concat", *after[name], axis=1, output=f"next.{name}")
        graph.output(f"next.{name}", kind, ["r", sum(units)])
    read = graph.node("Concat", value, context, axis=1)
    read = graph.node(
        "Tanh", _product(graph, read, parts.readout.weight, floats(parts.readout.bias))
    )
    output = floats(model.output.weight)
    return graph.output_logits(read, output, floats(model.output.bias), UNIT), attention


def _parts(graph: Writer, state: str, units: list[int]) -> list[str]:
    return graph.several("Split", state, graph.whole(*units), outputs=len(units), axis=1)


def _rounded(graph: Writer, value: str) -> str:
    """In bytes where weights are."""
    return graph.bounded(value, UNIT) if graph.int8 else value


def _product(graph: Writer, value: str, weight: Any, bias: Array | None) -> str:
    """Of what `_rounded` gave."""
    weight_NK = weight if isinstance(weight, np.ndarray) else floats(weight)
    if graph.int8:
        return graph.product(value, UNIT, weight_NK.T, bias)
    return graph.linear(value, weight_NK, bias)


def target_tables(model: LstmTranslator, graph: Writer) -> None:
    """Adds what the decoders look target pieces up in, in int8: their share of the first layer's
    gates where that is no large table, else their embedding."""
    table = _target_embedding(model)
    if _tabled(graph, model):
        gates = _gates_of_pieces(graph, model, graph.rows_of(table))
        graph.node("Cast", gates, to=FLOAT16, output="gates")
        graph.output("gates", FLOAT16, [len(table), 4 * model.units[0]])
    elif not model.tied:
        graph.table(table)


def _tabled(graph: Writer, model: LstmTranslator) -> bool:
    return graph.int8 and len(model.output.weight) * 4 * model.units[0] <= MOST_TABLED


def _target_embedding(model: LstmTranslator) -> Array:
    return floats((model.embedding if model.tied else model.target_embedding).weight)


def _first_gates(graph: Writer, model: LstmTranslator, pieces: str, hidden: str) -> str:
    table = _target_embedding(model)
    weight, recurrent, bias = _weights(model.decoder.first)
    if not graph.int8:
        together = graph.node("Concat", graph.embedded(pieces, table), hidden, axis=1)
        weight = weight * np.float32(model.scale)
        return graph.linear(together, np.concatenate([weight, recurrent], axis=1), bias)
    if _tabled(graph, model):
        gates = graph.input("gates", FLOAT16, [len(table), 4 * model.units[0]])
        gates = graph.node("Cast", graph.node("Gather", gates, pieces), to=FLOAT)
    else:
        gates = _gates_of_pieces(graph, model, graph.embedded(pieces, table))
    return graph.node("Add", gates, _product(graph, hidden, recurrent, None))


def _gates_of_pieces(graph: Writer, model: LstmTranslator, value: str) -> str:
    """The embedding has a range of its own, so in int8 it gets a product of its own."""
    weight, _, bias = _weights(model.decoder.first)
    step = max(float(np.abs(_target_embedding(model)).max()), 1e-6) / LEVELS
    return graph.linear(value, weight * np.float32(model.scale), bias, step)


def _gates_of(graph: Writer, layer: nn.LSTM, reads: list[str]) -> str:
    weight, recurrent, bias = _weights(layer)
    together = graph.node("Concat", *reads, axis=1)
    return _product(graph, together, np.concatenate([weight, recurrent], axis=1), bias)


def _weights(layer: nn.LSTM) -> tuple[Array, Array, Array]:
    """(G, inputs), (G, H) and (G,), gates in the runtime's order: the three sigmoids together."""
    weight, recurrent = _gates(layer.weight_ih_l0), _gates(layer.weight_hh_l0)
    return weight, recurrent, _gates(layer.bias_ih_l0) + _gates(layer.bias_hh_l0)


def _cell(graph: Writer, gates_RG: str, cell: str, units: int) -> tuple[str, str]:
    """Hidden and cell after the step."""
    open_, fresh = graph.several(
        "Split", gates_RG, graph.whole(3 * units, units), outputs=2, axis=1
    )
    write_, read, keep = graph.several(
        "Split",
        graph.node("Sigmoid", open_),
        graph.whole(units, units, units),
        outputs=3,
        axis=1,
    )
    cell = graph.node(
        "Add",
        graph.node("Mul", keep, cell),
        graph.node("Mul", write_, graph.node("Tanh", fresh)),
    )
    return graph.node("Mul", read, graph.node("Tanh", cell)), cell


def _attention(
    graph: Writer, attention: Attention, query_RH: str, rounded_RH: str, model: LstmTranslator
) -> tuple[str, str]:
    """(R, D) contexts, and (R, S) weights, the mean over heads. The rows go to their sentences in
    the grid, and what they found comes back to them: the memory itself is never copied."""
    units, heads = attention.key.out_features, attention.heads
    memory = _memory_units(model)
    grid = graph.input("grid", INT64, ["a", "w"])
    slots = graph.input("slots", INT64, ["r"])
    states = graph.input("memory.states", FLOAT, ["a", "s", memory])
    mask = graph.input("memory.mask", FLOAT, ["a", 1, "s"])
    if attention.additive:
        keys = graph.input("memory.keys", FLOAT, ["a", 1, "s", units])
        weight, bias = floats(attention.query.weight), floats(attention.query.bias)
        query = _product(graph, rounded_RH, weight, bias)
        query = graph.node("Unsqueeze", graph.gridded(query, grid), graph.whole(2))
        mixed = graph.node("Tanh", graph.node("Add", query, keys))  # (A, W, S, H)
        scores = graph.node("MatMul", mixed, graph.constant(floats(attention.score.weight).T))
        scores = graph.node("Squeeze", scores, graph.whole(3))
    elif heads == 1:
        keys = graph.input("memory.keys", FLOAT, ["a", units, "s"])
        scores = graph.node("MatMul", graph.gridded(query_RH, grid), keys)
    else:
        keys = graph.input("memory.keys", FLOAT, ["a", heads, units // heads, "s"])
        query = graph.gridded(query_RH, grid)
        query = graph.node("Reshape", query, graph.whole(0, 0, heads, -1))
        query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
        scores = graph.node("MatMul", query, keys)  # (A, heads, W, S)
        mask = graph.node("Unsqueeze", mask, graph.whole(1))
    weights = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
    if heads == 1:
        context = graph.node("MatMul", weights, states)
        seen = weights
    else:
        split = graph.node("Reshape", states, graph.whole(0, 0, heads, -1))
        split = graph.node("Transpose", split, perm=[0, 2, 1, 3])
        context = graph.node("Transpose", graph.node("MatMul", weights, split), perm=[0, 2, 1, 3])
        seen = graph.node("ReduceMean", weights, graph.whole(1), keepdims=0)
    context = graph.node("Reshape", context, graph.whole(-1, memory))
    # A last axis of the memory's length, whatever it is.
    size = graph.node("Concat", graph.whole(-1), graph.node("Shape", mask, start=-1), axis=0)
    seen = graph.node("Reshape", seen, size)
    return graph.rows(context, slots), graph.rows(seen, slots)
