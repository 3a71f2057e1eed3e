"""mesh: how devices share one training, and which ways of sharing there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shoestring.cluster.description import Cluster
from shoestring.cluster.devices import PRECISIONS
from shoestring.cluster.efficiency import FUSIONS
from shoestring.core.errors import UserError
from shoestring.core.workload import Workload

SHARDINGS = ("none", "zero1", "zero2", "fsdp")
CHECKPOINTINGS = ("none", "selective", "full")
# Bytes that an optimizer keeps for each parameter, in 32 bits each.
OPTIMIZERS = {"adamw": 8.0, "adam": 8.0, "muon": 4.0, "sgd": 4.0}
MOST_MICRO = 1024
# Where cutting a sequence is tried unasked: below it, gathered keys cost more than they spare.
LONG = 8192


@dataclass(frozen=True)
class Mesh:
    """Devices as a product: copies of the batch's parts, parts of each product, stages of blocks,
    parts of each sequence. Neighbours in `tensor` are nearest, then `context`, `data`,
    `pipeline`."""

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    context: int = 1

    @property
    def devices(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context

    def told(self) -> str:
        """`data 4 x tensor 2`; `one device`."""
        parts = [(n, s) for n, s in vars(self).items() if s > 1]
        return " x ".join(f"{name} {size}" for name, size in parts) or "one device"


@dataclass(frozen=True)
class Method:
    """What is decided beside the mesh."""

    batch: int  # examples of one step, of all devices together
    micro_batch: int = 1  # of them, those a device takes at once
    sharding: str = "none"  # none: whole copies; zero1, zero2, fsdp: Rajbhandari et al. 2020
    checkpointing: str = "none"
    precision: str = "bfloat16"
    optimizer: str = "adamw"
    fusion: str = "blocks"  # what is compiled: none, blocks, all (the loss as well)
    interleave: int = 1  # parts of the model that each stage holds: Narayanan et al. 2021
    tiled: bool = True  # attention that never writes its matrix: Dao et al. 2022

    def micro_steps(self, mesh: Mesh) -> int:
        return self.batch // (mesh.data * self.micro_batch)


def checked(method: Method) -> Method:
    """The method; UserError for a word that is none."""
    for value, allowed, what in (
        (method.sharding, SHARDINGS, "sharding"),
        (method.checkpointing, CHECKPOINTINGS, "checkpointing"),
        (method.precision, PRECISIONS, "precision"),
        (method.optimizer, tuple(OPTIMIZERS), "optimizer"),
        (method.fusion, FUSIONS, "fusion"),
    ):
        if value not in allowed:
            raise UserError(f"{what} is one of {', '.join(allowed)}, not {value!r}")
    for size, option in ((method.batch, "--batch"), (method.micro_batch, "--micro-batch")):
        if size < 1:
            raise UserError(f"{option} is a whole number from 1, not {size}")
    return method


def impossible(workload: Workload, cluster: Cluster, mesh: Mesh, method: Method) -> str:
    """Why a model cannot be shared so at all, whatever memory there is; "" where it can."""
    if mesh.devices != cluster.devices:
        return f"{mesh.told()} makes {mesh.devices} devices, not {cluster.devices}"
    if mesh.pipeline > workload.blocks:
        return f"{mesh.pipeline} stages of {workload.blocks} blocks"
    if mesh.pipeline > 1 and mesh.pipeline * method.interleave > workload.blocks:
        parts = f"{method.interleave} parts in each of {mesh.pipeline} stages"
        return f"{parts} of {workload.blocks} blocks"
    if mesh.tensor > 1 and not workload.heads:
        return "how its products would be split is not reckoned here: they have no heads"
    if mesh.tensor > 1 and workload.heads % mesh.tensor:
        return f"{workload.heads} heads do not divide by {mesh.tensor}"
    if mesh.context > 1 and not workload.keys:
        return "its examples are no sequences that could be cut"
    if mesh.context > 1 and workload.length % mesh.context:
        return f"a sequence of {workload.length} does not divide by {mesh.context}"
    if method.batch % (mesh.data * method.micro_batch):
        parts = f"{mesh.data} parts" + f" of {method.micro_batch}" * (method.micro_batch > 1)
        return f"a batch of {method.batch} does not divide into {parts}"
    if mesh.pipeline > 1 and method.micro_steps(mesh) < mesh.pipeline:
        return f"{method.micro_steps(mesh)} micro-batches for {mesh.pipeline} stages"
    if method.sharding != "none" and mesh.data * mesh.context == 1:
        return f"{method.sharding} with nobody to share with"
    return ""


def meshes(workload: Workload, cluster: Cluster) -> Iterator[Mesh]:
    """Every product of the devices that is worth a look: tensor parallelism over no more than two
    nodes' devices (Narayanan et al. 2021 found none beyond one useful), sequences cut from LONG."""
    total = cluster.devices
    for tensor in _divisors(total):
        if tensor > 2 * cluster.devices_a_node:
            continue
        for pipeline in _divisors(total // tensor):
            for context in _divisors(total // tensor // pipeline):
                if context > 1 and (workload.length < LONG or context > cluster.devices_a_node):
                    continue
                yield Mesh(total // tensor // pipeline // context, tensor, pipeline, context)


def micro_batches(mesh: Mesh, batch: int) -> Iterator[int]:
    """Powers of two that the part of the batch divides by."""
    part = batch // mesh.data if batch % mesh.data == 0 else 0
    size = 1
    while part and size <= min(part, MOST_MICRO):
        if part % size == 0:
            yield size
        size *= 2


def parse(words: str) -> Mesh:
    """The mesh of `data2xtensor4`; UserError for other words."""
    sizes: dict[str, int] = {}
    for piece in words.lower().split("x"):
        name = piece.rstrip("0123456789")
        number = piece[len(name) :]
        if name not in vars(Mesh()) or not number or int(number) < 1 or name in sizes:
            raise UserError(
                f"--mesh is a product such as data2xtensor4, of {', '.join(vars(Mesh()))}, "
                f"not {words!r}"
            )
        sizes[name] = int(number)
    return Mesh(
        sizes.get("data", 1),
        sizes.get("tensor", 1),
        sizes.get("pipeline", 1),
        sizes.get("context", 1),
    )


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, int(number**0.5) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
