"""cut_pipeline: layers one after the other in as many processes, each batch in pieces that follow
each other through them.

Source: Narayanan et al. 2021, "Efficient large-scale language model training on GPU clusters using
Megatron-LM": one piece forward, one backward (1F1B), here torch.distributed.pipelining's. A weight
that two stages read, as a tied embedding is, is held by both, and they add up its gradients.

The model keeps its names: weights of other stages are without memory (torch's meta device). What
passes from stage to stage is padded to the largest piece of the step, so that buffers are of one
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from shoestring.core.dividing import Stage
from shoestring.core.layout import Layout
from shoestring.core.placement import Objective, Placement, Tensors
from shoestring.core.protocols import Batch, Network
from shoestring.core.receipt import Plain
from shoestring.engine import checkpoint, placement
from shoestring.engine.spread.cut import Cut


class Pipeline(Cut):
    """Every process has some layers, and sees all examples."""

    cuts = True

    def __init__(
        self, layout: Layout, device: str, everyone: dist.ProcessGroup, microbatches: int | None
    ) -> None:
        self.pieces = microbatches or 2 * layout.pipeline
        self._count, self._device, self._everyone = layout.pipeline, device, everyone
        self._rank = dist.get_rank()
        self._last = self._rank == layout.pipeline - 1
        self._holders: dict[nn.Parameter, int] = {}  # processes that have each weight of here
        self._shared: list[nn.Parameter] = []  # of all processes, in one order
        self._stages: Sequence[Stage] = ()
        self._running = _Running(lambda words, received: received)

    def place(self, model: nn.Module, network: Network, architecture: Plain) -> nn.Module:
        self._stages = network.stages(model, architecture, self._count)
        self._shared, self._holders = [], {}
        held = [_weights(model, stage.modules) for stage in self._stages]
        for weight in model.parameters():
            count = sum(id(weight) in ids for ids in held)
            if count > 1:
                self._shared.append(weight)
            if id(weight) in held[self._rank]:
                self._holders[weight] = count
        _emptied(model, held[self._rank])
        self._running = _Running(self._stages[self._rank].work)
        return self._running

    def backward(
        self, objective: Objective, batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        step = _Step(objective, batches, self._running, self._stages, self._rank)
        stage = PipelineStage(
            step,
            self._rank,
            self._count,
            torch.device(self._device),
            input_args=step.read(),
            output_args=step.made(),
        )
        schedule = Schedule1F1B(stage, len(batches), _own, scale_grads=False)
        which = torch.arange(len(batches))
        target = which if self._last else None
        schedule.step(which=which, target=target, return_outputs=False)
        for weight in self._shared:
            gradient = weight.grad if weight in self._holders else None
            summed = torch.zeros(weight.shape, dtype=weight.dtype, device=self._device)
            summed = summed if gradient is None else gradient.contiguous()
            dist.all_reduce(summed)
            if gradient is not None:
                gradient.copy_(summed)
        found = torch.stack([step.loss_sum, step.right]).to(self._device)
        dist.broadcast(found, self._count - 1)
        return found[0], found[1]

    def gradients(self) -> Tensors:
        return [w.grad for w in self._holders if w.grad is not None]

    def loose(self, gradients: Tensors) -> Tensors:
        return []

    def clip(self, weights: Iterable[nn.Parameter], norm: float) -> None:
        square = torch.zeros((), dtype=torch.float64)
        for weight, count in self._holders.items():
            if weight.grad is not None:
                square += weight.grad.double().pow(2).sum().cpu() / count
        dist.all_reduce(square, group=self._everyone)
        torch._foreach_mul_(self.gradients(), min(1.0, norm / (float(square) ** 0.5 + 1e-6)))

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """Of the first process that has it."""
        owner = torch.tensor([self._count if tensor.is_meta else self._rank])
        dist.all_reduce(owner, dist.ReduceOp.MIN, group=self._everyone)
        if int(owner) == self._count:
            return tensor
        if tensor.is_meta:
            found = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)
        else:
            found = tensor.contiguous()
        dist.broadcast(found, int(owner))
        return found

    def like(self, tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return placement.like(tensor.to(weight.device), weight)

    def here(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def orthogonal(self, updates: Tensors, way: Callable[[Tensors], Tensors]) -> Tensors:
        return way(updates)

    def save(
        self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path, place: Placement
    ) -> None:
        here = {name: tensor for name, tensor in tensors.items() if not tensor.is_meta}
        checkpoint.save_parts(path, here, values, checkpoint.token(place), self._everyone)


class _Running(nn.Module):
    """The model as the loop calls it: this process's stage, on what came from the one before."""

    def __init__(self, work: Callable[[tuple[Any, ...], Any], Any]) -> None:
        super().__init__()
        self._work = work
        self.received: torch.Tensor | None = None

    def forward(self, *words: Any) -> Any:
        return self._work(words, self.received)


class _Step(nn.Module):
    """The pieces of one step, as a stage of torch's pipeline asks for them by their number."""

    def __init__(
        self,
        objective: Objective,
        batches: Sequence[Batch],
        running: _Running,
        stages: Sequence[Stage],
        rank: int,
    ) -> None:
        super().__init__()
        self._objective, self._batches, self._rank = objective, batches, rank
        self._running = [running]  # in a list: its weights are not this module's
        self._last = rank == len(stages) - 1
        self._shapes = [[s.shape(b.inputs) for b in batches] for s in stages[:-1]]
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.right = torch.zeros((), dtype=torch.float64)

    def forward(self, received: torch.Tensor | None = None, *, which: torch.Tensor) -> torch.Tensor:
        number = int(which)
        batch, running = self._batches[number], self._running[0]
        if received is not None:
            received = _narrowed(received, self._shapes[self._rank - 1][number])
        running.received = received
        found, labels = self._objective.logits(batch)
        if not self._last:
            return _padded(found.to(torch.get_default_dtype()), self._largest(self._rank))
        loss, right = self._objective.loss_of(found, labels, batch)
        loss = loss * batch.size
        self.loss_sum += loss.detach().cpu()
        self.right += right.cpu() if batch.size else 0
        return loss.reshape(1)

    def read(self) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What comes from the stage before, as far as its shape goes."""
        return self._form(self._largest(self._rank - 1)) if self._rank else ()

    def made(self) -> torch.Tensor:
        return self._form((1,) if self._last else self._largest(self._rank))

    def _form(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, device="meta", requires_grad=True)

    def _largest(self, stage: int) -> tuple[int, ...]:
        return tuple(max(sizes) for sizes in zip(*self._shapes[stage], strict=True))


def _own(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The last stage makes its loss itself."""
    return output.sum()


def _narrowed(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    for axis, size in enumerate(shape):
        x = x.narrow(axis, 0, size)
    return x


def _padded(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    missing = [b - a for a, b in zip(x.shape, shape, strict=True)]
    return F.pad(x, [n for more in reversed(missing) for n in (0, more)]).contiguous()


def _weights(model: nn.Module, modules: Iterable[str]) -> set[int]:
    """Ids of the weights and buffers of these modules."""
    found = [model.get_submodule(name) for name in modules]
    return {id(t) for m in found for t in (*m.parameters(), *m.buffers())}


def _emptied(model: nn.Module, kept: set[int]) -> None:
    """Takes the memory of all weights and buffers but these."""
    empty: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) not in kept:
                bare = empty.setdefault(id(weight), nn.Parameter(weight.data.to("meta")))
                setattr(module, name, bare)
        for name, buffer in list(module.named_buffers(recurse=False)):
            if id(buffer) not in kept:
                setattr(module, name, buffer.to("meta"))
