"""quality: a quick look at a translator in the middle of a fit.

Shapes: B sentences, S source positions, R rows still being translated, T target positions, V
pieces, N target pieces without padding.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from shoestring.core.protocols import Feed, Network, Quality
from shoestring.tasks.translation.feed import TranslationFeed
from shoestring.tasks.translation.model import Translator
from shoestring.tasks.translation.scores import corpus_bleu
from shoestring.tasks.translation.special import BOS, EOS, PAD

LOOK_EXAMPLES = 256  # a look at the validation split in the middle of a fit takes these at most
LOOK_BATCH = 128
MANY = 16  # sentences, of which one at least ends in time where the weights know when to
NOISE = 12.0  # BLEU by which two looks at like weights differ, times the root of the sentences
BEYOND = (1.25, 5)  # times the reference, and more pieces: where a look cuts a translation off


def looked(network: Network, model: nn.Module, feed: Feed) -> Quality:
    """Greedy BLEU and mean cross-entropy on at most LOOK_EXAMPLES pairs, spread evenly over the
    split and always the same."""
    assert isinstance(feed, TranslationFeed)
    examples, tokenizer = feed.examples, feed.examples.tokenizer
    assert tokenizer is not None
    count = min(len(feed), LOOK_EXAMPLES)
    chosen = np.arange(count) * len(feed) // max(1, count)
    chosen = chosen[np.argsort(examples.source_pieces.lengths[chosen], kind="stable")]
    loss, pieces = 0.0, 0
    hypotheses: list[str] = []
    for ids in torch.split(torch.from_numpy(chosen), LOOK_BATCH):
        batch = feed.batch(ids)
        pairs = feed.prepare(batch.inputs)
        logits_NV, labels_N = network.logits(model, pairs, batch.targets)
        loss += float(F.cross_entropy(logits_NV.float(), labels_N, reduction="sum"))
        pieces += batch.size
        # Weights that know little hardly ever end a sentence, and a look would take many times
        # what it takes later on; where of many none has ended when half of the references have,
        # it is over.
        targets_B = (batch.targets != PAD).sum(1)
        limits_B = (targets_B * BEYOND[0] + BEYOND[1]).long()
        known = cast(Translator, model), pairs.source_BS, pairs.lengths_B
        hopeless = int(targets_B.median()) if len(ids) >= MANY else None
        found = greedy(*known, limits_B, hopeless=hopeless)
        hypotheses += [tokenizer.decode(row) for row in found]
    references = [examples.targets[i] for i in chosen.tolist()]
    bleu = corpus_bleu(hypotheses, references, feed.facts)
    return Quality(bleu, loss / max(1, pieces), count, NOISE / max(1, count) ** 0.5)


def greedy(
    model: Translator,
    source_BS: torch.Tensor,
    lengths_B: torch.Tensor,
    limits_B: torch.Tensor,
    hopeless: int | None = None,
) -> list[list[int]]:
    """The likeliest piece at each step, without begin and end, at most `limits_B`, and at most
    `hopeless` where none has come to an end by then. Rows that have ended leave once they are half
    of all."""
    rows_R = torch.arange(len(source_BS), device=source_BS.device)
    limit_R = limits_B
    piece_R = torch.full_like(rows_R, BOS)
    ended_R = torch.zeros_like(rows_R, dtype=torch.bool)
    memory: Any = model.encode(source_BS, lengths_B)  # what the model's own start takes
    state = model.start(memory)
    found: list[list[int]] = [[] for _ in range(len(source_BS))]
    some = False
    for position in range(int(limit_R.max())):
        logits_RV, state, _ = model.step(state, piece_R)
        piece_R = logits_RV.argmax(1)
        came_R = piece_R == EOS
        some = some or bool(came_R.any())
        ended_R = ended_R | came_R | (position >= limit_R)
        for row, piece, ended in zip(
            rows_R.tolist(), piece_R.tolist(), ended_R.tolist(), strict=True
        ):
            if not ended:
                found[row].append(piece)
        going = (~ended_R).nonzero().squeeze(1)
        if not len(going) or (position == hopeless and not some):
            break
        if 2 * len(going) <= len(ended_R):
            rows_R, piece_R, limit_R = rows_R[going], piece_R[going], limit_R[going]
            ended_R = ended_R[going]
            state = {name: tensor.index_select(0, going) for name, tensor in state.items()}
    return found
