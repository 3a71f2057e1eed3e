"""architecture: the options of the networks for translation, written out and checked. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain

KINDS = ("lstm", "transformer", "marian")
ACTIVATIONS = ("swish", "relu", "gelu")  # of a marian network's feed-forward layers
ATTENTIONS = ("multiplicative", "additive")
PAD, UNKNOWN, BEGIN, END = range(4)  # the first pieces of every vocabulary
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


def _lstm(a: Plain, count: int) -> int:
    """A piece of the source with a piece of the target."""
    embedding, units, encoder = (
        int(a[name]) for name in ("embedding", "decoder_units", "encoder_units")
    )
    memory = 2 * encoder
    total = 0
    for layer in range(int(a["encoder_layers"])):
        total += 2 * 4 * encoder * ((memory if layer else embedding) + encoder)
    for layer in range(int(a["decoder_layers"])):
        reads = (embedding, units + memory)[layer] if layer < 2 else units
        total += 4 * units * (reads + units)
    total += memory * units + (units * units if a["attention"] == "additive" else 0)
    total += count * (units + memory)  # scores and contexts
    return total + (units + memory) * embedding + embedding * int(a["pieces"])


def _transformer(a: Plain, count: int) -> int:
    units, wide = int(a["units"]), int(a["feed_forward"])
    layer = 4 * units * units + 2 * count * units
    feed_forward = 2 * units * wide
    encoder = int(a["encoder_layers"]) * (layer + feed_forward)
    return (
        encoder + int(a["decoder_layers"]) * (2 * layer + feed_forward) + units * int(a["pieces"])
    )


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
