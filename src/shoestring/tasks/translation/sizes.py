"""sizes: the translators that a build may choose from. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe
from shoestring.core.sizing import Candidate
from shoestring.tasks.translation import architecture, defaults

# Passes from which the transformer is ahead of the LSTM on Multi30k, as `defaults` guesses them,
# which is about twice what a fit comes to: behind at 9 real ones, ahead at 14.
TRANSFORMER_EPOCHS = 25.0
ENOUGH_EPOCHS = 60.0  # a judgement: half an hour of Multi30k is 25, and more was still better
LSTMS: tuple[Plain, ...] = (
    {"embedding": 64, "encoder_units": 32, "encoder_layers": 1, "decoder_units": 64},
    {"embedding": 96, "encoder_units": 64, "encoder_layers": 1, "decoder_units": 128},
    {"embedding": 128, "encoder_units": 96, "decoder_units": 192},
    {"embedding": 192, "encoder_units": 112, "decoder_units": 224},
)
TRANSFORMERS: tuple[Plain, ...] = (
    {"units": 64, "encoder_layers": 2, "decoder_layers": 1, "feed_forward": 256},
    {"units": 96, "encoder_layers": 3, "decoder_layers": 1, "feed_forward": 384},
    {"units": 112, "encoder_layers": 4, "decoder_layers": 2, "feed_forward": 448},
)


def candidates(recipe: Recipe, dataset: Dataset, seconds: float | None) -> Sequence[Candidate]:
    """Translators of one kind by rising size, up to its usual one; or the one that the recipe
    names. The kind is the one that gets further in these seconds."""
    named = dict(recipe.network)
    if set(named) - {"kind"}:
        network = {"kind": architecture.KINDS[0], **named}
        return [Candidate(network, parameters(network, dataset.facts), ENOUGH_EPOCHS)]
    long = defaults.epochs(recipe, dataset, seconds) >= TRANSFORMER_EPOCHS
    kind = str(named.get("kind", "transformer" if long else "lstm"))
    smaller = {"lstm": LSTMS, "transformer": TRANSFORMERS}.get(kind, ())
    networks: list[dict[str, Any]] = [{"kind": kind, **one} for one in smaller]
    networks.append({"kind": kind})
    return [
        Candidate(network, parameters(network, dataset.facts), ENOUGH_EPOCHS)
        for network in networks
    ]


def parameters(network: Plain, facts: Plain) -> int:
    """Weights of the matrices, which are nearly all that a translator has."""
    a = architecture.expand(network, facts)
    pieces, tables = int(a["pieces"]), 1 if a["tied"] else 3
    if a["kind"] != "lstm":
        units, wide = int(a["units"]), 2 * int(a["feed_forward"])
        inner = int(a["encoder_layers"]) * (4 * units + wide)
        inner += int(a["decoder_layers"]) * (8 * units + wide)
        return units * (inner + tables * pieces)
    reads, total = int(a["embedding"]), tables * pieces * int(a["embedding"])
    encoder, decoder = int(a["encoder_units"]), int(a["decoder_units"])
    for _ in range(int(a["encoder_layers"])):
        total, reads = total + 2 * 4 * encoder * (reads + encoder), 2 * encoder
    reads = int(a["embedding"])
    for number in range(int(a["decoder_layers"])):
        total += 4 * decoder * (reads + decoder)
        reads = decoder + (0 if number else 2 * encoder)
    return total + 2 * encoder * decoder + (decoder + 2 * encoder) * int(a["embedding"])
