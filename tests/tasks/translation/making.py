"""making: small networks and batches for the tests of translation's networks."""

from __future__ import annotations

from typing import Any

import torch

from shoestring.tasks.translation.feed import Pairs
from shoestring.tasks.translation.model import TranslationNetwork, Translator
from shoestring.tasks.translation.special import BOS, EOS, PAD

PIECES = 40
SMALL: dict[str, dict[str, Any]] = {
    "lstm": {"embedding": 16, "encoder_units": 12, "decoder_units": 16},
    "lstm, additive": {"embedding": 16, "encoder_units": 12, "decoder_units": 20,
                       "attention": "additive", "encoder_layers": 2, "decoder_layers": 3},
    "lstm, one layer, not tied": {"embedding": 16, "encoder_units": 8, "decoder_units": 12,
                                  "decoder_layers": 1, "tied": False, "heads": 4},
    "transformer": {"units": 16, "encoder_layers": 2, "decoder_layers": 2, "heads": 4,
                    "feed_forward": 24},
    "transformer, not tied": {"units": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2,
                              "feed_forward": 24, "tied": False},
}  # fmt: skip


def a_network(name: str, seed: int = 0) -> tuple[TranslationNetwork, Translator]:
    """One of SMALL, its weights far enough from zero that differences show."""
    network = TranslationNetwork(name.partition(",")[0])
    torch.manual_seed(seed)
    model = network.build(network.architecture(SMALL[name], {"pieces": PIECES}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return network, model.eval()


def some_pairs(lengths: list[tuple[int, int]], seed: int = 0) -> tuple[Pairs, torch.Tensor]:
    """Random pairs of these source and target lengths (each with its end), and the targets."""
    torch.manual_seed(seed)
    sources = [[*torch.randint(4, PIECES, (s - 1,)).tolist(), EOS] for s, _ in lengths]
    targets = [[*torch.randint(4, PIECES, (t - 1,)).tolist(), EOS] for _, t in lengths]
    before = [[BOS, *target[:-1]] for target in targets]
    pairs = Pairs(_table(sources), torch.tensor([s for s, _ in lengths]), _table(before))
    return pairs, _table(targets)


def only(pairs: Pairs, targets: torch.Tensor, row: int) -> tuple[Pairs, torch.Tensor]:
    """One pair of a batch, without its padding."""
    source, target = int(pairs.lengths_B[row]), int((targets[row] != PAD).sum())
    alone = Pairs(
        pairs.source_BS[row : row + 1, :source],
        pairs.lengths_B[row : row + 1],
        pairs.target_in_BT[row : row + 1, :target],
    )
    return alone, targets[row : row + 1, :target]


def _table(rows: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
