"""The feed: batches by pieces, order by seed and epoch, padding; augmentation by keyed draws."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.core.protocols import Batch
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.translation.augment import augment
from shoestring.tasks.translation.defaults import AUGMENT
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.feed import TranslationFeed, padded
from shoestring.tasks.translation.ragged import packed
from shoestring.tasks.translation.special import BOS, EOS, PAD, UNK
from shoestring.tasks.translation.tokenizer import Tokenizer, train

SYLLABLES = ("ba", "lo", "mi", "tu", "ker", "sna", "fo", "gil")


@cache
def texts() -> tuple[list[str], list[str]]:
    draws = np.random.default_rng(0)

    def word() -> str:
        return "".join(draws.choice(SYLLABLES, int(draws.integers(1, 4))))

    words = [word() for _ in range(60)]
    sources = [" ".join(draws.choice(words, int(draws.integers(1, 20)))) for _ in range(400)]
    return sources, [" ".join(s.split()[::-1]) for s in sources]


@cache
def tokenizer() -> Tokenizer:
    return train([*texts()[0], *texts()[1]], 320)


def a_feed(pairs: tuple[list[str], list[str]] | None = None) -> TranslationFeed:
    sources, targets = pairs or texts()
    hashes = np.arange(len(sources), dtype=np.uint64)
    examples = TranslationExamples(sources, targets, hashes, "train", tokenizer())
    return TranslationFeed(examples, {}, "cpu")


def test_an_epoch_holds_every_pair_once_in_batches_of_about_equal_size() -> None:
    feed = a_feed()
    order = feed.order(300, seed=0, epoch=0)
    assert sorted(torch.cat(list(order)).tolist()) == list(range(len(feed)))
    sizes = [feed.batch(ids).size for ids in order]
    assert max(sizes) < 1.3 * 300
    assert min(sizes) > 0.7 * 300
    assert 0 < feed.padding < 0.1


def test_order_depends_on_seed_and_epoch_alone() -> None:
    feed, other = a_feed(), a_feed()
    other.order(128, 5, 6)
    first = feed.order(256, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, other.order(256, 1, 2), strict=True))
    for seed, epoch in ((1, 3), (2, 2)):
        later = feed.order(256, seed, epoch)
        assert [b.tolist() for b in later] != [b.tolist() for b in first]


def test_batches_are_not_in_the_order_of_their_lengths() -> None:
    feed = a_feed()
    widths = [feed.batch(ids).targets.shape[1] for ids in feed.order(200, 0, 0)]
    assert widths != sorted(widths)


@pytest.mark.parametrize("batch_size", [1, 7, 10**9])
def test_any_batch_size_gives_batches(batch_size: int) -> None:
    feed = a_feed((["ba lo mi", "tu", ""], ["tu", "ba ker lo fo gil", ""]))
    order = feed.order(batch_size, 0, 0)
    assert sorted(torch.cat(list(order)).tolist()) == [0, 1, 2]
    assert len(order) == 1 or batch_size < 100
    assert len(order) == 3 or batch_size > 1


def test_a_batch_holds_begin_end_and_padding_where_they_belong() -> None:
    feed = a_feed()
    ids = torch.tensor([3, 0, 11])
    batch = feed.batch(ids)
    pairs = batch.inputs
    for row, i in enumerate(ids.tolist()):
        source = feed.examples.source_pieces.row(i).tolist()
        target = feed.examples.target_pieces.row(i).tolist()
        length = int(pairs.lengths_B[row])
        assert pairs.source_BS[row, :length].tolist() == [*source, EOS]
        assert set(pairs.source_BS[row, length:].tolist()) <= {PAD}
        inside = batch.targets[row] != PAD
        assert batch.targets[row][inside].tolist() == [*target, EOS]
        assert pairs.target_in_BT[row][inside].tolist() == [BOS, *target]
        assert set(pairs.target_in_BT[row][~inside].tolist()) <= {PAD}
    assert batch.size == int((batch.targets != PAD).sum())


@given(st.lists(st.lists(st.integers(4, 99), max_size=9), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_padded_rows_come_out_as_they_went_in(rows: list[list[int]]) -> None:
    assert [[p for p in r if p != PAD] for r in padded(packed(rows)).tolist()] == rows
    ended = padded(packed(rows), end=True)
    assert [[p for p in r if p != PAD] for r in ended.tolist()] == [[*r, EOS] for r in rows]


def changed(feed: TranslationFeed, ids: list[int], epoch: int = 0, **options: Any) -> Batch:
    batch = feed.batch(torch.tensor(ids))
    return augment(batch, KeyedDraws(0, epoch, batch.ids), {**AUGMENT, **options})


def source_of(batch: Batch, row: int) -> list[int]:
    pieces: list[int] = batch.inputs.source_BS[row, : int(batch.inputs.lengths_B[row])].tolist()
    return pieces


def test_bpe_dropout_changes_pieces_and_no_text() -> None:
    feed, ids = a_feed(), list(range(50))
    batch = changed(feed, ids, bpe_dropout=0.3)
    plain = feed.batch(torch.tensor(ids))
    assert batch.size > plain.size
    for row in ids:
        assert tokenizer().decode(source_of(batch, row)[:-1]) == feed.examples.sources[row]
        target = [p for p in batch.targets[row].tolist() if p != PAD]
        assert tokenizer().decode(target[:-1]) == feed.examples.targets[row]
        inside = batch.targets[row] != PAD
        assert batch.inputs.target_in_BT[row][inside].tolist() == [BOS, *target[:-1]]


@pytest.mark.parametrize(
    "options",
    [{"bpe_dropout": 0.3}, {"word_dropout": 0.3}, {"bpe_dropout": 0.3, "word_dropout": 0.3}],
)
def test_what_a_pair_becomes_hangs_on_epoch_and_pair_and_not_on_its_batch(
    options: dict[str, float],
) -> None:
    feed = a_feed()
    together = changed(feed, [5, 6, 7, 8], **options)
    alone = changed(a_feed(), [7], **options)
    assert source_of(together, 2) == source_of(alone, 0)
    later = [source_of(changed(feed, [5, 6, 7, 8], epoch=1, **options), r) for r in range(4)]
    assert later != [source_of(together, r) for r in range(4)]


def test_word_dropout_makes_pieces_unknown_but_leaves_the_targets() -> None:
    feed, ids = a_feed(), list(range(200))
    batch, plain = changed(feed, ids, word_dropout=0.2), feed.batch(torch.tensor(ids))
    assert torch.equal(batch.targets, plain.targets)
    for got, was in (
        (batch.inputs.source_BS, plain.inputs.source_BS),
        (batch.inputs.target_in_BT, plain.inputs.target_in_BT),
    ):
        inner = (was != PAD) & (was != BOS) & (was != EOS)
        assert torch.equal(got[~inner], was[~inner])
        share = float((got[inner] == UNK).float().mean())
        assert share == pytest.approx(0.2, abs=0.03)
        assert torch.equal(got[got != UNK], was[got != UNK])


def test_nothing_asked_changes_nothing() -> None:
    feed = a_feed()
    batch, plain = changed(feed, [1, 2]), feed.batch(torch.tensor([1, 2]))
    for name in ("source_BS", "lengths_B", "target_in_BT"):
        assert torch.equal(getattr(batch.inputs, name), getattr(plain.inputs, name))
