"""rows: all pairs of a source while it is decided which of them are used.

Shapes: N pairs; masks are (N,).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoestring.core.receipt import Finding
from shoestring.data.names import counted, printable
from shoestring.tasks.translation.asked import sentence

Mask = NDArray[np.bool_]
_SHOWN = 10
_LONGEST_SHOWN = 80  # characters of a pair in a finding


@dataclass(frozen=True)
class Rows:
    """Pairs of every part, one after the other."""

    sources: list[str]
    targets: list[str]
    lines: NDArray[np.int64]  # (N,) from 1
    part: NDArray[np.int64]  # (N,) position in `where`
    where: Sequence[str]  # the files of each part, for messages

    def __len__(self) -> int:
        return len(self.sources)

    def place(self, index: int) -> str:
        return f"{self.where[int(self.part[index])]}, line {int(self.lines[index]):,}"

    def shown(self, index: int) -> str:
        pair = f"{self.sources[index]} | {self.targets[index]}"
        cut = pair if len(pair) <= _LONGEST_SHOWN else f"{pair[: _LONGEST_SHOWN - 3]}..."
        return f"{self.place(index)}: {printable(cut)}"

    def found(
        self, kind: str, mask: Mask, one: str, several: str, *, dropped: bool
    ) -> list[Finding]:
        """One finding for the pairs of a mask, or none."""
        at = np.flatnonzero(mask)
        if not len(at):
            return []
        shown = tuple(self.shown(i) for i in at[:_SHOWN].tolist())
        words = counted(len(at), one, several)
        return [Finding(kind, len(at), words, shown, dropped=len(at) if dropped else 0)]


def hashes(sources: Sequence[str], targets: Sequence[str]) -> NDArray[np.uint64]:
    """(N,) of source and target; pairs that differ in their blanks alone are one. Sources come as
    `asked.sentence` has read them."""
    pairs = zip(sources, targets, strict=True)
    return _digests([f"{source}\t{sentence(target)}" for source, target in pairs])


def source_hashes(sources: Sequence[str]) -> NDArray[np.uint64]:
    """(N,) of the sources alone: pairs that share one are kept on one side of a split."""
    return _digests(sources)


def _digests(texts: Sequence[str]) -> NDArray[np.uint64]:
    digest = hashlib.blake2b
    whole = b"".join([digest(text.encode(), digest_size=8).digest() for text in texts])
    return np.frombuffer(whole, "<u8").astype(np.uint64)
