"""graph_alone: writes the Transformer for one sentence, each attention as one node.

A sentence alone has no padding and one row, so nothing is masked, gathered or laid out for others;
what is left of an attention is the runtime's MultiHeadAttention. At these sizes a node costs about
as much as what it computes.

Shapes: S source pieces, T pieces so far, H units, X heads, Z = H / X.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from shoestring.tasks.translation.graph import FLOAT, INT32, INT64, RUNTIME_DOMAIN, Writer, floats
from shoestring.tasks.translation.graph_transformer import dense, fed_forward, last, read, summed

if TYPE_CHECKING:
    from shoestring.tasks.translation.transformer import (
        DecoderLayer,
        EncoderLayer,
        TransformerTranslator,
    )


def encoder(model: TransformerTranslator, graph: Writer) -> None:
    """Writes the encoder, up to keys and values for the decoder, (1, X, S, Z)."""
    pieces = graph.input("pieces", INT64, ["a", "s"])
    graph.input("lengths", INT32, ["a"])
    positions = graph.input("positions", FLOAT, ["s", model.units])
    value = graph.embedded(pieces, floats(model.embedding.weight))
    value = graph.node("Mul", value, graph.number(model.units**0.5))
    value = graph.node("Add", value, positions)
    for part in model.encoder:
        layer = cast("EncoderLayer", part)
        parts = dense(graph, layer.attention.qkv, read(graph, layer.attention_norm, value))
        three = graph.several("Split", parts, outputs=3, axis=2, num_outputs=3)
        mixed = dense(graph, layer.attention.out, _attended(graph, layer.attention.heads, three)[0])
        value = summed(graph, layer.attention_norm, value, mixed)
        value = fed_forward(graph, layer.feed_forward_norm, layer.feed_forward, value)
    states = last(graph, model.encoder_norm, value)
    for number, part in enumerate(model.decoder):
        cross = cast("DecoderLayer", part).cross
        both, heads = dense(graph, cross.kv, states), cross.heads
        both = graph.node("Reshape", both, graph.whole(0, 0, 2 * heads, -1))
        both = graph.node("Transpose", both, perm=[0, 2, 1, 3])
        names = [f"memory.keys_{number}", f"memory.values_{number}"]
        for name in graph.several("Split", both, outputs=names, axis=1, num_outputs=2):
            graph.output(name, FLOAT, ["a", heads, "s", model.size])


def decoder(model: TransformerTranslator, graph: Writer) -> tuple[str, str]:
    """Writes a step up to its logits (1, V). Where it looked is not told."""
    pieces = graph.input("pieces", INT64, ["r"])
    positions = graph.input("positions", FLOAT, [1, model.units])
    table = floats((model.embedding if model.tied else model.target_embedding).weight)
    value = graph.node("Mul", graph.embedded(pieces, table), graph.number(model.units**0.5))
    value = graph.node("Unsqueeze", graph.node("Add", value, positions), graph.whole(0))
    for number, part in enumerate(model.decoder):
        layer = cast("DecoderLayer", part)
        own, cross = layer.attention, layer.cross
        parts = dense(graph, own.qkv, read(graph, layer.attention_norm, value))
        three = graph.several("Split", parts, outputs=3, axis=2, num_outputs=3)
        shape: list[int | str] = ["p", own.heads, "t", model.size]
        names = [f"{side}_{number}" for side in ("keys", "values")]
        before = [graph.input(f"state.{name}", FLOAT, shape) for name in names]
        after = [f"next.{name}" for name in names]
        mixed, *states = _attended(graph, own.heads, three, before, after)
        for name in states:
            graph.output(name, FLOAT, ["r", own.heads, "u", model.size])
        value = summed(graph, layer.attention_norm, value, dense(graph, own.out, mixed))
        query = dense(graph, cross.query, read(graph, layer.cross_norm, value))
        shape = ["a", cross.heads, "s", model.size]
        memory = [graph.input(f"memory.{name}", FLOAT, shape) for name in names]
        (mixed,) = _attended(graph, cross.heads, [query, *memory])
        value = summed(graph, layer.cross_norm, value, dense(graph, cross.out, mixed))
        value = fed_forward(graph, layer.feed_forward_norm, layer.feed_forward, value)
    value = graph.node("Squeeze", last(graph, model.decoder_norm, value), graph.whole(0))
    output = floats(model.output.weight)
    return graph.output_logits(value, output, floats(model.output.bias), None), ""


def _attended(
    graph: Writer,
    heads: int,
    query_key_value: list[str],
    before: list[str] | None = None,
    after: list[str] | None = None,
) -> list[str]:
    """(1, S, H) what each query found; with the keys and values `before` these, under the names
    `after`, all of them as well."""
    inputs = [*query_key_value, *(["", "", "", *before] if before else [])]
    found = graph.fresh()
    return graph.several(
        "MultiHeadAttention",
        *inputs,
        outputs=[found, *(after or [])],
        num_heads=heads,
        domain=RUNTIME_DOMAIN,
    )
