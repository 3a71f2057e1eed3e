"""feed: pairs of sentences on the device, in batches of about so many target pieces.

Shapes: B sentences, S source positions, T target positions, W draws a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.core.protocols import Batch
from shoestring.core.receipt import Plain
from shoestring.tasks.translation.architecture import BEGIN, END, PAD
from shoestring.tasks.translation.examples import Texts, TranslationExamples
from shoestring.tasks.translation.ragged import Ragged
from shoestring.tasks.translation.tokenizer import WordTable

CHUNK_BATCHES = 200  # sorted by length together: fewer mix better, more need less padding


@dataclass(frozen=True)
class Pairs:
    """What the network reads of a batch."""

    source_BS: torch.Tensor  # int64, the end at the end, then padding
    lengths_B: torch.Tensor  # int64, of the source with its end
    target_in_BT: torch.Tensor  # int64, the beginning first, then padding
    feed: TranslationFeed | None = field(default=None, compare=False, repr=False)


class TranslationFeed:
    """A split as the loop takes it."""

    def __init__(self, examples: TranslationExamples, facts: Plain, device: str) -> None:
        self.examples, self.facts, self.device = examples, facts, device
        self.padding = 0.0  # share of positions that are padding, in the order made last
        # With the end; in memory, or every batch would look them up on disk.
        self._source_B = examples.source_pieces.lengths + 1
        self._target_B = examples.target_pieces.lengths + 1
        self._tables: dict[float, tuple[WordTable, WordTable]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def order(self, batch_size: int, seed: int, epoch: int) -> Sequence[torch.Tensor]:
        """Batches of about `batch_size` target pieces, each of sentences of like length: the
        sentences are shuffled, cut into chunks of many batches, sorted within each, and cut where
        the pieces add up, so that no batch is much smaller than others. The batches are shuffled
        again."""
        generator = np.random.Generator(np.random.Philox(key=[seed & (2**63 - 1), epoch]))
        order_B = generator.permutation(len(self))
        total = int(self._target_B.sum())
        chunks = max(1, round(total / (batch_size * CHUNK_BATCHES)))
        batches: list[NDArray[np.int64]] = []
        for chunk in np.array_split(order_B, chunks):
            by_length = np.lexsort((self._source_B[chunk], self._target_B[chunk]))
            batches += self._cut(chunk[by_length], batch_size)
        self.padding = self._padding(batches)
        shuffled = generator.permutation(len(batches))
        return [torch.from_numpy(batches[i]) for i in shuffled]

    def _cut(self, ids: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
        """As many batches as fit, of about equal numbers of target pieces."""
        ends = np.cumsum(self._target_B[ids])
        total = int(ends[-1]) if len(ends) else 0
        count = max(1, round(total / batch_size))
        which = (ends - 1) * count // max(1, total)
        return [part for part in np.split(ids, np.flatnonzero(np.diff(which)) + 1) if len(part)]

    def _padding(self, batches: Sequence[NDArray[np.int64]]) -> float:
        lengths = (self._source_B, self._target_B)
        room = sum(len(ids) * int(side[ids].max()) for ids in batches for side in lengths)
        return 1 - sum(int(side.sum()) for side in lengths) / max(1, room)

    def batch(self, ids: torch.Tensor) -> Batch:
        at = ids.numpy().astype(np.int64)
        pieces = self.examples.source_pieces, self.examples.target_pieces
        return self.padded(ids, pieces[0].take(at), pieces[1].take(at))

    def segmented(self, ids: torch.Tensor, dropout: float, draws_B2W: NDArray[np.float32]) -> Batch:
        """The sentences in pieces drawn anew with BPE-dropout (Provilkov et al. 2020)."""
        if dropout not in self._tables:
            tokenizer = self.examples.tokenizer
            assert tokenizer is not None
            sides = self.examples.sources, self.examples.targets
            texts = [s.all() if isinstance(s, Texts) else s for s in sides]
            self._tables[dropout] = (
                WordTable(tokenizer, texts[0], dropout, seed=0),
                WordTable(tokenizer, texts[1], dropout, seed=1),
            )
        at = ids.cpu().numpy().astype(np.int64)
        source, target = self._tables[dropout]
        return self.padded(
            ids, source.batch(at, draws_B2W[:, 0]), target.batch(at, draws_B2W[:, 1])
        )

    def padded(self, ids: torch.Tensor, source: Ragged, target: Ragged) -> Batch:
        """The batch of these pieces, which have no begin and no end yet."""
        source_BS, target_BT = padded(source, end=True), padded(target, end=True)
        pairs = Pairs(
            source_BS.to(self.device),
            torch.from_numpy(source.lengths + 1).to(self.device),
            padded(target, begin=True).to(self.device),
            self,
        )
        size = len(target.values) + len(target.lengths)
        return Batch(pairs, target_BT.to(self.device), ids.to(self.device), size)

    def prepare(self, inputs: Pairs) -> Pairs:
        return inputs


def padded(rows: Ragged, *, begin: bool = False, end: bool = False) -> torch.Tensor:
    """(B, longest) int64 with padding after each row."""
    lengths_B, count = rows.lengths, len(rows.lengths)
    width = int(lengths_B.max(initial=0)) + begin + end
    table = np.full((count, width), PAD, np.int64)
    which = np.repeat(np.arange(count), lengths_B)
    within = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1] - rows.offsets[0], lengths_B)
    table[which, within + begin] = rows.values
    if begin:
        table[:, 0] = BEGIN
    if end:
        table[np.arange(count), lengths_B + begin] = END
    return torch.from_numpy(table)
