"""strategies: every way of sharing a training, each at its best or with why it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shoestring.cluster import mesh as meshes
from shoestring.cluster.description import Cluster
from shoestring.cluster.memory import Memory, needed
from shoestring.cluster.mesh import Mesh, Method
from shoestring.cluster.roofline import Times, step
from shoestring.core.workload import Workload

GB = 1e9


@dataclass(frozen=True)
class Strategy:
    """One mesh with one way of sharding. Where `reason` says something, it cannot be done, and
    figures of time are absent."""

    mesh: Mesh
    method: Method
    memory: Memory | None = None
    times: Times | None = None
    units_a_second: float = 0.0  # of all devices together
    utilisation: float = 0.0  # model FLOPs over the devices' rate
    hours: float | None = None  # of the amount that was asked
    dollars: float | None = None
    reason: str = ""

    @property
    def distribute(self) -> str:
        """The technique that has `train` share a fit so; "" where it cannot. It computes nothing
        again, and shares a batch, the weights (FSDP), matrices, or stages alone or batches with one
        of the first two."""
        mesh, method = self.mesh, self.method
        cut = [axis for axis in (mesh.tensor, mesh.pipeline, mesh.context) if axis > 1]
        fsdp = method.sharding == "fsdp"
        if (
            method.sharding in ("zero1", "zero2")
            or mesh.context > 1
            or method.checkpointing != "none"
            or method.interleave > 1
            or method.precision not in ("bfloat16", "float32")
            or len(cut) + (mesh.data > 1) > (2 if mesh.tensor > 1 and not fsdp else 1)
            or mesh.pipeline * mesh.tensor > max(mesh.pipeline, mesh.tensor)
        ):
            return ""
        if mesh.data > 1 and mesh.tensor > 1:
            return f"distribute:mesh=data{mesh.data}xtensor{mesh.tensor}"
        name = "fsdp" if fsdp else next((n for n, s in vars(mesh).items() if s > 1), "data")
        strategy = "" if name == "data" else f",strategy={name}"
        return f"distribute:workers={mesh.devices}{strategy}"

    @property
    def feasible(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Asked:
    """What a person fixed; None leaves it to the plan."""

    method: Method  # batch, precision, optimizer, fusion, interleave
    mesh: Mesh | None = None
    sharding: str | None = None
    checkpointing: str | None = None
    micro_batch: int | None = None


def every(workload: Workload, cluster: Cluster, asked: Asked) -> list[Strategy]:
    """One strategy for each mesh and way of sharding: the fastest of those micro-batches and
    checkpointings that fit, or the smallest of none do."""
    return [
        _best(workload, cluster, mesh, replace(asked.method, sharding=sharding), asked)
        for mesh in ([asked.mesh] if asked.mesh else meshes.meshes(workload, cluster))
        for sharding in ([asked.sharding] if asked.sharding else _shardings(mesh))
    ]


def _shardings(mesh: Mesh) -> Sequence[str]:
    return meshes.SHARDINGS if mesh.data * mesh.context > 1 else meshes.SHARDINGS[:1]


def _best(
    workload: Workload, cluster: Cluster, mesh: Mesh, method: Method, asked: Asked
) -> Strategy:
    wrong = meshes.impossible(workload, cluster, mesh, replace(method, micro_batch=1))
    if wrong:
        return Strategy(mesh, method, reason=wrong)
    fitting: list[Strategy] = []
    smallest: Strategy | None = None
    for one in _methods(mesh, method, asked):
        wrong = meshes.impossible(workload, cluster, mesh, one)
        if wrong:
            smallest = smallest or Strategy(mesh, one, reason=wrong)
            continue
        memory = needed(workload, mesh, one)
        if memory.total <= cluster.device.memory_bytes:
            fitting.append(_timed(workload, cluster, mesh, one, memory))
        elif smallest is None or smallest.memory is None or memory.total < smallest.memory.total:
            need, have = memory.total / GB, cluster.device.memory_bytes / GB
            smallest = Strategy(mesh, one, memory, reason=f"needs {need:,.0f} GB of {have:,.0f}")
    if fitting:
        return max(fitting, key=lambda s: (s.units_a_second, -_total(s)))
    assert smallest is not None, mesh
    return smallest


def _methods(mesh: Mesh, method: Method, asked: Asked) -> Iterator[Method]:
    sizes = [asked.micro_batch] if asked.micro_batch else meshes.micro_batches(mesh, method.batch)
    kinds = [asked.checkpointing] if asked.checkpointing else meshes.CHECKPOINTINGS
    for size in sizes:
        for kind in kinds:
            yield replace(method, micro_batch=size, checkpointing=kind)


def _timed(
    workload: Workload, cluster: Cluster, mesh: Mesh, method: Method, memory: Memory
) -> Strategy:
    times = step(workload, cluster, mesh, method)
    examples = method.batch / times.step
    # Three passes (forward, and backward for inputs and for weights) of two operations a MAC.
    rate = cluster.device.rate(method.precision) * cluster.devices
    return Strategy(
        mesh,
        method,
        memory,
        times,
        units_a_second=examples * workload.length,
        utilisation=6 * workload.macs * examples / rate,
    )


def _total(strategy: Strategy) -> float:
    assert strategy.memory is not None
    return strategy.memory.total
