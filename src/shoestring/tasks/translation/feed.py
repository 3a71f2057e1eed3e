"""feed: pairs of sentences on the device, in batches of about so many target pieces.

Shapes: B sentences, S source positions, T target positions, W draws a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.core.protocols import Batch, Draws
from shoestring.core.receipt import Plain
from shoestring.tasks.translation import synthetic
from shoestring.tasks.translation.examples import Texts, TranslationExamples
from shoestring.tasks.translation.ragged import Ragged, ends
from shoestring.tasks.translation.special import BOS, EOS, PAD
from shoestring.tasks.translation.tokenizer import WordTable

CHUNK_BATCHES = 200  # sorted by length together: fewer mix better, more need less padding
WORDS = 64  # draws a sentence and side; a longer sentence takes the same ones again
_DRAWN_TOGETHER = 4_096  # sentences
# oneDNN makes a kernel for each shape of a product in bfloat16, in 1 to 3 ms, and keeps some: with
# any number of sentences, positions and labels that was a third of a transformer's step.
STEPS = (8, 4, 2)  # sentences of a batch are a multiple, where that is near enough
SOURCE_STEP = 2  # positions of the source are a multiple
EVEN = 4  # batches at the end, which are of equal sizes instead

Drawing = Callable[[int, int, torch.Tensor], Draws]  # of seed, epoch and examples


@dataclass(frozen=True)
class Pairs:
    """What the network reads of a batch."""

    source_BS: torch.Tensor  # int64, the end at the end, then padding
    lengths_B: torch.Tensor  # int64, of the source with its end
    target_in_BT: torch.Tensor  # int64, the beginning first, then padding
    feed: TranslationFeed | None = field(default=None, compare=False, repr=False)


class TranslationFeed:
    """A split as the loop takes it."""

    def __init__(
        self,
        examples: TranslationExamples,
        facts: Plain,
        device: str,
        dropout: float = 0.0,
        draws: Drawing | None = None,
    ) -> None:
        self.examples, self.facts, self.device = examples, facts, device
        # What `augment` will do to the batches: they are made of the lengths that come of it.
        self._dropout, self._draws = dropout, draws
        self.padding = 0.0  # share of positions that are padding, in the order made last
        # With the end; in memory, or every batch would look them up on disk.
        self._source_B = examples.source_pieces.lengths + 1
        self._target_B = examples.target_pieces.lengths + 1
        self._tables: dict[float, tuple[WordTable, WordTable]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def augmented(self, options: Mapping[str, Any], draws: Drawing) -> TranslationFeed:
        """The same pairs, and those that were made beside them, in batches for these options."""
        examples = self.examples
        if options["synthetic"]:
            examples = synthetic.joined(examples, options["synthetic"])
        dropout = options["bpe_dropout"]
        return TranslationFeed(examples, self.facts, self.device, dropout, draws)

    def joined(self, key: str, alone: bool) -> TranslationFeed:
        """The same batches with the pairs of a key behind these, or in their place."""
        joins = synthetic.replaced if alone else synthetic.joined
        examples = joins(self.examples, key)
        return TranslationFeed(examples, self.facts, self.device, self._dropout, self._draws)

    @property
    def label_count(self) -> int:
        return int(self._target_B.sum())

    def places(self, batch: Batch) -> torch.Tensor:
        """(N,) of the pieces that `TranslationNetwork.logits` gives, position by position."""
        width = batch.targets.shape[1]
        first_B = torch.from_numpy(self._begins).to(batch.ids.device).index_select(0, batch.ids)
        place_TB = first_B + torch.arange(width, device=batch.ids.device)[:, None]
        return place_TB[batch.targets.T != PAD]

    @cached_property
    def _begins(self) -> NDArray[np.int64]:
        """(B + 1,) where the labels of each pair begin."""
        return ends(self._target_B)

    def order(self, batch_size: int, seed: int, epoch: int) -> Sequence[torch.Tensor]:
        """Batches of about `batch_size` target pieces, each of sentences of like length: the
        sentences are shuffled, cut into chunks of many batches, sorted within each, and cut where
        the pieces add up, so that no batch is much smaller than others. The batches are shuffled
        again."""
        lengths = self._lengths(seed, epoch)
        generator = np.random.Generator(np.random.Philox(key=[seed & (2**63 - 1), epoch]))
        order_B = generator.permutation(len(self))
        total = int(lengths[1].sum())
        chunks = max(1, round(total / (batch_size * CHUNK_BATCHES)))
        batches: list[NDArray[np.int64]] = []
        for chunk in np.array_split(order_B, chunks):
            by_length = chunk[np.lexsort((lengths[0][chunk], lengths[1][chunk]))]
            batches += _cut(by_length, lengths[1][by_length], batch_size)
        room = sum(
            len(ids) * (_wide(lengths[0][ids]) + int(lengths[1][ids].max())) for ids in batches
        )
        self.padding = 1 - sum(int(side.sum()) for side in lengths) / max(1, room)
        shuffled = generator.permutation(len(batches))
        return [torch.from_numpy(batches[i]) for i in shuffled]

    def _lengths(self, seed: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B,) pieces of each source and target in an epoch, with the end. Under BPE-dropout they
        are drawn anew for each; batches sorted by the undropped ones were a third padding."""
        if not self._dropout or self._draws is None:
            return self._source_B, self._target_B
        lengths = np.empty((2, len(self)), np.int64)
        tables = self._drawn(self._dropout)
        for first in range(0, len(self), _DRAWN_TOGETHER):
            at = np.arange(first, min(first + _DRAWN_TOGETHER, len(self)))
            drawn = by_side(self._draws(seed, epoch, torch.from_numpy(at)))
            for side, table in enumerate(tables):
                lengths[side, at] = table.lengths(at, drawn[:, side]) + 1
        return lengths[0], lengths[1]

    def batch(self, ids: torch.Tensor) -> Batch:
        at = ids.numpy().astype(np.int64)
        pieces = self.examples.source_pieces, self.examples.target_pieces
        return self.padded(ids, pieces[0].take(at), pieces[1].take(at))

    def segmented(self, ids: torch.Tensor, dropout: float, draws_B2W: NDArray[np.float32]) -> Batch:
        """The sentences in pieces drawn anew with BPE-dropout (Provilkov et al. 2020)."""
        at = ids.cpu().numpy().astype(np.int64)
        source, target = self._drawn(dropout)
        return self.padded(
            ids, source.batch(at, draws_B2W[:, 0]), target.batch(at, draws_B2W[:, 1])
        )

    def _drawn(self, dropout: float) -> tuple[WordTable, WordTable]:
        """The words of both sides in the ways that dropout segments them."""
        if dropout not in self._tables:
            tokenizer = self.examples.tokenizer
            assert tokenizer is not None
            sides = self.examples.sources, self.examples.targets
            texts = [s.all() if isinstance(s, Texts) else s for s in sides]
            self._tables[dropout] = (
                WordTable(tokenizer, texts[0], dropout, seed=0),
                WordTable(tokenizer, texts[1], dropout, seed=1),
            )
        return self._tables[dropout]

    def padded(self, ids: torch.Tensor, source: Ragged, target: Ragged) -> Batch:
        """The batch of these pieces, which have no begin and no end yet."""
        source_BS = padded(source, end=True, multiple=SOURCE_STEP)
        target_BT = padded(target, end=True)
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


def by_side(draws: Draws) -> NDArray[np.float32]:
    """(B, 2, WORDS) the numbers that BPE-dropout takes, for source and target."""
    drawn_B2W: NDArray[np.float32] = draws.uniform(2 * WORDS).cpu().numpy().reshape(-1, 2, WORDS)
    return drawn_B2W


def _cut(
    ids: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.int64]]:
    """Sentences, sorted by these target lengths, in batches of about so many target pieces. From
    the longest on, how many a batch has hangs on its longest alone, so that few shapes come up; the
    shortest are cut into as many as fit, of about equal numbers of pieces."""
    ends = np.cumsum(lengths)
    batches, end = [], len(ids)
    while end and ends[end - 1] >= EVEN * batch_size:
        begin = max(0, end - _sentences(batch_size, int(lengths[end - 1])))
        batches.append(ids[begin:end])
        end = begin
    total = int(ends[end - 1]) if end else 0
    count = max(1, round(total / batch_size))
    which = (ends[:end] - 1) * count // max(1, total)
    even = np.split(ids[:end], np.flatnonzero(np.diff(which)) + 1)
    return [part for part in (*even, *batches[::-1]) if len(part)]


def _sentences(batch_size: int, length: int) -> int:
    """How many of a length make about so many pieces: a multiple of the larger powers of two that
    are an eighth off at the most."""
    count = batch_size / max(1, length)
    step = next((size for size in STEPS if count >= 4 * size), 1)
    return max(1, step * round(count / step))


def _wide(lengths_B: NDArray[np.int64]) -> int:
    """Positions that sources of these lengths take in a batch."""
    longest = int(lengths_B.max(initial=0))
    return longest + -longest % SOURCE_STEP


def padded(
    rows: Ragged, *, begin: bool = False, end: bool = False, multiple: int = 1
) -> torch.Tensor:
    """(B, longest) int64 with padding after each row, as wide as a multiple of `multiple`."""
    lengths_B, count = rows.lengths, len(rows.lengths)
    width = int(lengths_B.max(initial=0)) + begin + end
    width += -width % multiple
    table = np.full((count, width), PAD, np.int64)
    which = np.repeat(np.arange(count), lengths_B)
    within = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1] - rows.offsets[0], lengths_B)
    table[which, within + begin] = rows.values
    if begin:
        table[:, 0] = BOS
    if end:
        table[np.arange(count), lengths_B + begin] = EOS
    return torch.from_numpy(table)
