"""graph_transformer: writes the Transformer translator as an encoder graph and a decoder step.

Keys and values of the source are computed once, by the encoder. Those of the pieces so far are the
states: each step gathers them by parents and lays its own behind them.

Shapes: A sentences, S source pieces, R rows, W rows a sentence, T pieces so far, H units, X heads,
Z = H / X.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from shoestring.tasks.translation.graph import FLOAT, INT32, INT64, MASKED, Writer, floats

if TYPE_CHECKING:
    from torch import nn

    from shoestring.tasks.translation.transformer import (
        DecoderLayer,
        EncoderLayer,
        FeedForward,
        Norm,
        TransformerTranslator,
    )


# --- encoder --------------------------------------------------------------------------------------


def encoder(model: TransformerTranslator, graph: Writer) -> None:
    """Writes the encoder."""
    size = model.size
    pieces = graph.input("pieces", INT64, ["a", "s"])
    graph.input("lengths", INT32, ["a"])
    positions = graph.input("positions", FLOAT, ["s", model.units])
    value = graph.embedded(pieces, floats(model.embedding.weight))
    value = graph.node("Mul", value, graph.number(model.units**0.5))
    value = graph.node("Add", value, positions)
    padding = graph.node("Equal", pieces, graph.whole(0))
    masks = graph.number(MASKED), graph.number(0.0)
    mask = graph.node("Where", padding, *masks)
    mask = graph.node("Unsqueeze", mask, graph.whole(1, 2), output="memory.mask")
    graph.output(mask, FLOAT, ["a", 1, 1, "s"])
    for part in model.encoder:
        layer = cast("EncoderLayer", part)
        heads = layer.attention.heads
        query, key, key_value = _three(
            graph, layer.attention.qkv, read(graph, layer.attention_norm, value), heads
        )
        query = graph.node("Mul", query, graph.number(size**-0.5))
        scores = graph.node("MatMul", query, graph.node("Transpose", key, perm=[0, 1, 3, 2]))
        weights = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
        mixed = _joined(graph, graph.node("MatMul", weights, key_value))
        mixed = dense(graph, layer.attention.out, mixed)
        value = summed(graph, layer.attention_norm, value, mixed)
        value = fed_forward(graph, layer.feed_forward_norm, layer.feed_forward, value)
    states = last(graph, model.encoder_norm, value)
    for number, part in enumerate(model.decoder):
        cross = cast("DecoderLayer", part).cross
        both, heads = dense(graph, cross.kv, states), cross.heads
        both = graph.node("Reshape", both, graph.whole(0, 0, 2 * heads, -1))
        both = graph.node("Transpose", both, perm=[0, 2, 1, 3])  # (A, 2 X, S, Z)
        keys, values = graph.several("Split", both, outputs=2, axis=1, num_outputs=2)
        keys = graph.node("Mul", keys, graph.number(size**-0.5))
        graph.node("Transpose", keys, perm=[0, 1, 3, 2], output=f"memory.keys_{number}")
        graph.output(f"memory.keys_{number}", FLOAT, ["a", heads, size, "s"])
        graph.node("Identity", values, output=f"memory.values_{number}")
        graph.output(f"memory.values_{number}", FLOAT, ["a", heads, "s", size])


# --- decoder --------------------------------------------------------------------------------------


def decoder(model: TransformerTranslator, graph: Writer) -> tuple[str, str]:
    """Writes a step up to its logits (R, V) and the attention (R, S) of its last layer."""
    pieces = graph.input("pieces", INT64, ["r"])
    parents = graph.input("parents", INT64, ["r"])
    grid = graph.input("grid", INT64, ["a", "w"])
    slots = graph.input("slots", INT64, ["r"])
    positions = graph.input("positions", FLOAT, [1, model.units])
    mask = graph.input("memory.mask", FLOAT, ["a", 1, 1, "s"])
    table = floats((model.embedding if model.tied else model.target_embedding).weight)
    value = graph.embedded(pieces, table)
    value = graph.node("Mul", value, graph.number(model.units**0.5))
    value = graph.node("Add", value, positions)
    weights = ""
    for number, part in enumerate(model.decoder):
        layer = cast("DecoderLayer", part)
        value = _self_attention(graph, layer, value, parents, number, model)
        value, weights = _cross_attention(graph, layer, value, (grid, slots, mask), number, model)
        value = fed_forward(graph, layer.feed_forward_norm, layer.feed_forward, value)
    seen = graph.node("ReduceMean", weights, graph.whole(1), keepdims=0)  # (A, W, S)
    # A last axis of the memory's length, whatever it is.
    length = graph.node("Concat", graph.whole(-1), graph.node("Shape", mask, start=-1), axis=0)
    attention = graph.rows(graph.node("Reshape", seen, length), slots)
    output = floats(model.output.weight)
    value = last(graph, model.decoder_norm, value)
    return graph.output_logits(value, output, floats(model.output.bias), None), attention


def target_tables(model: TransformerTranslator, graph: Writer) -> None:
    """Adds what the decoders look target pieces up in, in int8."""
    if not model.tied:
        graph.table(floats(model.target_embedding.weight))


def _self_attention(
    graph: Writer,
    layer: DecoderLayer,
    value_RH: str,
    parents: str,
    number: int,
    model: TransformerTranslator,
) -> str:
    heads, size = layer.attention.heads, model.size
    states = []
    fresh = dense(graph, layer.attention.qkv, read(graph, layer.attention_norm, value_RH))
    fresh = graph.node("Reshape", fresh, graph.whole(-1, 3 * heads, 1, size))
    query, *keys_and_values = graph.several("Split", fresh, outputs=3, axis=1, num_outputs=3)
    query = graph.node("Mul", query, graph.number(size**-0.5))
    for name, one in zip(("keys", "values"), keys_and_values, strict=True):
        before = graph.input(f"state.{name}_{number}", FLOAT, ["p", heads, "t", size])
        before = graph.rows(before, parents)
        after = graph.node("Concat", before, one, axis=2, output=f"next.{name}_{number}")
        graph.output(after, FLOAT, ["r", heads, "u", size])
        states.append(after)
    scores = graph.node("MatMul", query, graph.node("Transpose", states[0], perm=[0, 1, 3, 2]))
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), states[1])
    mixed = graph.node("Reshape", mixed, graph.whole(-1, heads * size))
    mixed = dense(graph, layer.attention.out, mixed)
    return summed(graph, layer.attention_norm, value_RH, mixed)


def _cross_attention(
    graph: Writer,
    layer: DecoderLayer,
    value_RH: str,
    places: tuple[str, str, str],
    number: int,
    model: TransformerTranslator,
) -> tuple[str, str]:
    """The value after it, and (A, X, W, S) weights. Rows go to their sentences in the grid, and
    what they found comes back to them: the memory itself is never copied."""
    heads, size = layer.cross.heads, model.size
    grid, slots, mask = places
    query = dense(graph, layer.cross.query, read(graph, layer.cross_norm, value_RH))
    query = graph.node("Reshape", graph.gridded(query, grid), graph.whole(0, 0, heads, -1))
    query = graph.node("Transpose", query, perm=[0, 2, 1, 3])  # (A, X, W, Z)
    keys = graph.input(f"memory.keys_{number}", FLOAT, ["a", heads, size, "s"])
    values = graph.input(f"memory.values_{number}", FLOAT, ["a", heads, "s", size])
    scores = graph.node("Add", graph.node("MatMul", query, keys), mask)
    weights = graph.node("Softmax", scores, axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", weights, values), perm=[0, 2, 1, 3])
    mixed = graph.node("Reshape", mixed, graph.whole(-1, heads * size))
    mixed = dense(graph, layer.cross.out, graph.rows(mixed, slots))
    return summed(graph, layer.cross_norm, value_RH, mixed), weights


# --- of both --------------------------------------------------------------------------------------


def dense(graph: Writer, layer: nn.Linear, value: str) -> str:
    return graph.linear(value, floats(layer.weight), floats(layer.bias))


def _norm(graph: Writer, layer: nn.LayerNorm, value: str) -> str:
    return graph.normed(value, floats(layer.weight), floats(layer.bias), layer.eps)


def read(graph: Writer, norm: Norm, value: str) -> str:
    return value if norm.after else _norm(graph, norm, value)


def summed(graph: Writer, norm: Norm, value: str, more: str) -> str:
    found = graph.residual(value, more)
    return _norm(graph, norm, found) if norm.after else found


def last(graph: Writer, norm: nn.Module, value: str) -> str:
    """The norm at the end of encoder or decoder, where there is one."""
    from torch.nn import LayerNorm

    return _norm(graph, norm, value) if isinstance(norm, LayerNorm) else value


def fed_forward(graph: Writer, norm: Norm, layer: FeedForward, value: str) -> str:
    wide = dense(graph, layer.wide, read(graph, norm, value))
    narrow = dense(graph, layer.narrow, _activated(graph, layer.activation, wide))
    return summed(graph, norm, value, narrow)


def _activated(graph: Writer, activation: str, value: str) -> str:
    match activation:
        case "swish":
            return graph.node("Mul", value, graph.node("Sigmoid", value))
        case "gelu":
            part = graph.node("Erf", graph.node("Div", value, graph.number(2**0.5)))
            part = graph.node("Mul", value, graph.node("Add", part, graph.number(1.0)))
            return graph.node("Mul", part, graph.number(0.5))
    return graph.node("Relu", value)


def _three(graph: Writer, layer: nn.Linear, value: str, heads: int) -> list[str]:
    """Query, key and value of (A, S, H), each (A, X, S, Z)."""
    found = graph.node("Reshape", dense(graph, layer, value), graph.whole(0, 0, 3 * heads, -1))
    found = graph.node("Transpose", found, perm=[0, 2, 1, 3])
    return graph.several("Split", found, outputs=3, axis=1, num_outputs=3)


def _joined(graph: Writer, value_AXSZ: str) -> str:
    value = graph.node("Transpose", value_AXSZ, perm=[0, 2, 1, 3])
    return graph.node("Reshape", value, graph.whole(0, 0, -1))
