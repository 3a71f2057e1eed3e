"""graph: writes a translator as the files that ship: ONNX graphs over one file of weights.

`encoder.onnx` reads `pieces` (A, S) and `lengths` (A,), and gives a `memory.*` of each sentence,
which stays, and the `state.*` before the first piece. A decoder makes one step for R rows:

    pieces (R,)     what each row goes on with
    parents (R,)    which row of the `state.*` given it goes on from: the states are gathered here
    grid (A, W)     the rows of each sentence; anything where it has fewer than W
    slots (R,)      the place of each row in the flattened grid

so that hypotheses of a sentence share its memory without a copy of it. All decoders give the
`next.*` states. Beside these `decoder.onnx` gives the `candidates` best log-probabilities `values`
(R, K), their pieces `top` (R, K), and `attention` (R, S); `greedy.onnx` the best piece `best`
(R, 1); `forced.onnx` all `logits` (R, V). They are apart because the runtime computes whatever
stands in a graph, wanted or not; a graph is 3 KB. `whole.onnx` is told of in `graph_whole`.

`weights.bin` holds the initializers of all, as a ModelProto with nothing else in it: protobuf
merges messages whose bytes are joined, so a tied matrix stands once and no graph names a file. In
int8 it stands as the output wants it; `table.onnx`, run once when a bundle is opened, makes of it
what pieces are looked up in.

Shapes: A sentences, S source pieces, R rows, W rows a sentence, K candidates, V pieces, N outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import RunError
from shoestring.core.run import Run
from shoestring.tasks.translation.graph_weights import Weights
from shoestring.tasks.translation.quantize import integers, per_column
from shoestring.tasks.translation.steps import (
    DECODER,
    ENCODER,
    FORCED,
    GREEDY,
    ROUNDED,
    TABLE,
    WHOLE,
)

if TYPE_CHECKING:
    from shoestring.tasks.translation.model import Translator

WEIGHTS = "weights.bin"
TOKENIZER = "tokenizer.model"
OPSET = 19
IR_VERSION = 9  # the oldest that carries opset 19: older runtimes can read it
# As ONNX numbers them.
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 9, 10
RUNTIME_DOMAIN = "com.microsoft"
_BLOCKS = (32, 40, 25, 50, 20, 64, 16)  # pieces, of which the best ones are found first
MASKED = -1e9  # of attention scores at padding

Array = NDArray[Any]


def to_onnx(model: Translator, run: Run) -> Mapping[str, bytes]:
    """The files of a bundle. The tokenizer is the one in the run's folder."""
    return {**graphs(model, integers(run.quantization)), TOKENIZER: tokenizer_of(run)}


def tokenizer_of(run: Run) -> bytes:
    """The file that ships; RunError where it is gone."""
    path = run.path / TOKENIZER
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({error.strerror or error}), and without its tokenizer a "
            "translator is of no use; train again"
        ) from error


def graphs(model: Translator, int8: bool) -> dict[str, bytes]:
    """The graphs and weights.bin."""
    from shoestring.tasks.translation import (
        graph_alone,
        graph_lstm,
        graph_transformer,
        graph_whole,
    )
    from shoestring.tasks.translation.lstm import LstmTranslator

    weights = Weights()
    recurrent = isinstance(model, LstmTranslator)
    writes = graph_lstm if recurrent else graph_transformer
    found: dict[str, Writer] = {ENCODER: Writer(weights, int8)}
    writes.encoder(model, found[ENCODER])
    for name in (DECODER, GREEDY, FORCED):
        found[name] = Writer(weights, int8)
        logits, attention = writes.decoder(model, found[name])
        found[name].answer(name, logits, attention, model.output.out_features)
    found[WHOLE] = graph_whole.write(model, graph_lstm if recurrent else graph_alone, weights, int8)
    if int8:
        found[TABLE] = target = Writer(weights, int8)
        target.table(floats(model.embedding.weight))
        if not model.tied:
            found[f"target.{TABLE}"] = target = Writer(weights, int8)
        writes.target_tables(model, target)
    return {name: graph.to_bytes() for name, graph in found.items()} | {WEIGHTS: weights.to_bytes()}


def floats(tensor: Any) -> NDArray[np.float32]:
    """A parameter of the network as an array of its own."""
    found: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return found


class Writer:
    """Collects the nodes of one graph and hands out names."""

    def __init__(self, weights: Weights, int8: bool) -> None:
        self.weights, self.int8 = weights, int8
        self._onnx = weights.onnx
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._names = (f"v{number}" for number in count())
        self._foreign = False
        self._read_inside: set[str] = set()  # by graphs inside nodes

    @property
    def inputs(self) -> list[str]:
        """Their names."""
        return [known.name for known in self._inputs]

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def fresh(self) -> str:
        """A name for a value."""
        return next(self._names)

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Adds one node; `options` are its ONNX attributes. Returns the name of its output."""
        return self.several(operator, *inputs, outputs=[output or self.fresh()], **options)[0]

    def several(
        self, operator: str, *inputs: str, outputs: int | list[str], **options: Any
    ) -> list[str]:
        """The same with more outputs; an empty name is one that nobody reads."""
        names = outputs if isinstance(outputs, list) else [self.fresh() for _ in range(outputs)]
        self._foreign |= options.get("domain") == RUNTIME_DOMAIN
        if "body" in options:
            inside = options["body"].node
            self._read_inside.update(*(node.input for node in inside))
            self._foreign |= any(node.domain == RUNTIME_DOMAIN for node in inside)
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, names, **options))
        return names

    def constant(self, values: Array) -> str:
        return self.weights.name(values)

    def rows(self, value: str, places: str) -> str:
        """Of a value of rows, those at the places."""
        return self.node("Gather", value, places)

    def gridded(self, value: str, grid: str) -> str:
        """Of a value of rows, (A, W) of them: those of each sentence."""
        return self.node("Gather", value, grid)

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        """A list of int64."""
        return self.constant(np.array(values, np.int64))

    # --- what both networks are made of ---

    def bounded(self, value: str, step: float) -> str:
        """Values from -127 to 127 steps as unsigned bytes around 128. The step is known before,
        so that what stands in other rows changes nothing."""
        return self.node("QuantizeLinear", value, self.number(step), self._middle())

    def product(self, bytes_RK: str, step: float, weight_KN: Array, bias_N: Array | None) -> str:
        """What `bounded` gave, times a matrix."""
        whole, scale = per_column(weight_KN)
        bias = [] if bias_N is None else [self.constant(bias_N)]
        return self._product(bytes_RK, self.number(step), self._middle(), whole, scale, bias)

    def linear(
        self, value: str, weight_NK: Array, bias_N: Array | None, step: float | None = None
    ) -> str:
        """weight @ value + bias along the last axis. In int8 the values are taken in `step`s where
        that is given, else in what their own range of this call asks for."""
        if not self.int8:
            product = self.node("MatMul", value, self.constant(weight_NK.T))
            return product if bias_N is None else self.node("Add", product, self.constant(bias_N))
        if step is not None:
            return self.product(self.bounded(value, step), step, weight_NK.T, bias_N)
        whole, scale = per_column(weight_NK.T)
        found, step_, zero = self.several("DynamicQuantizeLinear", value, outputs=3)
        bias = [] if bias_N is None else [self.constant(bias_N)]
        return self._product(found, step_, zero, whole, scale, bias)

    def _product(
        self, bytes_RK: str, step: str, zero: str, whole: Array, scale: Array, bias: list[str]
    ) -> str:
        inputs = [bytes_RK, self.constant(whole), step, self.constant(scale), zero]
        return self.node(
            "MatMulIntegerToFloat", *inputs, *(["", *bias] if bias else []), domain=RUNTIME_DOMAIN
        )

    def _middle(self) -> str:
        return self.constant(np.array(128, np.uint8))

    def embedded(self, pieces: str, table_VE: Array) -> str:
        """Rows of a table. In int8 they come from the `table` that `table.onnx` makes of the
        output's matrix, so that one array serves both where they are tied."""
        if not self.int8:
            return self.node("Gather", self.constant(table_VE), pieces)
        return self._stepped(self.input("table", INT8, table_VE.shape), table_VE, pieces)

    def residual(self, value_RH: str, more_RH: str) -> str:
        return self.node("Add", value_RH, more_RH)

    def normed(self, value_RH: str, weight_H: Array, bias_H: Array, epsilon: float) -> str:
        """Layer normalization of the last axis."""
        inputs = [value_RH, self.constant(weight_H), self.constant(bias_H)]
        return self.node("LayerNormalization", *inputs, axis=-1, epsilon=epsilon)

    def table(self, table_VE: Array) -> str:
        """The table of a table.onnx, in whole steps."""
        whole = self.constant(per_column(table_VE.T).whole)
        self.node("Transpose", whole, perm=[1, 0], output="table")
        return self.output("table", INT8, table_VE.shape)

    def rows_of(self, table_VE: Array) -> str:
        """All rows of what `table` gives, as `embedded` has them."""
        whole = self.constant(per_column(table_VE.T).whole)
        return self._stepped(self.node("Transpose", whole, perm=[1, 0]), table_VE, None)

    def _stepped(self, table: str, table_VE: Array, pieces: str | None) -> str:
        steps = self.constant(per_column(table_VE.T).scale)
        if pieces is not None:
            table, steps = (self.node("Gather", value, pieces) for value in (table, steps))
        return self.node(
            "Mul",
            self.node("Cast", table, to=FLOAT),
            self.node("Unsqueeze", steps, self.whole(-1)),
        )

    def output_logits(
        self, value_RE: str, table_VE: Array, bias_V: Array, step: float | None
    ) -> str:
        """(R, V). The table as `embedded` has it."""
        if self.int8:
            return self.linear(value_RE, table_VE, bias_V, step)
        return self.node("Gemm", value_RE, self.constant(table_VE), self.constant(bias_V), transB=1)

    def answer(self, name: str, logits_RV: str, attention_RS: str, pieces: int) -> None:
        """What the decoder of this name makes of (R, V) logits. The best of a block each are found
        quickly, and the best of all stand in the blocks of these."""
        block = next((size for size in _BLOCKS if pieces % size == 0 and pieces > size), 1)
        shape = self.whole(-1, pieces // block, block)
        if name == FORCED:
            self._outputs_as("logits", logits_RV, FLOAT, ["r", pieces])
        elif name == GREEDY:
            blocks = self.node("Reshape", logits_RV, shape)
            largest = self.node("ReduceMax", blocks, self.whole(2), keepdims=0)
            which = self.node("ArgMax", largest, axis=1)
            within = self.node("ArgMax", self.node("GatherND", blocks, which, batch_dims=1), axis=1)
            first = self.node("Mul", which, self.whole(block))
            self.node("Add", first, within, output="best")
            self.output("best", INT64, ["r", 1])
        else:
            candidates = self.input("candidates", INT64, [1])
            shares = self.node("Softmax", logits_RV, axis=1)
            blocks = self.node("Reshape", shares, shape)
            found, top = self._best_of_blocks(blocks, candidates, block)
            self.node("Log", found, output="values")
            self.output("values", FLOAT, ["r", "k"])
            self._outputs_as("top", top, INT64, ["r", "k"])
            self._outputs_as("attention", attention_RS, FLOAT, ["r", "s"])

    def _best_of_blocks(self, blocks: str, candidates: str, block: int) -> tuple[str, str]:
        """(R, K) largest values and their places. Where there are fewer blocks than candidates,
        all of the blocks are looked through."""
        largest = self.node("ReduceMax", blocks, self.whole(2), keepdims=0)
        there = self.node("Shape", largest, start=1)
        count = self.node("Min", candidates, there)
        _, which = self.several("TopK", largest, count, outputs=2, axis=1)
        near = self.node(
            "GatherND", blocks, self.node("Unsqueeze", which, self.whole(2)), batch_dims=1
        )
        near = self.node("Reshape", near, self.whole(0, -1))
        found, at = self.several("TopK", near, candidates, outputs=2, axis=1)
        size = self.whole(block)
        first = self.node("GatherElements", which, self.node("Div", at, size), axis=1)
        first = self.node("Mul", first, size)
        return found, self.node("Add", first, self.node("Mod", at, size))

    def _outputs_as(self, name: str, value: str, kind: int, shape: Sequence[int | str]) -> None:
        """Gives a value under a name of its own: the last node that made it is renamed."""
        for node in reversed(self._nodes):
            for place, made in enumerate(node.output):
                if made == value:
                    node.output[place] = name
                    self.output(name, kind, shape)
                    return
        raise AssertionError(value)

    def to_graph(self, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        """The nodes as an onnx GraphProto that reads and gives these, in this order."""
        read, nodes = {*outputs, *self._read_inside}, []
        for node in reversed(self._nodes):  # what nobody reads would be computed all the same
            if read.intersection(node.output):
                read.update(node.input)
                nodes.append(node)
        taken, given = ({v.name: v for v in known} for known in (self._inputs, self._outputs))
        ends = [taken[name] for name in inputs], [given[name] for name in outputs]
        return self._onnx.helper.make_graph(nodes[::-1], "g", *ends)

    def to_bytes(self) -> bytes:
        helper = self._onnx.helper
        graph = self.to_graph(self.inputs, [known.name for known in self._outputs])
        opsets = [helper.make_opsetid("", OPSET)]
        if self._foreign:
            opsets.append(helper.make_opsetid(RUNTIME_DOMAIN, 1))
        options = {"doc_string": ROUNDED} if self.int8 else {}
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **options)
        return bytes(model.SerializeToString(deterministic=True))
