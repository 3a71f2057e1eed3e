"""roofline: how long one optimizer step takes, from what it computes, moves and sends."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from shoestring.cluster.description import Cluster
from shoestring.cluster.efficiency import CONSTANTS, Constants, Efficiency, efficiency
from shoestring.cluster.memory import own_parameters, width_of
from shoestring.cluster.mesh import OPTIMIZERS, Mesh, Method
from shoestring.core.workload import Workload

GRADIENT = 4.0  # bytes in which gradients are summed
AGAIN = {"none": 0.0, "selective": 0.5, "full": 1.0}  # of a forward pass, computed again


@dataclass(frozen=True)
class Times:
    """Seconds of one optimizer step."""

    matrix: float  # products, with what is computed again
    attention: float
    traffic: float  # passes over arrays, which memory bounds; or the starting of kernels
    tensor: float  # of each communication what is not hidden behind computing
    context: float
    data: float
    pipeline: float  # stages waiting for each other, and what they hand on
    optimizer: float

    @property
    def step(self) -> float:
        return float(sum(vars(self).values()))


@dataclass(frozen=True)
class _Micro:
    """Seconds of one micro-batch on one device."""

    matrix: float
    attention: float
    traffic: float

    @property
    def seconds(self) -> float:
        return self.matrix + self.attention + self.traffic


def step(
    workload: Workload,
    cluster: Cluster,
    mesh: Mesh,
    method: Method,
    share: Efficiency | None = None,
    constants: Constants = CONSTANTS,
) -> Times:
    """Each kernel is bound by its products or by memory (roofline: Williams et al. 2009), so that
    a micro-batch takes the sum of products over the matrix rate and of passes over the bandwidth.

    Collectives are rings: an all-reduce of S bytes among g takes 2S(g-1)/g bytes of a link
    (Patarasuk & Yuan 2009), gathering and scattering half of it. Data parallelism sends gradients
    once a step, FSDP 3 times the weights a micro-batch (Rajbhandari et al. 2020, section 7); tensor
    parallelism two all-reduces a block each way (Shoeybi et al. 2019); a pipeline of p stages and m
    micro-batches waits (p-1)/m of its computing, over v interleaved parts (Narayanan et al.
    2021)."""
    found = efficiency(cluster.device.family) if share is None else share
    micro = _micro(workload, cluster, mesh, method, found, constants)
    count = method.micro_steps(mesh)
    tensor = _tensor(workload, cluster, mesh, method, constants)
    context = _context(workload, cluster, mesh, method, constants, micro.attention)
    working = micro.seconds + tensor + context
    handed = _handed(workload, cluster, mesh, method, constants)
    # Filling and emptying, everything waits; between, one micro-batch is handed on while another
    # is computed.
    waiting = (mesh.pipeline - 1) * (working / method.interleave + handed)
    waiting += count * max(0.0, handed - working)
    return Times(
        matrix=count * micro.matrix,
        attention=count * micro.attention,
        traffic=count * micro.traffic,
        tensor=count * tensor,
        context=count * context,
        data=_data(workload, cluster, mesh, method, constants, micro.seconds)
        + _tied(workload, cluster, mesh, constants),
        pipeline=waiting if mesh.pipeline > 1 else 0.0,
        optimizer=_optimizer(workload, cluster, mesh, method, constants),
    )


def _micro(
    workload: Workload,
    cluster: Cluster,
    mesh: Mesh,
    method: Method,
    share: Efficiency,
    constants: Constants,
) -> _Micro:
    device, again = cluster.device, AGAIN[method.checkpointing]
    split = mesh.tensor if workload.heads else 1
    part = method.micro_batch / (split * mesh.context)
    stage = ceil(workload.blocks / mesh.pipeline) / workload.blocks
    wide = device.rate("bfloat16" if method.precision == "float8" else method.precision)
    width = workload.width / split
    full = width / (width + constants.narrow)
    inner = device.rate(method.precision) * (
        share.matrix8 if method.precision == "float8" else share.matrix
    )
    products = 2 * workload.matrix_macs * stage * (3 + again) / (inner * full)
    products += 2 * workload.output_macs / mesh.pipeline * 3 / (wide * share.matrix * full)
    # Tile by tile, the backward pass computes the scores again: 5 products for 2.
    passes = (3.5 if method.tiled else 3.0) + (
        1.0 if method.checkpointing == "full" else 0.0 if method.tiled else again
    )
    cut = constants.cut_attention if mesh.context > 1 else 1.0
    attention = 2 * workload.attention_macs * stage * passes / (wide * share.attention * cut)
    blocks = workload.blocks * stage
    scores = 0.0 if method.tiled else 2 * workload.scores
    moved = (workload.kept + scores) * blocks * constants.traffic[method.fusion] * (1 + again / 3)
    moved = moved * width_of(method.precision)
    moved += workload.output / mesh.pipeline * 2 * constants.loss_bytes[method.fusion]
    seconds = part * moved / (device.memory_bandwidth * constants.memory)
    computing = part * (products + attention)
    starting = blocks * constants.block_seconds[method.fusion] * (1 + again / 3)
    if device.family != "cpu":  # which starts nothing elsewhere
        seconds = max(seconds, starting - computing)
    return _Micro(part * products, part * attention, seconds)


def _ring(
    bytes_: float,
    members: int,
    stride: int,
    cluster: Cluster,
    constants: Constants,
    pieces: int = 1,
) -> float:
    """Seconds to gather, or to scatter sums of, so many bytes among members of a mesh, in pieces
    of which each goes round by itself."""
    if members == 1:
        return 0.0
    bandwidth = cluster.bandwidth(members, stride) * constants.link
    hops = pieces * (members - 1) * constants.hop_seconds
    return bytes_ * (members - 1) / members / bandwidth + hops


def _tensor(
    workload: Workload, cluster: Cluster, mesh: Mesh, method: Method, constants: Constants
) -> float:
    if mesh.tensor == 1:
        return 0.0
    edge = workload.boundary * width_of(method.precision) * method.micro_batch / mesh.context
    rings = 8 + 4 * AGAIN[method.checkpointing]  # an all-reduce is two
    once = rings * _ring(edge, mesh.tensor, 1, cluster, constants)
    return ceil(workload.blocks / mesh.pipeline) * once * (1 - constants.tensor_overlap)


def _context(
    workload: Workload,
    cluster: Cluster,
    mesh: Mesh,
    method: Method,
    constants: Constants,
    attention: float,
) -> float:
    """Keys and values go round once forward, and with their gradients twice backward, while
    attention is computed (ring attention: Liu et al. 2023)."""
    if mesh.context == 1:
        return 0.0
    keys = workload.keys * width_of(method.precision) * method.micro_batch / mesh.tensor
    rounds = 3 + (1 if method.checkpointing == "full" else 0)
    blocks = ceil(workload.blocks / mesh.pipeline)
    sent = blocks * rounds * _ring(keys, mesh.context, mesh.tensor, cluster, constants)
    return max(0.0, sent - attention)


def _data(
    workload: Workload,
    cluster: Cluster,
    mesh: Mesh,
    method: Method,
    constants: Constants,
    computing: float,
) -> float:
    group, stride = mesh.data * mesh.context, mesh.tensor
    if group == 1:
        return 0.0
    own, element = own_parameters(workload, mesh), width_of(method.precision)
    pieces = ceil(workload.blocks / mesh.pipeline) if method.sharding == "fsdp" else 1
    scatter = _ring(own * GRADIENT, group, stride, cluster, constants, pieces)
    gather = _ring(own * element, group, stride, cluster, constants, pieces)
    hidden = constants.data_overlap * computing
    if method.sharding == "fsdp" and mesh.pipeline == 1:
        # Gathered before both passes, of each micro-batch.
        return method.micro_steps(mesh) * max(0.0, 2 * gather + scatter - hidden)
    if method.sharding == "zero2":  # parts of gradients are kept, so each micro-batch's are sent
        often = method.micro_steps(mesh) * max(0.0, scatter - hidden * 2 / 3)
        return often + max(0.0, gather - hidden)
    if method.sharding == "none":
        return max(0.0, 2 * scatter - hidden * 2 / 3)  # behind the last backward pass
    return max(0.0, scatter + gather - hidden)


def _tied(workload: Workload, cluster: Cluster, mesh: Mesh, constants: Constants) -> float:
    """The first and the last stage add up the gradients of the matrix that both have, once a
    step (Shoeybi et al. 2019, section 3)."""
    if not workload.tied or mesh.pipeline == 1:
        return 0.0
    stride = mesh.tensor * mesh.context * mesh.data * (mesh.pipeline - 1)
    shared = workload.outside / mesh.tensor * GRADIENT
    return 2 * _ring(shared, 2, stride, cluster, constants)


def _handed(
    workload: Workload, cluster: Cluster, mesh: Mesh, method: Method, constants: Constants
) -> float:
    """Seconds to hand a micro-batch to the next stage, and its gradient back."""
    split = mesh.tensor * mesh.context if workload.heads else mesh.context
    edge = workload.boundary * width_of(method.precision) * method.micro_batch / split
    stride = mesh.tensor * mesh.context * mesh.data
    device = cluster.device
    near = stride * 2 <= cluster.devices_a_node
    bandwidth = device.link_bandwidth if near else device.network_bandwidth
    return 2 * method.interleave * (edge / (bandwidth * constants.link) + constants.hop_seconds)


def _optimizer(
    workload: Workload, cluster: Cluster, mesh: Mesh, method: Method, constants: Constants
) -> float:
    """Every state is read and written, the gradient read, the weights written."""
    shared = 1 if method.sharding == "none" else mesh.data * mesh.context
    states = 2 * (OPTIMIZERS[method.optimizer] + 4.0) + GRADIENT + 2.0
    bytes_ = own_parameters(workload, mesh) / shared * states
    return bytes_ / (cluster.device.memory_bandwidth * constants.memory)
