"""How long a step takes: bounds that hold whatever the constants."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.cluster.description import cluster
from shoestring.cluster.efficiency import CONSTANTS, efficiency
from shoestring.cluster.mesh import Mesh, Method
from shoestring.cluster.roofline import Times, step
from shoestring.core.workload import Shape, completed, transformer

MODEL = transformer(
    completed(Shape(layers=32, hidden=4096, heads=32, vocabulary=32000), None), 4096, "7B"
)


def of(words: str, mesh: Mesh, batch: int = 256, **changes: object) -> Times:
    method = replace(Method(batch), **changes)  # type: ignore[arg-type]
    return step(MODEL, cluster(words), mesh, method)


def test_one_device_sends_nothing() -> None:
    found = of("H100", Mesh())
    assert found.tensor == found.context == found.data == found.pipeline == 0
    assert found.step > 6 * MODEL.macs * 256 / cluster("H100").device.rate("bfloat16")


def test_computing_again_takes_a_third_more() -> None:
    none, full = of("H100", Mesh()), of("H100", Mesh(), checkpointing="full")
    assert 4 / 3 * 0.97 <= full.matrix / none.matrix <= 4 / 3  # the output is not computed again


def test_a_pipeline_waits_as_long_as_narayanan_says() -> None:
    """(p-1)/m of the computing; over v, in v parts."""
    found = of("8xH100", Mesh(pipeline=8), batch=32)
    computing = found.matrix + found.attention + found.traffic
    assert found.pipeline == pytest.approx(7 / 32 * computing, rel=0.02)
    parts = of("8xH100", Mesh(pipeline=8), batch=32, interleave=4)
    assert parts.pipeline == pytest.approx(7 / 32 / 4 * computing, rel=0.1)


def test_gradients_are_a_ring_all_reduce() -> None:
    """Patarasuk & Yuan 2009: 2(g-1)/g of the bytes. Between nodes with one card each, nothing
    hides so much of it that it vanishes."""
    found = of("64x1xA100", Mesh(data=64), batch=64)
    sent = 2 * 63 / 64 * 4 * MODEL.parameters / (25e9 * CONSTANTS.link)
    computing = found.matrix + found.attention + found.traffic
    hidden = CONSTANTS.data_overlap * computing * 2 / 3
    assert found.data == pytest.approx(sent - hidden, rel=0.01)


def test_tensor_parallelism_between_nodes_is_slow() -> None:
    near = of("2x8xH100", Mesh(data=2, tensor=8))
    far = of("2x8xH100", Mesh(data=1, tensor=16))
    assert far.tensor > near.tensor


def test_sequences_are_cut_behind_the_attention() -> None:
    long = replace(MODEL, length=32768, keys=MODEL.keys * 8)
    found = step(long, cluster("8xH100"), Mesh(context=8), Method(8))
    assert found.context >= 0
    assert found.attention > 0


def test_a_family_nobody_published_is_marked() -> None:
    assert efficiency("hopper").fitted
    for family in ("volta", "cpu", "something new", ""):
        assert not efficiency(family).fitted
        assert 0 < efficiency(family).matrix < 1


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["none", "zero1", "zero2", "fsdp"]),
)
def test_more_devices_are_never_slower_but_for_what_they_send(
    data: int, tensor: int, sharding: str
) -> None:
    mesh = Mesh(data=data, tensor=tensor)
    found = of(f"1x{mesh.devices}xH100", mesh, sharding=sharding)
    alone = of("H100", Mesh())
    sent = found.tensor + found.data
    assert found.step - sent <= alone.step
    assert found.step >= alone.step / mesh.devices * 0.999
    assert all(seconds >= 0 for seconds in vars(found).values())
