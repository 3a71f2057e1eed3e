"""architecture: the options of the networks for translation, written out and checked. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain

KINDS = ("lstm", "transformer", "marian")
ACTIVATIONS = ("swish", "relu", "gelu")  # of a marian network's feed-forward layers
ATTENTIONS = ("multiplicative", "additive")
WIDTHS = "widths"  # of an architecture: the units of parts that some were taken out of
# Matrices that lie stacked in one weight, by a part of its name: query, key and value, or gates.
STACKED: Mapping[str, int] = {"qkv": 3, ".kv.": 2, "weight_ih": 4, "weight_hh": 4}
TYPICAL_PIECES = 16  # of a sentence, with its end: what multiply-accumulates are counted for

LSTM: Plain = {
    "embedding": 256,
    "encoder_units": 128,  # of each of the two directions
    "encoder_layers": 2,
    "decoder_units": 256,
    "decoder_layers": 2,  # the first reads the target, the others its state and the context
    "attention": "multiplicative",  # Luong et al. 2015; "additive": Bahdanau et al. 2015
    "heads": 1,  # of the attention; more than one with the multiplicative one only
    "tied": True,  # source, target and output share one matrix
    "dropout": 0.2,
}
TRANSFORMER: Plain = {
    "units": 128,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "heads": 4,
    "feed_forward": 512,
    "tied": True,
    "dropout": 0.1,
}
# As the translators of OPUS-MT are (Junczys-Dowmunt et al. 2018; Tiedemann & Thottingal 2020).
MARIAN: Plain = {
    "units": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "heads": 8,
    "feed_forward": 2048,
    "tied": True,
    "dropout": 0.1,
    "activation": "swish",
}
USUAL: Mapping[str, Plain] = {"lstm": LSTM, "transformer": TRANSFORMER, "marian": MARIAN}

# By name: small students, of half the size and less; and a wider one, which learns more in minutes
# where products in bfloat16 cost little.
PRESETS: Mapping[str, str] = {
    "transformer-wide": "transformer:units=192,encoder_layers=3,decoder_layers=3,feed_forward=768",
    "lstm-small": "lstm:embedding=128,encoder_units=96,decoder_units=192",
    "lstm-tiny": "lstm:embedding=96,encoder_units=64,encoder_layers=1,decoder_units=128",
    "transformer-small": "transformer:units=96,encoder_layers=3,decoder_layers=1,feed_forward=384",
}


def stacked(name: str) -> int:
    """How many matrices a weight of this name holds."""
    return next((count for part, count in STACKED.items() if part in name), 1)


def expand(options: Plain, facts: Plain) -> Plain:
    """Every option of a network, from the few that were given, and `pieces` from the data's
    facts. Raises UserError for a kind, an option or a value that is none."""
    kind = options.get("kind", KINDS[0])
    if kind not in KINDS:
        raise UserError(f"there is no network {kind!r} for text; there are: {', '.join(KINDS)}")
    usual = USUAL[kind]
    given = {name: value for name, value in options.items() if name not in ("kind", "pieces")}
    for name, value in given.items():
        if name not in usual:
            raise UserError(
                f"the network {kind} has no option {name!r}; it has: {', '.join(usual)}"
            )
        _check(name, value, usual[name])
    found = {"kind": kind, **usual, **given, "pieces": int(facts["pieces"])}
    if kind == "lstm":
        _check_lstm(found)
    else:
        _divides(found["units"], found["heads"], "units")
        if found["units"] % 2:
            raise UserError(f"units is an even number, not {found['units']}")
    return found


def macs(architecture: Plain) -> int:
    """Multiply-accumulates of one sentence of TYPICAL_PIECES pieces in, as many out, teacher
    forced (so once through the decoder)."""
    count = TYPICAL_PIECES
    return count * (
        _lstm(architecture, count)
        if architecture["kind"] == "lstm"
        else _transformer(architecture, count)
    )


def width(architecture: Plain, name: str, usual: int) -> int:
    """The units of a part: as the options have them, or fewer where some were taken out. Names are
    `units`'s: embedding, encoder.0, decoder.0, attention; encoder.0.heads and so on."""
    return int(architecture.get(WIDTHS, {}).get(name, usual))


def encoder_units(a: Plain) -> list[int]:
    """Of each layer of an LSTM encoder, in each direction."""
    usual = int(a["encoder_units"])
    return [width(a, f"encoder.{i}", usual) for i in range(int(a["encoder_layers"]))]


def decoder_units(a: Plain) -> list[int]:
    """Of each layer of an LSTM decoder."""
    usual = int(a["decoder_units"])
    return [width(a, f"decoder.{i}", usual) for i in range(int(a["decoder_layers"]))]


def attention_units(a: Plain) -> int:
    """What an LSTM's additive attention mixes in."""
    return width(a, "attention", int(a["decoder_units"]))


def _lstm(a: Plain, count: int) -> int:
    """A piece of the source with a piece of the target."""
    embedding = width(a, "embedding", int(a["embedding"]))
    encoder, decoder = encoder_units(a), decoder_units(a)
    memory, first, last = 2 * encoder[-1], decoder[0], decoder[-1]
    total, reads = 0, embedding
    for units in encoder:
        total, reads = total + 2 * 4 * units * (reads + units), 2 * units
    reads = embedding
    for number, units in enumerate(decoder):
        total, reads = total + 4 * units * (reads + units), units + (0 if number else memory)
    keys = first
    if a["attention"] == "additive":
        keys = attention_units(a)
        total += first * keys
    total += memory * keys
    total += count * (keys + memory)  # scores and contexts
    return total + (last + memory) * embedding + embedding * int(a["pieces"])


def _transformer(a: Plain, count: int) -> int:
    units = int(a["units"])
    size, wide = units // int(a["heads"]), int(a["feed_forward"])
    total = units * int(a["pieces"])
    for side, kinds in (("encoder", ("heads",)), ("decoder", ("heads", "cross_heads"))):
        for number in range(int(a[f"{side}_layers"])):
            for kind in kinds:
                inner = size * width(a, f"{side}.{number}.{kind}", int(a["heads"]))
                total += 4 * units * inner + 2 * count * inner
            total += 2 * units * width(a, f"{side}.{number}.feed_forward", wide)
    return total


def _check(name: str, value: Any, usual: Any) -> None:
    if isinstance(usual, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(usual, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        wanted = "a whole number from 1"
    elif isinstance(usual, float):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1
        wanted = "a share from 0 to below 1"
    else:
        known = ACTIVATIONS if name == "activation" else ATTENTIONS
        fits, wanted = value in known, " or ".join(known)
    if not fits:
        raise UserError(f"{name} of a network is {wanted}, not {value!r}")


def _check_lstm(found: Plain) -> None:
    if found["attention"] == "additive" and found["heads"] != 1:
        raise UserError("additive attention has one head; take multiplicative, or heads = 1")
    _divides(found["decoder_units"], found["heads"], "decoder_units")
    _divides(2 * found["encoder_units"], found["heads"], "twice encoder_units")


def _divides(units: int, heads: int, name: str) -> None:
    if units % heads:
        raise UserError(f"{name} ({units}) is a multiple of heads ({heads})")
