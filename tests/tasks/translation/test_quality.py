"""A look in the middle of a fit: greedy translations, and the same whoever shares the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shoestring.tasks.translation import quality
from shoestring.tasks.translation.special import BOS, EOS
from tests.tasks.translation.making import SMALL, a_network, only, some_pairs
from tests.tasks.translation.test_feed import a_feed


@pytest.mark.parametrize("name", SMALL)
def test_greedy_takes_the_likeliest_piece_and_rows_that_leave_change_nothing(name: str) -> None:
    _, model = a_network(name)
    pairs, targets = some_pairs([(7, 3), (2, 6), (5, 5), (1, 1), (3, 3)])
    limits_B = 2 * pairs.lengths_B + 10
    with torch.no_grad():
        together = quality.greedy(model, pairs.source_BS, pairs.lengths_B, limits_B)
        for row, found in enumerate(together):
            alone, _ = only(pairs, targets, row)
            limit_1 = limits_B[row : row + 1]
            assert quality.greedy(model, alone.source_BS, alone.lengths_B, limit_1) == [found]
            assert found == _slow(model, alone.source_BS, alone.lengths_B)


def _slow(model, source_BS: torch.Tensor, lengths_B: torch.Tensor) -> list[int]:  # type: ignore[no-untyped-def]  # of either kind
    state, piece, found = model.start(model.encode(source_BS, lengths_B)), BOS, []
    while len(found) < 2 * int(lengths_B) + 10:
        logits_RV, state, _ = model.step(state, torch.tensor([piece]))
        piece = int(logits_RV.argmax())
        if piece == EOS:
            break
        found.append(piece)
    return found


def test_a_look_gives_bleu_and_loss_of_evenly_spread_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quality, "LOOK_EXAMPLES", 30)
    feed = a_feed()
    tokenizer = feed.examples.tokenizer
    assert tokenizer is not None
    network, _ = a_network("lstm")
    torch.manual_seed(0)
    options = {"embedding": 16, "encoder_units": 8, "decoder_units": 16}
    model = network.build(network.architecture(options, {"pieces": tokenizer.size})).eval()
    with torch.no_grad():
        found = quality.looked(network, model, feed)
        assert found == quality.looked(network, model, feed)
    assert found.examples == 30
    assert 0 <= found.quality < 20
    assert 3 < found.loss < 8


class Counting:
    """Writes so many pieces in each row, then ends it."""

    def __init__(self, *lengths: int) -> None:
        self.lengths_B = torch.tensor(lengths)

    def encode(self, source_BS: torch.Tensor, lengths_B: torch.Tensor) -> None:
        return None

    def start(self, memory: None) -> dict[str, torch.Tensor]:
        return {"left": self.lengths_B.clone()}

    def step(
        self, state: dict[str, torch.Tensor], piece_R: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], None]:
        next_R = torch.where(state["left"] > 0, EOS + 1, EOS)
        return torch.nn.functional.one_hot(next_R, 9), {"left": state["left"] - 1}, None


def test_a_look_is_over_where_no_sentence_ends_and_no_other() -> None:
    def written(*lengths: int) -> list[int]:
        rows = len(lengths)
        source_BS, limits_B = torch.zeros(rows, 3, dtype=torch.long), torch.full((rows,), 20)
        model: Any = Counting(*lengths)
        lengths_B = torch.full((rows,), 3)
        return [len(row) for row in quality.greedy(model, source_BS, lengths_B, limits_B, 10)]

    assert written(50, 50, 50) == [11, 11, 11]  # hopeless
    assert written(50, 4, 15) == [20, 4, 15]


def test_a_few_sentences_are_written_to_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a batch of one may well be longer than its reference."""
    told: list[int | None] = []

    def noted(*words: Any, hopeless: int | None) -> list[list[int]]:
        told.append(hopeless)
        return [[] for _ in words[1]]

    monkeypatch.setattr(quality, "greedy", noted)
    feed = a_feed()
    tokenizer = feed.examples.tokenizer
    assert tokenizer is not None
    network, _ = a_network("lstm")
    options = {"embedding": 16, "encoder_units": 8, "decoder_units": 16}
    model = network.build(network.architecture(options, {"pieces": tokenizer.size})).eval()
    for many in (False, True):
        told.clear()
        monkeypatch.setattr(quality, "LOOK_BATCH", quality.MANY if many else quality.MANY - 1)
        with torch.no_grad():
            quality.looked(network, model, feed)
        assert (told[0] is not None) == many
