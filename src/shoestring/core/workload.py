"""workload: what training on one example costs, told without saying what an example is.

A task describes the model that a person has in mind as a `Workload`; the planner asks for nothing
else. Elements are numbers of an array, whatever their width; MACs are those of a forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain

ASPECT = 100  # width over depth where nobody said: GPT-3's are 64 to 128, Kaplan et al. 2020
HEAD = 128  # width of a head where nobody said
# Whose heads divide over devices, which is what is built.
WIDTHS = (64, *(HEAD * heads for heads in (1, 2, 4, 6, 8, 12, *range(16, 257, 8))))
AGREES = 0.2  # how far asked parameters may lie from those of an asked shape


@dataclass(frozen=True)
class Workload:
    """One example through one model. `blocks` equal parts stand in a row; what stands before and
    behind them (embedding, output) is `outside`."""

    told: str  # for a person: what was assumed
    unit: str  # what throughput is counted in: tokens, examples
    length: int  # units in an example
    parameters: float
    outside: float  # parameters of no block
    blocks: int
    matrix_macs: float  # products with weights, in blocks
    output_macs: float  # products with the output's weights
    attention_macs: float  # products of activations with each other
    kept: float  # elements that a block keeps for its backward pass
    selected: float  # elements of them, where half of the products are computed again
    boundary: float  # elements at a block's edge
    output: float  # elements that the loss reads
    width: float  # the narrowest side of a block's weights
    heads: int = 0  # what splitting a block's weights has to divide; 0: they are not split
    scores: float = 0.0  # elements of a block's attention matrices, where they are written out
    keys: float = 0.0  # elements of a block's keys and values; 0: no cutting along the sequence
    tied: bool = False  # what stands before the blocks and behind them are the same parameters
    usual: bool = False  # whether published trainings of such models calibrate the constants

    @property
    def macs(self) -> float:
        """Of a forward pass of one example."""
        return self.matrix_macs + self.output_macs + self.attention_macs

    @property
    def block_parameters(self) -> float:
        return (self.parameters - self.outside) / self.blocks


@dataclass(frozen=True)
class Size:
    """What is known of a model beforehand; of a run's, everything."""

    parameters: float | None = None
    macs: float | None = None  # of one example, forward
    architecture: Plain | None = None  # of a run


class Planned(Protocol):
    """What a task says of trainings that nobody has run yet."""

    plan_options: type[Any]  # frozen dataclass: what a person may say of such a model

    def planned(self, size: Size, options: Any) -> Workload:
        """The workload of a model of that size; `options` are `plan_options`. UserError where too
        little is known, or it contradicts itself. No torch."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer. What is 0 follows from the others."""

    layers: int = 0
    hidden: int = 0
    heads: int = 0
    key_value_heads: int = 0  # fewer than heads: grouped (Ainslie et al. 2023)
    feed_forward: int = 0  # 4 x hidden
    gated: bool = False  # three matrices in the feed-forward part (Shazeer 2020)
    crossed: bool = False  # half of the blocks also attend to the source
    vocabulary: int = 32_000
    tied: bool = True  # one matrix for embedding and output

    def weights(self) -> float:
        """Of a block: attention 2h^2 + 2h^2 x keys over heads, feed-forward 8h^2 as a rule."""
        wide, keys = self.hidden, self.hidden * self.key_value_heads / self.heads
        attention = 2.0 * wide * wide + 2.0 * wide * keys
        return attention * (1.5 if self.crossed else 1.0) + (
            (3 if self.gated else 2) * wide * self.feed_forward
        )

    def outside(self) -> float:
        return (1.0 if self.tied else 2.0) * self.vocabulary * self.hidden


def completed(shape: Shape, parameters: float | None) -> Shape:
    """The shape with what was left open: a width of about ASPECT times the depth that makes the
    parameters. UserError where the two contradict each other, or neither is there."""
    if shape.hidden and shape.layers:
        found = _filled(shape, shape.hidden, shape.layers)
        made = found.weights() * found.layers + found.outside()
        if parameters is not None and abs(parameters - made) > AGREES * made:
            raise UserError(
                f"{shape.layers} layers of {shape.hidden} units make {made / 1e9:.3g}B parameters, "
                f"not {parameters / 1e9:.3g}B: leave one of them out"
            )
        return found
    if parameters is None:
        raise UserError("say how large the model is: --parameters, or --layers with --hidden")
    widths = (shape.hidden,) if shape.hidden else WIDTHS
    tried = [f for h in widths if (f := _deep(shape, h, parameters)) is not None]
    if not tried:
        raise UserError(
            f"{parameters:,.0f} parameters are too few for an embedding of "
            f"{shape.vocabulary:,} pieces: say --vocabulary, or --layers with --hidden"
        )

    def miss(found: Shape) -> float:
        made = found.weights() * found.layers + found.outside()
        aspect = found.hidden / found.layers / ASPECT
        return abs(made / parameters - 1) * 8 + max(aspect, 1 / aspect)

    return min(tried, key=miss)


def _deep(shape: Shape, hidden: int, parameters: float) -> Shape | None:
    one = _filled(shape, hidden, 1)
    unit = 2 if shape.crossed else 1  # as many blocks in the encoder as in the decoder
    layers = shape.layers or unit * round((parameters - one.outside()) / one.weights() / unit)
    return _filled(shape, hidden, layers) if layers >= 1 else None


def _filled(shape: Shape, hidden: int, layers: int) -> Shape:
    heads = shape.heads or max(1, hidden // HEAD)
    return replace(
        shape,
        hidden=hidden,
        layers=layers,
        heads=heads,
        key_value_heads=shape.key_value_heads or heads,
        feed_forward=shape.feed_forward or 4 * hidden,
    )


def transformer(
    shape: Shape, sequence: int, told: str, parameters: float | None = None
) -> Workload:
    """The workload of a complete shape, an example being `sequence` tokens that see only what came
    before them.

    Products with weights are one MAC a weight and token; with 3 passes of 2 operations that is the
    6ND of Kaplan et al. 2020 and Hoffmann et al. 2022. Kept elements follow Korthikanti et al. 2022
    (34 bytes a token and unit of width, of 2 bytes each, without the 5as/h that attention tile by
    tile never writes: Dao et al. 2022), counted for the feed-forward width and the keys that the
    shape has. Selected: every second product's answer is kept, and the blocks' inputs.
    """
    wide, length = float(shape.hidden), float(sequence)
    keys = wide * shape.key_value_heads / shape.heads
    inner = float(shape.feed_forward)
    crossing = 1.5 if shape.crossed else 1.0
    # Norms' inputs and outputs and the residual: 5; queries, keys and values, and the answer.
    kept = 5 * wide + (2 * wide + 2 * keys) * crossing + (3 if shape.gated else 2.0) * inner
    selected = 4 * wide + keys + inner
    made = shape.weights() * shape.layers + shape.outside()
    return Workload(
        told=told,
        unit="tokens",
        length=sequence,
        parameters=made if parameters is None else parameters,
        outside=shape.outside(),
        blocks=shape.layers,
        matrix_macs=shape.weights() * shape.layers * length,
        output_macs=wide * shape.vocabulary * length,
        # Two products of length x length, half of them masked; crossed: 2 in the encoder, which
        # masks nothing, and 3 in the decoder.
        attention_macs=wide * length * length * shape.layers * (2.5 if shape.crossed else 1.0),
        kept=kept * length,
        selected=selected * length,
        boundary=wide * length,
        output=shape.vocabulary * length,
        width=wide,
        heads=shape.key_value_heads,
        scores=shape.heads * length * length,
        keys=2 * keys * length,
        tied=shape.tied,
        usual=True,
    )
