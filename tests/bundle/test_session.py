"""Opening graphs from bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shoestring.bundle import session
from shoestring.core.errors import BundleError
from tests.bundle.making import graph


def changed(operator: str, domain: str = "", opset: str = "") -> bytes:
    parsed = onnx.load_from_string(graph())
    parsed.graph.node[-1].op_type = operator
    if domain:
        parsed.graph.node[-1].domain = domain
    if opset:
        parsed.opset_import.append(helper.make_opsetid(opset, 1))
    return bytes(parsed.SerializeToString())


def test_opens_our_graph_and_answers() -> None:
    opened = session.open_graph(graph(), "model.onnx", threads=1)
    assert opened.get_session_options().intra_op_num_threads == 1
    assert opened.get_providers() == ["CPUExecutionProvider"]
    rows = opened.run(None, {"pixels": np.zeros((2, 8, 8, 1), np.uint8)})[0]
    assert np.allclose(rows.sum(axis=1), 1)


def test_refuses_an_operator_that_our_exporter_never_writes() -> None:
    with pytest.raises(
        BundleError, match=r"model\.onnx uses the operator 'Loop', which shoestring"
    ):
        session.open_graph(changed("Loop"), "model.onnx")


def test_refuses_operators_of_another_domain() -> None:
    with pytest.raises(BundleError, match=r"operators of 'com\.microsoft'"):
        session.open_graph(changed("Relu", "com.microsoft", "com.microsoft"), "model.onnx")
    with pytest.raises(BundleError, match=r"the operator 'ai\.onnx\.ml\.Relu'"):
        session.open_graph(changed("Relu", "ai.onnx.ml"), "model.onnx")


def test_a_graph_that_the_runtime_refuses_is_a_bundle_error() -> None:
    floats = TensorProto.FLOAT
    made = helper.make_graph(
        [helper.make_node("Add", ["pixels", "missing"], ["probabilities"])],
        "g",
        [helper.make_tensor_value_info("pixels", floats, [1])],
        [helper.make_tensor_value_info("probabilities", floats, [1])],
    )
    opsets = [helper.make_opsetid("", 19)]
    data = helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()
    with pytest.raises(BundleError, match=r"onnxruntime cannot open model\.onnx"):
        session.open_graph(data, "model.onnx")


def test_the_runtime_never_guesses_another_format_from_the_first_bytes() -> None:
    # A doc_string that puts the mark of onnxruntime's own format where it looks for it.
    disguised = b"\x32\x06\x00\x00ORTM" + graph()
    assert disguised[4:8] == b"ORTM"
    opened = session.open_graph(disguised, "model.onnx", threads=1)
    assert opened.get_inputs()[0].name == "pixels"
