"""augment: changes of a training batch of sentences that keep their meaning.

Shapes: B sentences, S source positions, T target positions, W words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from shoestring.core.protocols import Batch, Draws
from shoestring.tasks.translation.feed import SOURCE_STEP, WORDS, Pairs, by_side, padded
from shoestring.tasks.translation.ragged import packed
from shoestring.tasks.translation.special import BOS, EOS, PAD, UNK

# Draws a sentence, whatever the batch's width: or an example's numbers would hang on its batch.
POSITIONS = 256  # a longer sentence takes the same draws again
MOVED = 1.5  # places: past the next word, and not past the one after it


def augment(batch: Batch, draws: Draws, options: Mapping[str, Any]) -> Batch:
    """A batch encoded anew with BPE-dropout, then with sources in other case, then with words of
    the source that changed places, then with single pieces unknown."""
    if options["bpe_dropout"]:
        feed = cast(Pairs, batch.inputs).feed
        assert feed is not None
        # The first numbers drawn: the feed made its batches of the lengths that come of them.
        batch = feed.segmented(batch.ids, options["bpe_dropout"], by_side(draws))
    if options["case"]:
        batch = cased(batch, draws, options["case"])
    if options["swap"]:
        pairs = cast(Pairs, batch.inputs)
        source_BS = swapped(pairs, draws, options["swap"])
        batch = replace(batch, inputs=replace(pairs, source_BS=source_BS))
    if options["word_dropout"]:
        pairs = cast(Pairs, batch.inputs)
        share = options["word_dropout"]
        source_BS = _unknown(pairs.source_BS, draws, share)
        target_in_BT = _unknown(pairs.target_in_BT, draws, share)
        batch = replace(
            batch, inputs=replace(pairs, source_BS=source_BS, target_in_BT=target_in_BT)
        )
    return batch


def cased(batch: Batch, draws: Draws, share: float) -> Batch:
    """The batch with a share of its sources in capitals, half of them, or in small letters, the
    others: as people write who do not look, and in pieces that are rare otherwise."""
    pairs = cast(Pairs, batch.inputs)
    assert pairs.feed is not None
    examples = pairs.feed.examples
    tokenizer = examples.tokenizer
    assert tokenizer is not None
    drawn_B2 = draws.uniform(2).cpu().numpy()
    chosen = np.flatnonzero(drawn_B2[:, 0] < share).tolist()
    if not chosen:
        return batch
    lengths = (pairs.lengths_B - 1).tolist()
    rows = [row[:end] for row, end in zip(pairs.source_BS.tolist(), lengths, strict=True)]
    for place in chosen:
        text = examples.sources[int(batch.ids[place])]
        rows[place] = tokenizer.encode(text.upper() if drawn_B2[place, 1] < 0.5 else text.lower())
    source = packed(rows)
    source_BS = padded(source, end=True, multiple=SOURCE_STEP)
    device = pairs.source_BS.device
    lengths_B = torch.from_numpy(source.lengths + 1).to(device)
    return replace(
        batch, inputs=replace(pairs, source_BS=source_BS.to(device), lengths_B=lengths_B)
    )


def swapped(pairs: Pairs, draws: Draws, share: float) -> torch.Tensor:
    """(B, S) the source with a share of its words behind the word that followed them, as in the
    noise of Lample et al. 2018, "Unsupervised machine translation using monolingual corpora
    only". A word is what a space stands before; its pieces stay together."""
    assert pairs.feed is not None
    tokenizer, source_BS = pairs.feed.examples.tokenizer, pairs.source_BS
    assert tokenizer is not None
    begins_V = torch.from_numpy(tokenizer.begins_word).to(source_BS.device)
    word_BS = begins_V[source_BS].cumsum(1)
    moved_BW = draws.uniform(WORDS) < share
    place_BS = word_BS + MOVED * moved_BW.gather(1, word_BS % WORDS)
    last_BS = (source_BS == EOS) | (source_BS == PAD)
    place_BS = place_BS.masked_fill(last_BS, float("inf"))
    return source_BS.gather(1, place_BS.argsort(dim=1, stable=True))


def _unknown(pieces_BS: torch.Tensor, draws: Draws, share: float) -> torch.Tensor:
    """Each piece unknown at a probability of `share`, but for begin, end and padding."""
    width = pieces_BS.shape[1]
    drawn_BS = draws.uniform(POSITIONS).repeat(1, -(-width // POSITIONS))[:, :width]
    fixed_BS = (pieces_BS == PAD) | (pieces_BS == BOS) | (pieces_BS == EOS)
    return torch.where((drawn_BS < share) & ~fixed_BS, UNK, pieces_BS)
