"""parallel: a fit by many processes, of this machine or of many, as the loop's placement.

Every process draws the same batches and takes its part of each. Means are over all labels of a
batch: gradients of sums are added up over the processes and divided once by the labels that all of
them had, so that unequal parts weigh what they hold (the mean of means would weigh a short sentence
more than a long one). Sums of losses and counts travel with the gradients.

Sources: Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training"
(gradients in buckets, one all-reduce each); Goyal et al. 2017, "Accurate, large minibatch SGD"
(means over the global batch). Gradients are added up by torch.distributed's collectives and not by
its DistributedDataParallel, whose first use imports the compiler (5 s of processor time in every
worker here), which averages processes and not labels, and which holds a technique that freezes
weights in the middle of a fit for a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from shoestring.core.layout import Layout
from shoestring.core.placement import Objective, Tensors, Totals
from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint
from shoestring.engine.spread.cut import Cut, cut_of

BUCKET_BYTES = 25 << 20  # as Li et al. found best: less waits for each other, more for memory


class Groups(NamedTuple):
    """Whom this process speaks to."""

    everyone: dist.ProcessGroup  # on the processor, whatever the device: small plain things
    parts: dist.ProcessGroup  # those that hold other parts of the same batch
    part: int  # of each batch, that is this process's


class Parallel:
    """One of the processes of a fit. torch.distributed has been initialised."""

    def __init__(self, layout: Layout, device: str, microbatches: int | None = None) -> None:
        self.layout, self.device = layout, device
        self.workers, self.lead = layout.workers, dist.get_rank() == 0
        self.groups = _groups(layout)
        self.stream = self.groups.part
        self.cut: Cut = cut_of(layout, device, self.groups.everyone, microbatches)
        self.reduced_bytes = 0  # of gradients and weights that were added up or put together
        self._wished = self._heard = False

    # --- the model and its batches ---

    def place(
        self, model: torch.nn.Module, network: Network, architecture: Plain
    ) -> torch.nn.Module:
        model = model.to(self.device)
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)
        return self.cut.place(model, network, architecture)

    def judge(
        self, model: torch.nn.Module, fresh: Callable[[], torch.nn.Module]
    ) -> torch.nn.Module:
        return fresh().to(self.device) if self.cut.cuts and self.lead else model

    def shares(self, ids: torch.Tensor) -> Sequence[torch.Tensor]:
        """Every so-manyth example: batches are sorted by length, and parts are of like length."""
        pieces, mine = self.cut.pieces, ids[self.groups.part :: self.layout.parts]
        return [mine[number::pieces] for number in range(pieces)]

    def backward(self, objective: Objective, batches: Sequence[Batch]) -> Totals:
        loss_sum, right = self.cut.backward(objective, batches)
        counts = [sum(b.size for b in batches), sum(len(b.ids) for b in batches if b.size)]
        said = [loss_sum, right, *counts, int(self._wished)]
        carried = torch.stack([torch.as_tensor(x, device=self.device).double() for x in said])
        gradients = self.cut.gradients()
        self._add_up(carried, self.cut.loose(gradients), objective.foresee)
        _, _, labels, examples, wishes = carried.tolist()
        # Those that share a part of a batch would otherwise hear of it in different steps.
        shared = self.layout.workers > self.layout.parts
        self._heard = self.agree(self._wished) if shared else wishes > 0
        torch._foreach_div_(gradients, labels)
        return Totals(carried[0], carried[1], int(labels), int(examples))

    def _add_up(
        self, carried: torch.Tensor, gradients: list[torch.Tensor], meanwhile: Callable[[], None]
    ) -> None:
        """Adds up over the parts of a batch, in place; the few numbers first, with the gradients
        where their precision holds them."""
        group = self.groups.parts
        buckets = _bucketed(gradients)
        if not buckets:
            dist.all_reduce(carried, group=group)
            return
        works, flats = [], []
        for number, bucket in enumerate(buckets):
            pieces = [g.reshape(-1) for g in bucket]
            if not number:
                pieces.append(_packed(carried, bucket[0].dtype))
            flats.append(torch.cat(pieces))
            works.append(dist.all_reduce(flats[-1], group=group, async_op=True))
        meanwhile()
        for number, (work, flat, bucket) in enumerate(zip(works, flats, buckets, strict=True)):
            assert work is not None
            work.wait()
            sizes = [g.numel() for g in bucket]
            *pieces, _ = torch.split(flat, [*sizes, len(flat) - sum(sizes)])
            if not number:
                carried.copy_(_unpacked(flat[sum(sizes) :]))
            torch._foreach_copy_(
                bucket, [p.view(g.shape) for p, g in zip(pieces, bucket, strict=True)]
            )
            self.reduced_bytes += sum(sizes) * flat.element_size()

    def clip(self, weights: Iterable[torch.nn.Parameter], norm: float) -> None:
        self.cut.clip(weights, norm)

    # --- what processes agree on ---

    def stops(self, wish: bool) -> bool:
        self._wished = wish
        return self._heard

    def agree(self, wish: bool) -> bool:
        flag = torch.tensor([int(wish)])
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.groups.everyone)
        return bool(flag)

    def told(self, value: Any) -> Any:
        data = json.dumps(value).encode() if self.lead else b""
        size = torch.tensor([len(data)])
        dist.broadcast(size, 0, group=self.groups.everyone)
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.lead:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self.groups.everyone)
        return json.loads(content.numpy().tobytes())

    def settle(self, model: torch.nn.Module) -> None:
        """Running statistics of normalisation become the mean over the parts: each process saw the
        means and variances of its own part of a batch. The mean of the means is that of the whole
        batch where parts are of a size; the mean of the variances lacks the variance between the
        means, a share of about parts / examples of it."""
        kept = [b for b in model.buffers() if b.is_floating_point() and b.numel()]
        if kept and self.layout.parts > 1:
            flat = torch.cat([b.reshape(-1) for b in kept])
            dist.all_reduce(flat, group=self.groups.parts)
            flat.div_(self.layout.parts)
            for buffer, piece in zip(
                kept, torch.split(flat, [b.numel() for b in kept]), strict=True
            ):
                buffer.copy_(piece.view(buffer.shape))

    # --- whole tensors, and where they go ---

    def whole(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {name: self.cut.whole(tensor.detach()) for name, tensor in tensors.items()}
        return {name: tensor.clone() for name, tensor in found.items()} if self.lead else {}

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self.cut.like(tensor, weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.cut.here(tensor)

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        return self.cut.orthogonal(updates, way)

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        self.cut.save(tensors, values, path, self)

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return checkpoint.load(path)


def _groups(layout: Layout) -> Groups:
    """Every process makes every group, in the same order."""
    rank, shared = dist.get_rank(), layout.workers // layout.parts
    everyone = dist.new_group(backend="gloo")
    parts = everyone
    for first in range(shared):
        group = dist.new_group(list(range(first, layout.workers, shared)))
        if rank % shared == first:
            parts = group
    assert everyone is not None
    assert parts is not None
    return Groups(everyone, parts, rank // shared)


def _bucketed(gradients: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Of one precision each, and about BUCKET_BYTES large."""
    buckets: list[list[torch.Tensor]] = []
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        room = 0
        for gradient in (g for g in gradients if g.dtype == dtype):
            size = gradient.numel() * gradient.element_size()
            if room < size:
                buckets.append([])
                room = BUCKET_BYTES
            buckets[-1].append(gradient)
            room -= size
    return buckets


def _packed(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Numbers as sums of two of the precision, so that counts above 2**24 stay exact in float32."""
    high = numbers.to(dtype)
    return torch.cat([high, (numbers - high.double()).to(dtype)])


def _unpacked(pieces: torch.Tensor) -> torch.Tensor:
    high, low = pieces.double().chunk(2)
    return high + low
