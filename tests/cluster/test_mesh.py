"""Ways of sharing, and why some cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.cluster.description import cluster
from shoestring.cluster.mesh import (
    Mesh,
    Method,
    checked,
    impossible,
    meshes,
    micro_batches,
    parse,
)
from shoestring.core.errors import UserError
from shoestring.core.workload import Shape, completed, transformer

MODEL = transformer(completed(Shape(layers=6, hidden=768, heads=12), None), 512, "small")
EIGHT = cluster("8xH100")


@pytest.mark.parametrize(
    ("mesh", "changes", "said"),
    [
        (Mesh(data=4), {}, "makes 4 devices, not 8"),
        (Mesh(pipeline=8), {}, "8 stages of 6 blocks"),
        (Mesh(data=2, pipeline=4), {"interleave": 2}, "2 parts in each of 4 stages of 6 blocks"),
        (Mesh(tensor=8), {}, "12 heads do not divide by 8"),
        (Mesh(data=8), {"batch": 12}, "a batch of 12 does not divide into 8 parts"),
        (Mesh(data=8), {"micro_batch": 3}, "8 parts of 3"),
        (Mesh(data=4, pipeline=2), {"batch": 4}, "1 micro-batches for 2 stages"),
        (Mesh(tensor=4, pipeline=2), {"sharding": "fsdp"}, "fsdp with nobody to share with"),
    ],
)
def test_impossible_meshes_say_why(mesh: Mesh, changes: dict[str, object], said: str) -> None:
    method = replace(Method(64), **changes)  # type: ignore[arg-type]
    assert said in impossible(MODEL, EIGHT, mesh, method)


def test_what_is_no_sequence_is_not_cut() -> None:
    flat = replace(MODEL, keys=0.0, heads=0)
    assert "no sequences" in impossible(flat, EIGHT, Mesh(context=8), Method(64))
    assert "no heads" in impossible(flat, EIGHT, Mesh(tensor=8), Method(64))
    odd = replace(MODEL, length=12)
    assert "a sequence of 12" in impossible(odd, EIGHT, Mesh(context=8), Method(64))


@given(st.integers(1, 16), st.integers(1, 16), st.sampled_from([512, 32768]))
def test_every_mesh_uses_every_device_once(nodes: int, each: int, length: int) -> None:
    place = replace(EIGHT, nodes=nodes, devices_a_node=each)
    found = list(meshes(replace(MODEL, length=length), place))
    assert len(found) == len(set(found))
    assert all(mesh.devices == nodes * each for mesh in found)
    assert any(mesh.context > 1 for mesh in found) == (length == 32768 and each > 1)


def test_micro_batches_divide_their_part() -> None:
    assert list(micro_batches(Mesh(data=2), 24)) == [1, 2, 4]
    assert list(micro_batches(Mesh(data=5), 24)) == []


def test_words_of_a_mesh() -> None:
    assert parse("data2xtensor4") == Mesh(data=2, tensor=4)
    assert parse("pipeline8").told() == "pipeline 8"
    assert Mesh().told() == "one device"


@pytest.mark.parametrize("words", ["", "data", "data2xdata2", "rows2", "data0", "2xdata", "dataX2"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(UserError, match="a product such as data2xtensor4"):
        parse(words)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sharding", "zero4"),
        ("checkpointing", "some"),
        ("precision", "int4"),
        ("optimizer", "lion"),
        ("fusion", "yes"),
    ],
)
def test_a_wrong_word_lists_the_right_ones(field: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{field} is one of .*, not '{value}'"):
        checked(replace(Method(8), **{field: value}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--batch is a whole number from 1, not 0"):
        checked(Method(0))
