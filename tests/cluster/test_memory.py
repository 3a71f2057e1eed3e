"""What a device has to hold: sums that papers give, and what may never happen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.cluster.efficiency import CONSTANTS
from shoestring.cluster.memory import Memory, needed, own_parameters
from shoestring.cluster.mesh import CHECKPOINTINGS, SHARDINGS, Mesh, Method
from shoestring.core.workload import Shape, Workload, completed, transformer

GPT3 = transformer(
    completed(Shape(layers=96, hidden=12288, heads=96, vocabulary=51200), None), 2048, "GPT-3"
)
SMALL = transformer(
    completed(Shape(layers=4, hidden=64, heads=4, vocabulary=100), None), 16, "small"
)


def of(mesh: Mesh, workload: Workload = GPT3, batch: int = 1024, **changes: object) -> Memory:
    return needed(workload, mesh, replace(Method(batch), **changes))  # type: ignore[arg-type]


def test_a_whole_copy_takes_eighteen_bytes_a_parameter() -> None:
    """Rajbhandari et al. 2020, section 3.1, with gradients summed in 32 bits: 2 + 4 + 12."""
    found = of(Mesh(data=8))
    assert found.weights == pytest.approx(2 * GPT3.parameters)
    assert found.gradients == pytest.approx(4 * GPT3.parameters)
    assert found.optimizer == pytest.approx(12 * GPT3.parameters)


@pytest.mark.parametrize(
    ("sharding", "bytes_each"),
    [("zero1", 2 + 4 + 12 / 8), ("zero2", 2 + 4 / 8 + 12 / 8), ("fsdp", 16 / 8)],
)
def test_each_way_of_sharding_divides_what_it_says(sharding: str, bytes_each: float) -> None:
    found = of(Mesh(data=8), sharding=sharding)
    kept = found.weights + found.gradients + found.optimizer
    assert kept == pytest.approx(bytes_each * GPT3.parameters)


def test_activations_are_those_of_korthikanti() -> None:
    """34 bytes a token and unit of width, over the tensor parallel devices (their table 2). The
    formula counts masks of dropout (2 bytes), which we have not: 32 to 36 is agreement."""
    one = of(Mesh(tensor=8), fusion="none")
    blocks = 96 * 34 * 2048 * 12288 / 8
    assert one.activations == pytest.approx(blocks, rel=0.08)
    assert of(Mesh(tensor=8), checkpointing="full").activations < one.activations / 10


def test_attention_that_writes_its_matrix_takes_more() -> None:
    """Their 5as/h."""
    tiled, written = of(Mesh(tensor=8)), of(Mesh(tensor=8), tiled=False)
    more = written.activations - tiled.activations
    assert more == pytest.approx(97 * 5 * 96 * 2048 * 2048 / 8)


def test_a_first_stage_holds_as_many_micro_batches_as_there_are_stages() -> None:
    """1F1B (Narayanan et al. 2021): blocks of all stages, whatever their number."""
    two, four = of(Mesh(pipeline=2)), of(Mesh(pipeline=4))
    assert two.activations == pytest.approx(four.activations)
    interleaved = of(Mesh(pipeline=4), interleave=2)
    assert interleaved.activations == pytest.approx(four.activations * (1 + 3 / 8), rel=0.01)


def test_an_optimizer_without_second_moments_takes_less() -> None:
    assert of(Mesh(), optimizer="sgd").optimizer == pytest.approx(8 * GPT3.parameters)
    full = of(Mesh(), precision="float32")
    assert full.weights + full.optimizer == pytest.approx(12 * GPT3.parameters)


MESHES = st.builds(
    Mesh,
    data=st.sampled_from([1, 2, 4, 8, 64]),
    tensor=st.sampled_from([1, 2, 4]),
    pipeline=st.sampled_from([1, 2, 4]),
    context=st.sampled_from([1, 2]),
)
METHODS = st.builds(
    Method,
    batch=st.just(4096),
    micro_batch=st.sampled_from([1, 2, 8]),
    sharding=st.sampled_from(SHARDINGS),
    checkpointing=st.sampled_from(CHECKPOINTINGS),
    precision=st.sampled_from(["bfloat16", "float32", "float8"]),
    fusion=st.sampled_from(["none", "blocks", "all"]),
    tiled=st.booleans(),
)


@given(MESHES, METHODS, st.sampled_from([GPT3, SMALL]))
def test_no_part_is_ever_negative(mesh: Mesh, method: Method, workload: Workload) -> None:
    found = needed(workload, mesh, method)
    assert all(part >= 0 for part in vars(found).values())
    assert found.total > found.reserved > 0
    assert found.total - found.reserved == pytest.approx(CONSTANTS.runtime_bytes)


@given(MESHES, METHODS, st.sampled_from(["data", "tensor"]))
def test_more_devices_never_need_more_each(mesh: Mesh, method: Method, axis: str) -> None:
    wider = replace(mesh, **{axis: 2 * getattr(mesh, axis)})
    if axis == "tensor" and mesh.tensor == 1:
        return  # parts of a sequence are put together from then on: a few arrays more
    method = replace(method, sharding="fsdp")
    assert needed(GPT3, wider, method).total <= needed(GPT3, mesh, method).total * (1 + 1e-9)


@given(MESHES, METHODS)
def test_keeping_less_never_takes_more(mesh: Mesh, method: Method) -> None:
    sizes = [
        needed(GPT3, mesh, replace(method, checkpointing=kind)).total
        for kind in ("none", "selective", "full")
    ]
    assert sizes == sorted(sizes, reverse=True)


@given(MESHES)
def test_stages_share_the_parameters(mesh: Mesh) -> None:
    apart = replace(GPT3, tied=False)
    whole = own_parameters(apart, mesh) * mesh.tensor * mesh.pipeline
    assert GPT3.parameters * 0.99 <= whole <= GPT3.parameters * 1.05


def test_both_ends_of_a_pipeline_have_a_matrix_that_is_tied() -> None:
    mesh = Mesh(pipeline=4)
    more = own_parameters(SMALL, mesh) - own_parameters(replace(SMALL, tied=False), mesh)
    assert SMALL.tied
    assert more == SMALL.outside / 2
