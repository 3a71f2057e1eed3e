"""examples: one split of a picture data set, read from the memory-mapped cache as needed.

Shapes: B pictures, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shoestring.core.receipt import Finding
from shoestring.data import cache
from shoestring.tasks.images.reading.pictures import Pictures

_GATHER_BYTES = 2 << 30  # a split whose rows are scattered is gathered in memory up to this
_BLOCK = 1024

# (b,) content hashes and (b, H, W, C) pixels to the pixels that are taken instead.
Change = Callable[[NDArray[np.uint64], NDArray[np.uint8]], NDArray[np.uint8]]


class ImageExamples:
    """Pictures of one size with their labels, in a fixed order."""

    def __init__(
        self,
        pictures: Pictures,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        names: Sequence[str],
        split: str,
        findings: tuple[Finding, ...] = (),
        change: Change | None = None,
    ) -> None:
        self.split = split  # "train", "validation", "test", or "all" where there are no splits
        self.labels = labels  # (B,) int64 positions in the facts' labels
        self.rows = rows  # (B,) int64 positions in the cache, rising
        self.findings = findings  # of a split that was read by itself
        self._pictures, self._every_name = pictures, names
        self._change = change  # of the pixels, when they are taken

    def part(self, positions: NDArray[np.int64]) -> ImageExamples:
        """The pictures at these rising positions."""
        rows, labels = self.rows[positions], self.labels[positions]
        return ImageExamples(
            self._pictures, rows, labels, self._every_name, self.split, self.findings, self._change
        )

    def changed(self, change: Change) -> ImageExamples:
        """The same pictures with other pixels; hashes, names and labels stay."""
        return ImageExamples(
            self._pictures,
            self.rows,
            self.labels,
            self._every_name,
            self.split,
            self.findings,
            change,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        return np.ascontiguousarray(self._pictures.records["content"][self.rows])

    @cached_property
    def names(self) -> Sequence[str]:
        """(B,) relative paths, or split/number."""
        return [self._every_name[row] for row in self.rows.tolist()]

    @property
    def size(self) -> tuple[int, int]:
        return self._pictures.plan.height, self._pictures.plan.width

    @property
    def values_each(self) -> int:
        """Numbers in a picture: H x W x C."""
        return self.size[0] * self.size[1] * self._pictures.plan.channels

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(b, H, W, C) of these positions of the split, in their order."""
        taken: NDArray[np.uint8] = self._pictures.pixels[self.rows[positions]]
        if self._change is not None:
            taken = self._change(self.hashes[positions], np.asarray(taken))
        return np.asarray(taken)

    def pixels(self) -> NDArray[np.uint8]:
        """(B, H, W, C): a memory-mapped view where the split lies together in the cache;
        gathered where not, in memory up to 2 GB, else in a file of its own in the cache."""
        rows, every = self.rows, self._pictures.pixels
        if self._change is not None:
            return self.take(np.arange(len(self), dtype=np.int64))
        if len(rows) == 0 or int(rows[-1]) - int(rows[0]) + 1 == len(rows):
            start = int(rows[0]) if len(rows) else 0
            return every[start : start + len(rows)]
        if len(rows) * every[0].nbytes <= _GATHER_BYTES:
            return np.asarray(every[rows])
        return self._gathered()

    def chunks(self, count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """(positions (b,), pixels (b, H, W, C)) in order, at most `count` at a time."""
        for start in range(0, len(self), count):
            positions = np.arange(start, min(start + count, len(self)), dtype=np.int64)
            yield positions, self.take(positions)

    def _gathered(self) -> NDArray[np.uint8]:
        every = self._pictures.pixels
        digest = hashlib.blake2b(self.hashes.tobytes(), digest_size=16)
        digest.update(repr(self._pictures.plan).encode())
        key = f"images/split-{digest.hexdigest()}"
        folder = cache.existing(key)
        if folder is None:
            with cache.writing(key) as writing, (writing / "pixels").open("wb") as file:
                for start in range(0, len(self), _BLOCK):
                    file.write(every[self.rows[start : start + _BLOCK]].tobytes())
            folder = cache.existing(key)
            assert folder is not None
        shape = (len(self), *every.shape[1:])
        return np.memmap(folder / "pixels", np.uint8, "r", shape=shape)
