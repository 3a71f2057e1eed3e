"""units: the hidden units, heads and feed-forward units of translators, and ones with fewer. No
torch.

Shapes: E embedding, N units of a direction of the encoder, D = 2 N of the memory, H units of a
decoder layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.core.receipt import Plain
from shoestring.core.units import Kept, Role, Slice, UnitGroup
from shoestring.tasks.translation.architecture import (
    WIDTHS,
    attention_units,
    decoder_units,
    encoder_units,
    width,
)

_GATES = 4
_LSTM_ROWS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def groups(architecture: Plain) -> list[UnitGroup]:
    """The groups of a translator, from embedding to output."""
    if architecture["kind"] == "lstm":
        return _of_lstm(architecture)
    return _of_transformer(architecture)


def thinned(architecture: Plain, kept: Kept) -> Plain:
    """The architecture with so many units in each group. ValueError where the two directions of
    an encoder layer would differ."""
    widths = dict(architecture.get(WIDTHS, {}))
    shares: dict[str, tuple[int, int]] = {}
    for group in groups(architecture):
        stay = len(kept.get(group.name, range(group.units)))
        if shares.setdefault(group.family, (stay, group.units)) != (stay, group.units):
            raise ValueError(f"the groups of {group.family} keep equally many units")
        if stay < group.units:
            widths[group.family] = _width(architecture, group.family) * stay // group.units
    return {**architecture, WIDTHS: widths} if widths else architecture


def _width(a: Plain, name: str) -> int:
    """What a part has now; a group's unit may be several of them, one in each head."""
    side, _, rest = name.partition(".")
    number, _, kind = rest.partition(".")
    if name == "embedding":
        return width(a, name, int(a["embedding"]))
    if name == "attention":
        return attention_units(a)
    if kind:
        return width(a, name, int(a["feed_forward" if kind == "feed_forward" else "heads"]))
    return (encoder_units if side == "encoder" else decoder_units)(a)[int(number)]


# --- LSTM ----------------------------------------------------------------------------------------


def _of_lstm(a: Plain) -> list[UnitGroup]:
    encoder, decoder = encoder_units(a), decoder_units(a)
    found = [_embedding(a)]
    for number in range(len(encoder)):
        found += _encoder_layer(a, number, encoder, decoder)
    if a["attention"] == "additive":
        slices = [
            Slice("decoder.attention.key.weight", 0, "makes"),
            Slice("decoder.attention.query.weight", 0, "makes"),
            Slice("decoder.attention.query.bias", 0, "makes"),
            Slice("decoder.attention.score.weight", 1, "reads"),
        ]
        found.append(_group("attention", attention_units(a), slices))
    for number in range(len(decoder)):
        found.append(_decoder_layer(a, number, decoder))
    return found


def _embedding(a: Plain) -> UnitGroup:
    """What is read is multiplied by the root of E, so what reads it makes up for a smaller one."""
    slices = [Slice("embedding.weight", 1, "makes")]
    reads: Role = "reads"
    if a["tied"]:  # one matrix is read at both ends: its gradient holds what both are worth
        slices += [Slice("embedding.weight", 1, "reads"), Slice("output.weight", 1, "makes")]
        reads = "follows"
    else:
        slices += [Slice("target_embedding.weight", 1, "makes"), Slice("output.weight", 1, "reads")]
    slices += [
        Slice(f"{layer}.weight_ih_l0", 1, reads, power=-0.5)
        for layer in ("encoder.forwards.0", "encoder.backwards.0", "decoder.first")
    ]
    slices += [Slice(f"decoder.readout.{name}", 0, "makes") for name in ("weight", "bias")]
    return _group("embedding", width(a, "embedding", int(a["embedding"])), slices)


def _encoder_layer(
    a: Plain, number: int, encoder: Sequence[int], decoder: Sequence[int]
) -> list[UnitGroup]:
    """Both directions of a layer; the graph wants them of one size. The last one is what attention
    reads: its heads, each a piece of the memory, keep equally many."""
    name, units = f"encoder.{number}", encoder[number]
    heads = int(a["heads"]) if number == len(encoder) - 1 else 1
    if heads > 1 and heads % 2:
        return []  # a head of it stands in both directions
    chunks = max(1, heads // 2)  # heads of a direction
    found = []
    for side, (short, direction) in enumerate((("onward", "forwards"), ("back", "backwards"))):
        layer = f"encoder.{direction}.{number}"
        slices = [*_made(layer, _GATES * chunks), _read(f"{layer}.weight_hh_l0", 0, chunks)]
        if number + 1 < len(encoder):
            slices += [
                _read(f"encoder.{reader}.{number + 1}.weight_ih_l0", side * units, chunks)
                for reader in ("forwards", "backwards")
            ]
        else:
            readers = [("attention.key", 0), ("bridge", 0), ("readout", decoder[-1])]
            slices += [
                _read(f"decoder.{reader}.weight", begin + side * units, chunks)
                for reader, begin in readers
            ]
            if len(decoder) > 1:
                begin = decoder[0] + side * units
                slices.append(_read("decoder.above.0.weight_ih_l0", begin, chunks))
        found.append((f"{name}.{short}", slices))
    if heads == 1:
        return [_group(one, units, slices, alike=name) for one, slices in found]
    both = [part for _, slices in found for part in slices]
    return [_group(name, units // chunks, both)]


def _decoder_layer(a: Plain, number: int, decoder: Sequence[int]) -> UnitGroup:
    """The first one's states are also what attention asks with, so that they have its heads."""
    heads = int(a["heads"]) if number == 0 else 1
    layer = f"decoder.above.{number - 1}" if number else "decoder.first"
    slices = [*_made(layer, _GATES * heads), _read(f"{layer}.weight_hh_l0", 0, heads)]
    if number == 0:
        slices += [
            Slice(f"decoder.bridge.{name}", 0, "makes", parts=heads) for name in ("weight", "bias")
        ]
        if a["attention"] == "additive":
            slices.append(_read("decoder.attention.query.weight", 0, 1))
        else:  # scores are divided by the root of a head's size, which is smaller then
            key = "decoder.attention.key.weight"
            slices.append(Slice(key, 0, "reads", parts=heads, power=0.5))
    if number + 1 < len(decoder):
        slices.append(_read(f"decoder.above.{number}.weight_ih_l0", 0, heads))
    else:
        slices.append(_read("decoder.readout.weight", 0, heads))
    return _group(f"decoder.{number}", decoder[number] // heads, slices)


def _made(layer: str, parts: int) -> list[Slice]:
    """The rows of an LSTM's gates."""
    return [Slice(f"{layer}.{name}", 0, "makes", parts=parts) for name in _LSTM_ROWS]


def _read(tensor: str, begin: int, parts: int) -> Slice:
    return Slice(tensor, 1, "reads", parts=parts, begin=begin)


# --- Transformer ---------------------------------------------------------------------------------


def _of_transformer(a: Plain) -> list[UnitGroup]:
    """Heads and feed-forward units. What runs through all layers is not cut: its norms would
    answer otherwise."""
    found = []
    for side in ("encoder", "decoder"):
        for number in range(int(a[f"{side}_layers"])):
            name = f"{side}.{number}"
            found.append(_heads(a, f"{name}.heads", f"{name}.attention", {"qkv": 3}))
            if side == "decoder":
                cross = {"query": 1, "kv": 2}
                found.append(_heads(a, f"{name}.cross_heads", f"{name}.cross", cross))
            wide = f"{name}.feed_forward.wide"
            slices = [
                Slice(f"{wide}.weight", 0, "makes"),
                Slice(f"{wide}.bias", 0, "makes"),
                Slice(f"{name}.feed_forward.narrow.weight", 1, "reads"),
            ]
            units = width(a, f"{name}.feed_forward", int(a["feed_forward"]))
            found.append(_group(f"{name}.feed_forward", units, slices))
    return found


def _heads(a: Plain, name: str, module: str, matrices: dict[str, int]) -> UnitGroup:
    size = int(a["units"]) // int(a["heads"])
    slices = [
        Slice(f"{module}.{matrix}.{tensor}", 0, "makes", block=size, parts=parts)
        for matrix, parts in matrices.items()
        for tensor in ("weight", "bias")
    ]
    slices.append(Slice(f"{module}.out.weight", 1, "reads", block=size))
    return UnitGroup(name, width(a, name, int(a["heads"])), tuple(slices), least=1)


def _group(name: str, units: int, slices: Sequence[Slice], alike: str = "") -> UnitGroup:
    return UnitGroup(name, units, tuple(slices), least=min(2, units), alike=alike)
