"""memory: what one device has to hold, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from shoestring.cluster.efficiency import CONSTANTS, Constants
from shoestring.cluster.mesh import OPTIMIZERS, Mesh, Method
from shoestring.core.workload import Workload

PREFETCHED = 2  # blocks gathered at once: the one at work and the next (Zhao et al. 2023)


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest device."""

    weights: float
    gradients: float
    optimizer: float  # with the 32-bit copy of weights that are used in 16
    gathered: float  # what FSDP puts together again, and gradients on their way
    activations: float
    output: float  # of the loss, beyond the activations that it meets
    fragmentation: float
    runtime: float

    @property
    def reserved(self) -> float:
        """What torch.cuda.max_memory_reserved would say."""
        return self.total - self.runtime

    @property
    def total(self) -> float:
        return float(sum(vars(self).values()))


def width_of(precision: str) -> float:
    """Bytes of an element in products. In 8 bits weights are kept as in 16, and cast."""
    return 4.0 if precision == "float32" else 2.0


def own_parameters(workload: Workload, mesh: Mesh) -> float:
    """Parameters of the fullest stage, split over `tensor`. The first stage has the embedding, the
    last the output: with more than one stage none has both, unless they are one matrix, of which
    both have a copy (Shoeybi et al. 2019, section 3)."""
    blocks = ceil(workload.blocks / mesh.pipeline) * workload.block_parameters
    ends = 1 if mesh.pipeline == 1 or workload.tied else 2
    return (blocks + workload.outside / ends) / mesh.tensor


def needed(
    workload: Workload, mesh: Mesh, method: Method, constants: Constants = CONSTANTS
) -> Memory:
    """Weights, gradients and optimizer as Rajbhandari et al. 2020, section 3 and 5, have them, but
    for gradients, which are added up in 32 bits, as Megatron-LM and FSDP2 do: 2 + 4 + 12 bytes a
    parameter for AdamW in 16 bits (theirs are 2 + 2 + 12), of which zero1 shares the 12, zero2 the
    gradients as well, and fsdp everything.

    Activations as Korthikanti et al. 2022, equations 2 to 4, have them: kept elements of each block
    over tensor (with sequence parallelism) and context; in a pipeline the first of p stages holds
    p micro-batches (1F1B, Narayanan et al. 2021), and (1 + (p-1)/(pv)) times as much in v
    interleaved parts. The loss stands on the last stage only, so the larger of the two counts."""
    element = width_of(method.precision)
    own = own_parameters(workload, mesh)
    group = mesh.data * mesh.context
    shared = dict.fromkeys(_shared(method.sharding), group)
    master = 0.0 if element == 4.0 else 4.0
    moments = OPTIMIZERS[method.optimizer]
    fsdp = method.sharding == "fsdp"
    weights = own * (4.0 if fsdp else element) / shared.get("weights", 1)
    gradients = 4.0 * own / shared.get("gradients", 1)
    optimizer = (moments + (0.0 if fsdp else master)) * own / shared.get("optimizer", 1)
    gathered = _gathered(workload, mesh, own, element) if fsdp else 0.0
    activations, output = _activations(workload, mesh, method, element, constants)
    loose = gathered + activations + output
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        gathered=gathered,
        activations=activations,
        output=output,
        fragmentation=(constants.fragmentation - 1) * loose,
        runtime=constants.runtime_bytes,
    )


def _shared(sharding: str) -> tuple[str, ...]:
    """What a way of sharding divides among those who have the same weights."""
    return {
        "none": (),
        "zero1": ("optimizer",),
        "zero2": ("optimizer", "gradients"),
        "fsdp": ("optimizer", "gradients", "weights"),
    }[sharding]


def _gathered(workload: Workload, mesh: Mesh, own: float, element: float) -> float:
    """Blocks that are whole for a while, and what stands outside of blocks, which stays whole
    until its gradient is ready. In a pipeline a stage keeps all its weights whole, and adds up
    whole gradients over its micro-batches."""
    if mesh.pipeline > 1:
        return own * (element + 4.0)
    block = workload.block_parameters / mesh.tensor
    outside = workload.outside / mesh.tensor
    return PREFETCHED * block * element + block * 4.0 + outside * element


def _activations(
    workload: Workload, mesh: Mesh, method: Method, element: float, constants: Constants
) -> tuple[float, float]:
    """Those of blocks, and what the loss needs beyond them at its own peak."""
    split = mesh.tensor if workload.heads else 1
    part = method.micro_batch / (split * mesh.context)
    scores = 0.0 if method.tiled else 2.5 * workload.scores  # two of 16 bits and a mask of 8
    kept = (workload.kept + scores) * element * part
    # Compiled, the answer of a block's last product is not kept: nobody reads it again.
    unread = 0.0 if method.fusion == "none" else workload.boundary
    stored = {
        "none": kept,
        "selective": (workload.selected - unread) * element * part,
        "full": workload.boundary * element * part,
    }[method.checkpointing]
    # Parts of a sequence are put together before products that are split, and so are gradients.
    whole = workload.boundary * element * method.micro_batch / mesh.context
    joined = 2 * whole if split > 1 else 0.0
    blocks = ceil(workload.blocks / mesh.pipeline)
    waiting = float(min(mesh.pipeline, method.micro_steps(mesh)))
    if method.interleave > 1:
        waiting *= 1 + (mesh.pipeline - 1) / (mesh.pipeline * method.interleave)
    first = blocks * waiting * stored + kept + 2 * joined  # one block at work, with its gradients
    loss = workload.output * part * constants.loss_bytes[method.fusion] + joined
    last = blocks * stored * (1.0 if mesh.pipeline > 1 else waiting) + loss
    return first, max(0.0, last - first)
