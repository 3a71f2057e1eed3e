"""planning: what training a translator costs, told before there is one. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.core.workload import Shape, Size, Workload, completed, transformer
from shoestring.tasks.translation.architecture import decoder_units, encoder_units

RECURRENT_KEPT = 9  # arrays of a recurrent layer: 4 gates and their inputs' sum, state, output


@dataclass(frozen=True)
class PlanOptions:
    sequence: int = 512  # tokens of the target in an example, and as many of the source
    layers: int | None = None  # encoder and decoder together; None: from the parameters
    hidden: int | None = None  # width; None: from the parameters
    heads: int | None = None  # of attention; None: one for each 128 of the width
    vocabulary: int = 32_000  # pieces of both languages

    def __post_init__(self) -> None:
        for name in ("sequence", "layers", "hidden", "heads", "vocabulary"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is a whole number from 1, not {value}")
        if self.hidden and self.heads and self.hidden % self.heads:
            raise UserError(f"hidden is {self.hidden}, which {self.heads} heads do not divide")


def planned(size: Size, options: PlanOptions) -> Workload:
    """An encoder and a decoder of equal depth, as a row of average blocks: half of them attend to
    the source as well. A token is one of the target, with one of the source at its side, so that
    training takes 6 operations a parameter and token."""
    if size.architecture is not None:
        return _of_run(size, size.architecture, options)
    asked = Shape(
        layers=options.layers or 0,
        hidden=options.hidden or 0,
        heads=options.heads or 0,
        crossed=True,
        vocabulary=options.vocabulary,
    )
    shape = completed(asked, size.parameters)
    guessed = "" if options.layers and options.hidden else " (a shape of that size, assumed)"
    told = (
        f"Transformer encoder and decoder, together {shape.layers} blocks of {shape.hidden} units, "
        f"{shape.heads} heads{guessed}, {options.vocabulary:,} pieces, {options.sequence} tokens a "
        "side"
    )
    return transformer(shape, options.sequence, told, size.parameters)


def _of_run(size: Size, a: Plain, options: PlanOptions) -> Workload:
    if a.get("kind") == "lstm":
        return _recurrent(size, a, options)
    if "units" not in a:
        raise UserError(f"a network of the kind {a.get('kind')!r} cannot be planned: name a member")
    shape = Shape(
        layers=int(a["encoder_layers"]) + int(a["decoder_layers"]),
        hidden=int(a["units"]),
        heads=int(a["heads"]),
        key_value_heads=int(a["heads"]),
        feed_forward=int(a["feed_forward"]),
        crossed=True,
        vocabulary=int(a["pieces"]),
        tied=bool(a["tied"]),
    )
    told = (
        f"{a['kind']} of the run: {shape.layers} blocks of {shape.hidden} units, "
        f"{options.sequence} tokens a side"
    )
    return transformer(shape, options.sequence, told, size.parameters)


def _recurrent(size: Size, a: Plain, options: PlanOptions) -> Workload:
    """Products with weights as if all steps stood side by side, which they do not: an upper bound
    of the rate. Recurrent layers are not split over devices."""
    encoder, decoder = encoder_units(a), decoder_units(a)
    layers = [2 * units for units in encoder] + decoder
    length, pieces, width = options.sequence, int(a["pieces"]), float(decoder[-1])
    outside = float(pieces * int(a["embedding"]))
    parameters = size.parameters or outside
    told = (
        f"LSTM of the run: {len(layers)} layers, {length} tokens a side; recurrent steps wait for "
        "each other, which this plan leaves out"
    )
    return Workload(
        told=told,
        unit="tokens",
        length=length,
        parameters=parameters,
        outside=min(outside, 0.9 * parameters),
        blocks=len(layers),
        matrix_macs=max(parameters - outside, 0.1 * parameters) * length,
        output_macs=width * pieces * length,
        attention_macs=2 * width * length * length,
        kept=RECURRENT_KEPT * sum(layers) / len(layers) * length,
        selected=RECURRENT_KEPT / 2 * sum(layers) / len(layers) * length,
        boundary=max(layers) * float(length),
        output=float(pieces) * length,
        width=float(min(layers)),
        tied=bool(a["tied"]),
    )
