"""session: opens ONNX graphs from bytes that were checked, with a cap and a list of operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.bundle import onnx_reader
from shoestring.core.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime

CAP_BYTES = 1 << 30  # of all files of a bundle together

# What our exporters write, and nothing else. None of these reads a file, and a graph ends: the
# recurrent operators take as many steps as their input is long, a Loop at most as many as whoever
# runs it says, and the reader refuses other graphs inside nodes. Its memory is not bounded by that:
# MatMul, Gather and broadcasting make large tensors of small ones, a row of padding Conv grows a
# picture, and a state may double at each step of a Loop. onnx_reader caps single sizes, not what
# they come to. An operator stays on the list for ever: old bundles load for ever.
OPERATORS = frozenset(
    """
    Add ArgMax AveragePool Cast Clip Concat Conv ConvInteger DequantizeLinear Div
    DynamicQuantizeLinear Equal Erf Flatten Gather GatherElements GatherND Gemm GlobalAveragePool
    HardSwish Identity LSTM LayerNormalization LeakyRelu Log Loop MatMul MaxPool Min Mod Mul
    QLinearConv QuantizeLinear ReduceMax ReduceMean Relu Reshape Resize Shape Sigmoid Softmax Split
    Squeeze Tanh TopK Transpose Unsqueeze Where
    """.split()
)
# Operators of the runtime's own that are let in one by one: products of integers, and what stands
# for several nodes in the graph of one sentence, where each node counts.
RUNTIME_DOMAIN = "com.microsoft"
RUNTIME_OPERATORS = frozenset(
    "DynamicQuantizeLSTM MatMulIntegerToFloat MultiHeadAttention SkipLayerNormalization".split()
)


def open_graph(
    data: bytes, name: str, *, shared: bytes = b"", threads: int | None = None
) -> onnxruntime.InferenceSession:
    """A session on one thread or several (None: all cores). BundleError, naming the file, for a
    graph that is damaged or asks for more than a graph of ours may.

    `shared` are weights that several graphs have in common: a ModelProto that holds nothing but
    initializers. Messages of protobuf merge when their bytes are joined, so what is opened is one
    model from memory, and no graph names a file. Weights that this graph does not use are dropped
    by the runtime.
    """
    summary = onnx_reader.read(data, name, shared)
    own = ("", "ai.onnx")
    for domain, version in sorted(summary.opsets.items()):
        if domain not in own and (domain != RUNTIME_DOMAIN or version != 1):
            raise BundleError(
                f"{name} uses operators of {domain!r}; shoestring does not write them"
            )
    for domain, operator in sorted(summary.operators):
        known = OPERATORS if domain in own else RUNTIME_OPERATORS
        if operator not in known or domain not in (*own, RUNTIME_DOMAIN):
            full = f"{domain}.{operator}" if domain else operator
            raise BundleError(f"{name} uses the operator {full!r}, which shoestring never writes")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The runtime would else guess the format from the first bytes, and read another one.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # It would else compute whatever the constants of a graph say while it opens it, at any size.
    # Our exporters leave nothing to fold.
    options.add_session_config_entry("optimization.disable_specified_optimizers", "ConstantFolding")
    try:
        return onnxruntime.InferenceSession(
            data + shared, options, providers=["CPUExecutionProvider"]
        )
    except runtime_errors() as error:
        raise BundleError(f"onnxruntime cannot open {name}: {_first_line(error)}") from error


def runtime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises. Its exceptions have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*own, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
