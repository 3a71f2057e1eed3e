"""Opening graphs from bytes."""

from __future__ import annotations

import os
import subprocess
import sys

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
        BundleError, match=r"model\.onnx uses the operator 'Scan', which shoestring"
    ):
        session.open_graph(changed("Scan"), "model.onnx")


def test_refuses_operators_of_another_domain() -> None:
    with pytest.raises(BundleError, match=r"operators of 'com\.example'"):
        session.open_graph(changed("Relu", "", "com.example"), "model.onnx")
    with pytest.raises(BundleError, match=r"the operator 'ai\.onnx\.ml\.Relu'"):
        session.open_graph(changed("Relu", "ai.onnx.ml"), "model.onnx")


@pytest.mark.parametrize("operator", ["Relu", "FusedGemm", "GatherND", "FusedMatMul"])
def test_of_the_runtime_s_own_operators_only_single_ones_are_let_in(operator) -> None:
    full = rf"the operator 'com\.microsoft\.{operator}'"
    with pytest.raises(BundleError, match=full):
        session.open_graph(changed(operator, "com.microsoft", "com.microsoft"), "model.onnx")


def test_the_runtime_s_own_operators_are_of_one_version() -> None:
    parsed = onnx.load_from_string(graph())
    parsed.opset_import.append(helper.make_opsetid("com.microsoft", 2))
    with pytest.raises(BundleError, match=r"operators of 'com\.microsoft'"):
        session.open_graph(parsed.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("operator", ["If", "Scan", "SequenceMap", "Expand", "Range", "Tile"])
def test_nothing_that_loops_by_itself_or_makes_large_things_of_nothing_is_let_in(operator) -> None:
    assert operator not in session.OPERATORS | session.RUNTIME_OPERATORS
    with pytest.raises(BundleError, match=rf"the operator '{operator}'"):
        session.open_graph(changed(operator), "model.onnx")


def counting(operator: str = "Add", **tensors: onnx.TensorProto) -> onnx.ModelProto:
    """found = the numbers from 1 to `limit`, which is an input; `tensors` are initializers."""
    number, numbers = TensorProto.INT64, helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node(operator, ["before", "one"], ["after"]),
            helper.make_node("Identity", ["goes"], ["goes.on"]),
            helper.make_node("Identity", ["after"], ["seen"]),
        ],
        "b",
        [
            numbers("step", number, []),
            numbers("goes", TensorProto.BOOL, []),
            numbers("before", number, []),
        ],
        [
            numbers("goes.on", TensorProto.BOOL, []),
            numbers("after", number, []),
            numbers("seen", number, []),
        ],
    )
    loop = helper.make_node("Loop", ["limit", "yes", "none"], ["last", "found"], body=body)
    known = {
        "yes": helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        "none": helper.make_tensor("none", number, [], [0]),
        "one": helper.make_tensor("one", number, [], [1]),
        **tensors,
    }
    made = helper.make_graph(
        [loop],
        "g",
        [numbers("limit", number, [])],
        [numbers("found", number, ["t"])],
        list(known.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_a_loop_takes_as_many_steps_as_it_is_told() -> None:
    opened = session.open_graph(counting().SerializeToString(), "a.onnx", threads=1)
    (found,) = opened.run(None, {"limit": np.array(3)})
    assert found.tolist() == [1, 2, 3]


def test_operators_inside_a_loop_are_looked_at_like_all_others() -> None:
    with pytest.raises(BundleError, match=r"the operator 'Pow'"):
        session.open_graph(counting("Pow").SerializeToString(), "a.onnx")


def test_a_loop_that_counts_by_itself_is_refused() -> None:
    made = counting(limit=helper.make_tensor("limit", TensorProto.INT64, [], [1 << 40]))
    with pytest.raises(BundleError, match=r"a\.onnx loops as often as it says itself"):
        session.open_graph(made.SerializeToString(), "a.onnx")
    shared = onnx.ModelProto()
    shared.graph.initializer.extend(made.graph.initializer[-1:])
    with pytest.raises(BundleError, match="loops as often as it says itself"):
        session.open_graph(
            counting().SerializeToString(), "a.onnx", shared=shared.SerializeToString()
        )
    for count in ("", "none", "last"):
        made = counting()
        made.graph.node[0].input[0] = count
        with pytest.raises(BundleError, match="loops as often as it says itself"):
            session.open_graph(made.SerializeToString(), "a.onnx")


def of_shared_weights() -> bytes:
    """y = x + w, whose w is elsewhere."""
    floats = TensorProto.FLOAT
    made = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", floats, [2])],
        [helper.make_tensor_value_info("y", floats, [2])],
    )
    opsets = [helper.make_opsetid("", 19)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())


def weights(**values: list[float]) -> bytes:
    made = onnx.ModelProto()
    for name, numbers in values.items():
        made.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [2], numbers))
    return bytes(made.SerializeToString())


def test_graphs_share_weights_that_stand_beside_them() -> None:
    shared = weights(w=[1.0, 2.0], of_another_graph=[3.0, 4.0])
    opened = session.open_graph(of_shared_weights(), "a.onnx", shared=shared, threads=1)
    (found,) = opened.run(None, {"x": np.zeros(2, np.float32)})
    assert found.tolist() == [1.0, 2.0]
    with pytest.raises(BundleError, match=r"onnxruntime cannot open a\.onnx"):
        session.open_graph(of_shared_weights(), "a.onnx", shared=weights(v=[1.0, 2.0]))


def test_shared_weights_are_looked_at_as_the_graph_is() -> None:
    hostile = onnx.load_from_string(weights(w=[1.0, 2.0]))
    entry = hostile.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "*/_ORT_MEM_ADDR_/*"
    with pytest.raises(BundleError, match=r"the shared weights of a\.onnx has external data"):
        session.open_graph(of_shared_weights(), "a.onnx", shared=hostile.SerializeToString())


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


OPENED_BY_ITSELF = """
import resource, sys
from shoestring.bundle import session
from tests_graph import plain, hostile
session.open_graph(plain, "model.onnx", threads=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
session.open_graph(hostile, "model.onnx", threads=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def product(side: int) -> bytes:
    """x times (a column times a row of constants): folded, side * side floats."""
    floats = TensorProto.FLOAT
    column, row = (
        helper.make_tensor(name, floats, shape, np.ones(side, np.float32).tobytes(), raw=True)
        for name, shape in (("u", [side, 1]), ("v", [1, side]))
    )
    made = helper.make_graph(
        [helper.make_node("MatMul", ["u", "v"], ["w"]), helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", floats, None)],
        [helper.make_tensor_value_info("y", floats, None)],
        [column, row],
    )
    opsets = [helper.make_opsetid("", 19)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())


def test_opening_a_graph_computes_none_of_its_constants(tmp_path) -> None:
    graphs = f"plain = {product(4)!r}\nhostile = {product(8000)!r}\n"
    (tmp_path / "tests_graph.py").write_text(graphs)
    words = [sys.executable, "-c", OPENED_BY_ITSELF]
    paths = [str(tmp_path), *filter(None, sys.path)]
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64_000  # folded it is 256,000 kilobytes


def test_the_runtime_never_guesses_another_format_from_the_first_bytes() -> None:
    # A doc_string that puts the mark of onnxruntime's own format where it looks for it.
    disguised = b"\x32\x06\x00\x00ORTM" + graph()
    assert disguised[4:8] == b"ORTM"
    opened = session.open_graph(disguised, "model.onnx", threads=1)
    assert opened.get_inputs()[0].name == "pixels"
