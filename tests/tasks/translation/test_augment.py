"""Changes of training text: words that change places, and batches cut to what dropout makes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from shoestring.core.protocols import Batch, Feed
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.translation.augment import augment
from shoestring.tasks.translation.defaults import AUGMENT
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.feed import TranslationFeed
from shoestring.tasks.translation.special import EOS, PAD
from shoestring.tasks.translation.tokenizer import Tokenizer, train
from shoestring.techniques.augment import Augment

SYLLABLES = ("ba", "lo", "mi", "tu", "ker", "sna", "fo", "gil")


@cache
def texts() -> tuple[list[str], list[str]]:
    draws = np.random.default_rng(0)
    words = ["".join(draws.choice(SYLLABLES, int(draws.integers(1, 5)))) for _ in range(80)]
    sources = [" ".join(draws.choice(words, int(draws.integers(1, 20)))) for _ in range(600)]
    return sources, [" ".join(s.split()[::-1]) for s in sources]


@cache
def tokenizer() -> Tokenizer:
    return train([*texts()[0], *texts()[1]], 340)


def a_feed() -> TranslationFeed:
    sources, targets = texts()
    hashes = np.arange(len(sources), dtype=np.uint64)
    return TranslationFeed(
        TranslationExamples(sources, targets, hashes, "train", tokenizer()), {}, "cpu"
    )


def changed(feed: Feed, ids: torch.Tensor, seed: int = 0, epoch: int = 0, **options: Any) -> Batch:
    batch = feed.batch(ids)
    return augment(batch, KeyedDraws(seed, epoch, batch.ids), {**AUGMENT, **options})


def sources(batch: Batch) -> list[str]:
    lengths = batch.inputs.lengths_B.tolist()
    rows = zip(batch.inputs.source_BS.tolist(), lengths, strict=True)
    return [tokenizer().decode(row[: length - 1]) for row, length in rows]


def room(feed: Feed, order: Any, epoch: int, dropout: float) -> float:
    """Share of the positions that are padding in the batches that the network gets."""
    held = width = 0
    for ids in order:
        batch = changed(feed, ids, 3, epoch, bpe_dropout=dropout)
        held += int(batch.inputs.lengths_B.sum()) + batch.size
        width += batch.inputs.source_BS.numel() + batch.targets.numel()
    return 1 - held / width


def test_words_move_by_a_place_or_two_and_none_is_lost() -> None:
    feed, ids = a_feed(), torch.arange(300)
    plain = feed.batch(ids)
    batch = changed(feed, ids, swap=0.3)
    assert torch.equal(batch.targets, plain.targets)
    assert torch.equal(batch.inputs.target_in_BT, plain.inputs.target_in_BT)
    ended = plain.inputs.source_BS == EOS
    assert torch.equal(batch.inputs.source_BS == EOS, ended)
    assert torch.equal(batch.inputs.source_BS == PAD, plain.inputs.source_BS == PAD)
    moved = 0
    for got, was in zip(sources(batch), texts()[0], strict=False):
        assert sorted(got.split()) == sorted(was.split())
        moved += got != was
    assert 150 < moved < 290


def test_some_sources_come_in_capitals_and_some_in_small_letters() -> None:
    written = [text.title() for text in texts()[0]]
    examples = TranslationExamples(
        written, texts()[1], np.arange(600, dtype=np.uint64), "train", tokenizer()
    )
    feed, ids = TranslationFeed(examples, {}, "cpu"), torch.arange(600)
    plain, batch = feed.batch(ids), changed(feed, ids, case=0.4)
    assert torch.equal(batch.targets, plain.targets)
    found = sources(batch)
    counts = [0, 0]
    for got, was in zip(found, written, strict=True):
        assert got in (was, was.upper(), was.lower())
        counts[0] += got == was.upper()
        counts[1] += got == was.lower()
    assert min(counts) > 80
    assert sum(counts) < 300
    few = changed(feed, ids[40:50], case=0.4)
    assert sources(few) == found[40:50]  # whatever the batch
    ended = batch.inputs.source_BS.gather(1, batch.inputs.lengths_B[:, None] - 1)
    assert bool((ended == EOS).all())
    assert torch.equal(changed(feed, ids, case=1e-9).inputs.source_BS, plain.inputs.source_BS)


def test_a_word_passes_the_next_one_and_its_pieces_stay_together() -> None:
    numbered = [" ".join(f"{SYLLABLES[i % 8]}{SYLLABLES[i // 8]}" for i in range(12))] * 400
    examples = TranslationExamples(
        numbered, numbered, np.arange(400, dtype=np.uint64), "train", tokenizer()
    )
    feed = TranslationFeed(examples, {}, "cpu")
    place = {word: i for i, word in enumerate(numbered[0].split())}
    far = 0
    for got in sources(changed(feed, torch.arange(400), swap=0.2)):
        order = [place[word] for word in got.split()]
        assert sorted(order) == list(range(12))
        far = max(far, *(abs(i - at) for i, at in enumerate(order)))
    assert 1 <= far <= 2


def test_none_and_all_of_the_words() -> None:
    feed, ids = a_feed(), torch.arange(40)
    assert sources(changed(feed, ids, swap=0.0)) == texts()[0][:40]
    assert sources(changed(feed, ids, swap=1.0)) == texts()[0][:40]  # all moved: none passes


def test_what_a_sentence_becomes_does_not_hang_on_its_batch() -> None:
    feed = a_feed()
    options: dict[str, Any] = {"swap": 0.3, "bpe_dropout": 0.2, "word_dropout": 0.1}
    together = changed(feed, torch.tensor([5, 6, 7]), **options)
    alone = changed(a_feed(), torch.tensor([7]), **options)
    length = int(alone.inputs.lengths_B[0])
    one = alone.inputs.source_BS[0, :length]
    assert torch.equal(together.inputs.source_BS[2, :length], one)


@pytest.mark.parametrize("dropout", [0.1, 0.3])
def test_batches_are_cut_to_the_pieces_that_dropout_makes(dropout: float) -> None:
    plain = a_feed()
    feed = Augment(bpe_dropout=dropout).change_feed(_task(), plain, KeyedDraws)
    before = room(plain, plain.order(400, 3, 2), 2, dropout)
    order = feed.order(400, 3, 2)
    after = room(feed, order, 2, dropout)
    assert after == pytest.approx(feed.padding, abs=1e-9)
    assert after < 0.7 * before
    assert sorted(torch.cat(list(order)).tolist()) == list(range(len(feed)))
    sizes = [changed(feed, ids, 3, 2, bpe_dropout=dropout).size for ids in order]
    assert max(sizes) < 1.3 * 400
    assert min(sizes) > 0.7 * 400


def test_the_order_under_dropout_hangs_on_seed_and_epoch_alone() -> None:
    hook = Augment(bpe_dropout=0.2)
    feed, other = (hook.change_feed(_task(), a_feed(), KeyedDraws) for _ in range(2))
    other.order(128, 5, 6)
    first = [ids.tolist() for ids in feed.order(256, 1, 2)]
    assert [ids.tolist() for ids in other.order(256, 1, 2)] == first
    assert [ids.tolist() for ids in feed.order(256, 1, 3)] != first


def test_without_dropout_the_order_is_as_it_was() -> None:
    plain = a_feed()
    feed = Augment(swap=0.1).change_feed(_task(), plain, KeyedDraws)
    pairs = zip(feed.order(256, 1, 2), plain.order(256, 1, 2), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def _task() -> Any:
    from shoestring.tasks.translation.task import TASK

    return TASK
