"""examples: one split of parallel text, read from the memory-mapped cache as needed.

Shapes: B pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from shoestring.core.receipt import Finding
from shoestring.tasks.translation.ragged import Ragged, ends
from shoestring.tasks.translation.tokenizer import Tokenizer, encoded


class Texts(Sequence[str]):
    """Lines of text over one array of bytes; each is decoded when it is asked for."""

    def __init__(self, octets: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._octets, self._offsets = octets, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Texts(self._octets, self._offsets[start : max(start, stop) + 1])
            return [self[i] for i in range(start, stop, step)]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no text {index}: there are {len(self)}")
        index %= len(self)
        return self._octets[self._offsets[index] : self._offsets[index + 1]].tobytes().decode()

    def all(self) -> list[str]:
        """Every text; quicker than one by one."""
        first = int(self._offsets[0])
        whole = self._octets[first : int(self._offsets[-1])].tobytes()
        at = (self._offsets - first).tolist()
        return [whole[a:b].decode() for a, b in pairwise(at)]

    def write(self, folder: Path, name: str) -> None:
        np.save(folder / f"{name}.offsets.npy", self._offsets)
        self._octets.tofile(folder / f"{name}.utf8")

    @staticmethod
    def read(folder: Path, name: str) -> Texts:
        path = folder / f"{name}.utf8"
        octets = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        return Texts(octets, np.load(folder / f"{name}.offsets.npy", mmap_mode="r"))

    @staticmethod
    def of(texts: Iterable[str]) -> Texts:
        every = [text.encode() for text in texts]
        offsets = ends(np.fromiter(map(len, every), np.int64, len(every)))
        return Texts(np.frombuffer(b"".join(every), np.uint8), offsets)


class TranslationExamples:
    """Pairs of a source and its translation, in a fixed order."""

    def __init__(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        hashes: NDArray[np.uint64],
        split: str,
        tokenizer: Tokenizer | None = None,
        pieces: tuple[Ragged, Ragged] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        self.sources, self.targets = sources, targets  # (B,) in normal form C, as written
        self.hashes = hashes  # (B,) uint64 of source and target
        self.split = split  # "train", "validation", "test", or "all" where there are no splits
        self.tokenizer = tokenizer  # None where a bundle brings its own
        self.findings = findings  # of a split that was read by itself
        self._pieces = pieces

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def names(self) -> Sequence[str]:
        """(B,) the sources: a pair has no other name."""
        return self.sources

    def part(self, positions: NDArray[np.int64]) -> TranslationExamples:
        """The pairs at these rising positions."""
        at = positions.tolist()
        pieces = None
        if self._pieces is not None:
            pieces = (self._pieces[0].take(positions), self._pieces[1].take(positions))
        return TranslationExamples(
            [self.sources[i] for i in at],
            [self.targets[i] for i in at],
            self.hashes[positions],
            self.split,
            self.tokenizer,
            pieces,
            self.findings,
        )

    def respelt(self, sources: Sequence[str]) -> TranslationExamples:
        """The same pairs with other sources; hashes and targets stay."""
        return TranslationExamples(
            sources, self.targets, self.hashes, self.split, self.tokenizer, findings=self.findings
        )

    @cached_property
    def source_pieces(self) -> Ragged:
        """(B rows) without begin and end."""
        return self._pieces[0] if self._pieces is not None else self._encoded(self.sources)

    @cached_property
    def target_pieces(self) -> Ragged:
        """(B rows) without begin and end."""
        return self._pieces[1] if self._pieces is not None else self._encoded(self.targets)

    def _encoded(self, texts: Sequence[str]) -> Ragged:
        assert self.tokenizer is not None, "these examples were read for a bundle's own tokenizer"
        return encoded(self.tokenizer, texts.all() if isinstance(texts, Texts) else texts)
