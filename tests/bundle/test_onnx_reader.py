"""The reader that looks at ONNX bytes before a runtime does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shoestring.bundle import onnx_reader
from shoestring.core.errors import BundleError
from tests.bundle.making import graph


def model(*nodes: onnx.NodeProto, **changes: object) -> onnx.ModelProto:
    floats = TensorProto.FLOAT
    made = helper.make_graph(
        list(nodes) or [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", floats, [1])],
        [helper.make_tensor_value_info("y", floats, [1])],
        [helper.make_tensor("w", floats, [2], [1.0, 2.0])],
    )
    opset = [helper.make_opsetid("", 19), helper.make_opsetid("com.example", 1)]
    return helper.make_model(made, opset_imports=opset, **changes)


def read(made: onnx.ModelProto) -> onnx_reader.Summary:
    return onnx_reader.read(made.SerializeToString(), "model.onnx")


def test_reads_operators_and_opsets_of_a_model_made_by_onnx() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Odd", ["a"], ["y"], domain="com.example", alpha=0.5, words=["a", "b"]),
    ]
    found = read(model(*nodes, doc_string="a text", producer_name="somebody"))
    assert found.opsets == {"": 19, "com.example": 1}
    assert found.operators == {("", "Conv"), ("com.example", "Odd")}


def test_reads_what_our_exporter_writes() -> None:
    found = onnx_reader.read(graph(resize=True), "model.onnx")
    assert found.opsets == {"": 19}
    assert ("", "Resize") in found.operators


def with_external_weights() -> onnx.ModelProto:
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("float_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"
    return made


def with_location_only() -> onnx.ModelProto:
    made = model()
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return made


def with_external_weights_in_an_attribute() -> onnx.ModelProto:
    tensor = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    return model(helper.make_node("Constant", [], ["y"], value=tensor))


def with_subgraph() -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "i", [], [])
    return model(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def with_a_graph_in_a_body() -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "i", [], [])
    outer = helper.make_graph([helper.make_node("Loop", ["n"], ["y"], body=inner)], "o", [], [])
    return model(helper.make_node("Loop", ["x"], ["y"], body=outer))


def with_weights_in_a_body() -> onnx.ModelProto:
    weights = [helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])]
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "i", [], [], initializer=weights
    )
    return model(helper.make_node("Loop", ["x"], ["y"], body=inner))


def with_functions() -> onnx.ModelProto:
    made = model()
    made.functions.add().name = "hidden"
    return made


def with_metadata() -> onnx.ModelProto:
    made = model()
    helper.set_model_props(made, {"ort_config": "{}"})
    return made


def with_sparse_weights() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add()
    return made


def with_training() -> onnx.ModelProto:
    made = model()
    made.training_info.add()
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (with_external_weights, "external data"),
        (with_location_only, "external data"),
        (with_external_weights_in_an_attribute, "external data"),
        (with_subgraph, "a graph inside a node"),
        (with_a_graph_in_a_body, "a graph inside a graph inside a node"),
        (with_weights_in_a_body, "field 5 of a body"),
        (with_functions, "functions"),
        (with_metadata, "metadata"),
        (with_sparse_weights, "sparse weights"),
        (with_training, "a training graph"),
    ],
)
def test_refuses_what_our_exporter_never_writes(make, words) -> None:
    with pytest.raises(BundleError, match=rf"model\.onnx has {words}.*never writes"):
        read(make())


def test_refuses_a_second_graph_which_a_runtime_would_merge_into_the_first() -> None:
    twice = graph() + graph()
    with pytest.raises(BundleError, match=r"two values of model\.(graph|ir_version)"):
        onnx_reader.read(twice, "model.onnx")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x0b", b"\xff" * 30, b"not a model", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x09"],
)
def test_refuses_bytes_that_are_no_model(data) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx"):
        onnx_reader.read(data, "model.onnx")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data) -> None:
    try:
        onnx_reader.read(data, "model.onnx")
    except BundleError as error:
        assert "model.onnx" in str(error)


GRAPH = graph()


@given(
    st.lists(
        st.tuples(st.integers(0, len(GRAPH) - 1), st.integers(0, 255)), min_size=1, max_size=5
    ),
    st.integers(0, len(GRAPH)),
)
def test_a_damaged_graph_is_read_or_refused(changes, cut) -> None:
    data = bytearray(GRAPH)
    for at, value in changes:
        data[at] = value
    for damaged in (bytes(data), bytes(data[:cut])):
        try:
            onnx_reader.read(damaged, "model.onnx")
        except BundleError as error:
            assert "model.onnx" in str(error)


def test_every_operator_that_onnx_would_find_is_found() -> None:
    parsed = onnx.load_from_string(GRAPH)
    names = {("", node.op_type) for node in parsed.graph.node}
    assert onnx_reader.read(GRAPH, "model.onnx").operators == names


def resizing(sides: list[int], *between: str) -> onnx.ModelProto:
    made = model(helper.make_node("Resize", ["x", *(between or ("", "")), "s"], ["y"], axes=[1, 2]))
    tensor = numpy_helper.from_array(np.array(sides, np.int64), "s")
    made.graph.initializer.append(tensor)
    return made


@pytest.mark.parametrize("sides", [[1, 4096], [28, 28], [4096]])
def test_a_resize_to_sizes_within_the_cap_is_read(sides) -> None:
    assert ("", "Resize") in read(resizing(sides)).operators


@pytest.mark.parametrize("sides", [[4097, 8], [8, 1 << 40], [0, 8], [-1, 8]])
def test_a_resize_to_other_sizes_is_refused(sides) -> None:
    with pytest.raises(BundleError, match=r"resizes to \[.*a side is 1 to 4096 pixels"):
        read(resizing(sides))


def unpacked() -> onnx.ModelProto:
    made = resizing([8, 8])
    made.graph.initializer[1].int64_data.extend([1 << 30, 8])
    return made


def computed() -> onnx.ModelProto:
    made = resizing([8, 8])
    made.graph.node[0].input[3] = "x"
    return made


def of_floats() -> onnx.ModelProto:
    made = resizing([8, 8])
    made.graph.node[0].input[3] = "w"
    return made


@pytest.mark.parametrize(
    "make",
    [
        unpacked,
        computed,
        of_floats,
        lambda: resizing([1, 8, 8, 1]),
        lambda: resizing([8, 8], "", "w"),
        lambda: resizing([8, 8], "w", ""),
        lambda: model(helper.make_node("Resize", ["x", "", "w"], ["y"])),
    ],
)
def test_a_resize_to_a_size_that_does_not_stand_in_the_graph_is_refused(make) -> None:
    with pytest.raises(BundleError, match=r"a height and a width that stand in it"):
        read(make())


def test_two_initializers_of_one_name_are_refused() -> None:
    made = resizing([8, 8])
    made.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20] * 2), "s"))
    with pytest.raises(BundleError, match=r"two initializers of one name"):
        read(made)


@pytest.mark.parametrize("numbers", [[1025, 1], [1, 1 << 62], [-1025], [-(1 << 63)]])
@pytest.mark.parametrize("name", ["pads", "kernel_shape", "strides", "dilations"])
def test_numbers_of_an_attribute_are_capped(name, numbers) -> None:
    made = model(helper.make_node("Conv", ["x", "w"], ["y"], **{name: numbers}))
    with pytest.raises(BundleError, match=rf"has {max(numbers, key=abs)} in an attribute"):
        read(made)
    assert read(model(helper.make_node("Conv", ["x", "w"], ["y"], **{name: [1024, -1024]})))


def test_numbers_of_an_attribute_are_capped_however_they_are_written() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[77, 77])
    loose = model(node).SerializeToString()
    assert loose.count(b"\x40\x4d\x40\x4d") == 1  # two fields
    with pytest.raises(BundleError, match=r"has 6777 in an attribute"):
        onnx_reader.read(loose.replace(b"\x40\x4d\x40\x4d", b"\x42\x02\xf9\x34"), "model.onnx")


def test_the_number_of_nodes_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_reader, "_MOST_NODES", 3)
    nodes = [helper.make_node("Relu", ["x"], [f"y{k}"]) for k in range(4)]
    read(model(*nodes[:3]))
    with pytest.raises(BundleError, match=r"more than 3 nodes"):
        read(model(*nodes))


def with_address() -> onnx.ModelProto:
    """The tag by which onnxruntime takes a tensor from an address in memory."""
    made = model()
    entry = made.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "*/_ORT_MEM_ADDR_/*"
    return made


def test_an_address_in_memory_is_refused_as_any_other_place() -> None:
    with pytest.raises(BundleError, match=r"model\.onnx has external data"):
        read(with_address())


def weights(**changes: object) -> onnx.ModelProto:
    """Shared weights: a model with initializers alone."""
    made = onnx.ModelProto(**changes)
    made.graph.initializer.append(helper.make_tensor("shared", TensorProto.FLOAT, [1], [1.0]))
    return made


def read_with(made: onnx.ModelProto) -> onnx_reader.Summary:
    return onnx_reader.read(GRAPH, "model.onnx", made.SerializeToString())


def test_shared_weights_add_nothing_but_initializers() -> None:
    assert read_with(weights()) == onnx_reader.read(GRAPH, "model.onnx")


def with_a_node() -> onnx.ModelProto:
    made = weights()
    made.graph.node.append(helper.make_node("Relu", ["x"], ["y"]))
    return made


def with_an_opset() -> onnx.ModelProto:
    made = weights()
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return made


def with_an_output() -> onnx.ModelProto:
    made = weights()
    made.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    return made


def with_a_name() -> onnx.ModelProto:
    made = weights()
    made.graph.name = "g"
    return made


@pytest.mark.parametrize(
    "make",
    [
        with_a_node,
        with_an_opset,
        with_an_output,
        with_a_name,
        lambda: weights(ir_version=9),
        lambda: weights(doc_string="int8"),
    ],
)
def test_shared_weights_that_hold_anything_else_are_refused(make) -> None:
    with pytest.raises(BundleError, match=r"the shared weights of model\.onnx has field \d+"):
        read_with(make())


def test_shared_weights_are_one_graph_whose_names_no_other_weight_has() -> None:
    twice = weights().SerializeToString() * 2
    with pytest.raises(BundleError, match=r"two values of weights\.graph"):
        onnx_reader.read(GRAPH, "model.onnx", twice)
    made = weights()
    made.graph.initializer[0].name = onnx.load_from_string(GRAPH).graph.initializer[0].name
    with pytest.raises(BundleError, match=r"two initializers of one name"):
        read_with(made)


@given(st.binary(max_size=200))
def test_any_bytes_beside_a_graph_are_read_or_refused(data) -> None:
    try:
        onnx_reader.read(GRAPH, "model.onnx", data)
    except BundleError as error:
        assert "model.onnx" in str(error)
