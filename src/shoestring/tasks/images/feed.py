"""feed: pictures on the device, in batches, normalised there.

Shapes: B pictures, H height, W width, C channels; pixels are uint8 until `prepared`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from shoestring.core.protocols import Batch, Feed, Network, Quality
from shoestring.core.receipt import Plain
from shoestring.tasks.images import answered
from shoestring.tasks.images.data import ImageExamples

RESIDENT_BYTES = 2 << 30  # larger sets are read from the memory-mapped cache batch by batch
LOOK_EXAMPLES = 5_000  # a look at the validation split in the middle of a fit takes these at most
LOOK_BATCH = 500


class ImageFeed:
    """A split as the loop takes it. The pixels lie on the device where they fit."""

    def __init__(self, examples: ImageExamples, facts: Plain, device: str) -> None:
        self.device, self._facts = device, facts
        self.padding = 0.0
        self.classes = len(facts["labels"])
        self._labels = torch.from_numpy(np.ascontiguousarray(examples.labels)).to(device)
        self._mapped: NDArray[np.uint8] | None = None
        self._behind: NDArray[np.uint8] | None = None  # of pictures that are read, more of them
        pixels_BHWC = examples.pixels()
        if pixels_BHWC.nbytes <= RESIDENT_BYTES:
            self._resident = torch.from_numpy(np.array(pixels_BHWC)).to(device)
        else:
            self._mapped = pixels_BHWC

    def __len__(self) -> int:
        return len(self._labels)

    def joined(self, key: str) -> ImageFeed:
        """The same pictures with those of a key behind them, labelled as a teacher did."""
        more_BHWC, labels_B = answered.read(key)
        found = copy.copy(self)
        found._labels = torch.cat([self._labels, torch.from_numpy(labels_B).to(self.device)])
        if self._mapped is not None:
            found._behind = more_BHWC
        else:
            more = torch.from_numpy(np.array(more_BHWC)).to(self.device)
            found._resident = torch.cat([self._resident, more])
        return found

    @property
    def label_count(self) -> int:
        return len(self)

    def places(self, batch: Batch) -> torch.Tensor:
        return batch.ids

    def order(self, batch_size: int, seed: int, epoch: int) -> Sequence[torch.Tensor]:
        """A fresh permutation for every epoch. The last batch is dropped when it is shorter than
        the others, unless it is the only one: a small last batch is a noisy step."""
        generator = np.random.Generator(np.random.Philox(key=[seed & (2**63 - 1), epoch]))
        order = torch.from_numpy(generator.permutation(len(self)))
        batches = list(torch.split(order, batch_size))
        if len(batches) > 1 and len(batches[-1]) < batch_size:
            batches.pop()
        return batches

    def batch(self, ids: torch.Tensor) -> Batch:
        if self._mapped is not None:
            taken = torch.from_numpy(self._read(self._mapped, ids.cpu().numpy()))
            pixels_BHWC = taken.to(self.device, non_blocking=True)
            ids = ids.to(self.device)
        else:
            ids = ids.to(self.device)
            pixels_BHWC = self._resident.index_select(0, ids)
        targets = self._labels.index_select(0, ids)
        return Batch(pixels_BHWC, targets, ids, len(ids), feed=self)

    def _read(self, mapped_BHWC: NDArray[np.uint8], ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._behind is None:
            return mapped_BHWC[ids]
        found = np.empty((len(ids), *mapped_BHWC.shape[1:]), np.uint8)
        inside = ids < len(mapped_BHWC)
        found[inside] = mapped_BHWC[ids[inside]]
        found[~inside] = self._behind[ids[~inside] - len(mapped_BHWC)]
        return found

    def prepare(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        return prepared(pixels_BHWC, self._facts)


def prepared(pixels_BHWC: torch.Tensor, facts: Plain) -> torch.Tensor:
    """(B, C, H, W) floats in channels-last memory: (pixels - mean) / std, as the bundle's graph
    computes it."""
    mean, std = facts["mean"], facts["std"]
    device = pixels_BHWC.device
    x_BHWC = pixels_BHWC.float()
    if len(mean) == 1:
        x_BHWC = x_BHWC.sub(mean[0]).mul_(1 / std[0])
    else:
        scale = torch.tensor([1 / s for s in std], device=device)
        x_BHWC = x_BHWC.sub(torch.tensor(mean, device=device)).mul_(scale)
    return x_BHWC.permute(0, 3, 1, 2)


def looked(network: Network, model: torch.nn.Module, feed: Feed) -> Quality:
    """Accuracy and mean cross-entropy on at most LOOK_EXAMPLES pictures, spread evenly over the
    split and always the same."""
    right, loss = 0.0, 0.0
    count = min(len(feed), LOOK_EXAMPLES)
    chosen = torch.arange(count) * len(feed) // count
    for ids in torch.split(chosen, LOOK_BATCH):
        batch = feed.batch(ids)
        logits_NK, labels_N = network.logits(model, feed.prepare(batch.inputs), batch.targets)
        loss += float(F.cross_entropy(logits_NK.float(), labels_N, reduction="sum"))
        right += float((logits_NK.argmax(1) == labels_N).sum())
    return Quality(right / count, loss / count, count)
