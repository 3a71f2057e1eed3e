"""augment: changes of a training batch of sentences that keep their meaning.

Shapes: B sentences, S source positions, T target positions, W draws a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch

from shoestring.core.protocols import Batch, Draws
from shoestring.tasks.translation.architecture import BEGIN, END, PAD, UNKNOWN
from shoestring.tasks.translation.feed import Pairs

# Draws a sentence, whatever the batch's width: or an example's numbers would hang on its batch.
WORDS = 64  # a longer sentence takes the same draws again
POSITIONS = 256


def augment(batch: Batch, draws: Draws, options: Mapping[str, Any]) -> Batch:
    """A batch encoded anew with BPE-dropout, then with single pieces unknown."""
    if options["bpe_dropout"]:
        feed = cast(Pairs, batch.inputs).feed
        assert feed is not None
        drawn_B2W = draws.uniform(2 * WORDS).cpu().numpy().reshape(-1, 2, WORDS)
        batch = feed.segmented(batch.ids, options["bpe_dropout"], drawn_B2W)
    if options["word_dropout"]:
        pairs = cast(Pairs, batch.inputs)
        share = options["word_dropout"]
        source_BS = _unknown(pairs.source_BS, draws, share)
        target_in_BT = _unknown(pairs.target_in_BT, draws, share)
        batch = replace(
            batch, inputs=replace(pairs, source_BS=source_BS, target_in_BT=target_in_BT)
        )
    return batch


def _unknown(pieces_BS: torch.Tensor, draws: Draws, share: float) -> torch.Tensor:
    """Each piece unknown at a probability of `share`, but for begin, end and padding."""
    width = pieces_BS.shape[1]
    drawn_BS = draws.uniform(POSITIONS).repeat(1, -(-width // POSITIONS))[:, :width]
    fixed_BS = (pieces_BS == PAD) | (pieces_BS == BEGIN) | (pieces_BS == END)
    return torch.where((drawn_BS < share) & ~fixed_BS, UNKNOWN, pieces_BS)
