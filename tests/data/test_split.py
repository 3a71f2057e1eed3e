"""Splits are seeded, stratified, cut no unit, and hang on contents alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.data import split

# examples as (label, content, group): few contents and groups, so that they repeat
EXAMPLES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 8)), min_size=1, max_size=120
)


def parts(examples: list[tuple[int, int, int]]):
    labels, contents, groups = (np.array(column) for column in zip(*examples, strict=True))
    hashes = split.ranks(contents.astype(np.uint64), 0, "made up")
    return labels.astype(np.int64), hashes, [f"g{g}" for g in groups]


def carved(examples, grouped: bool, share: float = 0.25, seed: int = 3, most: int | None = None):
    labels, hashes, groups = parts(examples)
    return split.carve(labels, hashes, groups if grouped else None, share, seed, "test", most)


@given(EXAMPLES, st.booleans(), st.floats(0.01, 0.9))
def test_no_unit_is_cut(examples, grouped: bool, share: float) -> None:
    held = carved(examples, grouped, share)
    for column in (1, 2) if grouped else (1,):
        keys = [e[column] for e in examples]
        assert not {k for k, h in zip(keys, held, strict=True) if h} & {
            k for k, h in zip(keys, held, strict=True) if not h
        }


@given(EXAMPLES, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(examples, grouped: bool, random) -> None:
    held = carved(examples, grouped)
    order = list(range(len(examples)))
    random.shuffle(order)
    again = carved([examples[i] for i in order], grouped)
    assert [bool(held[i]) for i in order] == [bool(h) for h in again]


@given(EXAMPLES, st.booleans(), st.floats(0.01, 0.9))
def test_something_is_held_out_where_it_can_be_and_never_all(examples, grouped, share) -> None:
    held = carved(examples, grouped, share)
    _, hashes, groups = parts(examples)
    units = split.units_of(hashes, groups if grouped else None)
    assert not held.all()
    if grouped:
        assert held.any() == (len(set(units.tolist())) > 1)


def test_shares_are_kept_in_every_label() -> None:
    examples = [(i % 3, i, 0) for i in range(3000)]
    held = carved(examples, grouped=False, share=0.1)
    counts = np.bincount(np.arange(3000)[held] % 3)
    assert counts.tolist() == [100, 100, 100]


def test_a_cap_is_never_passed() -> None:
    labels = np.array([0] * 5923 + [1] * 6742 + [2] * 5958, np.int64)
    hashes = split.ranks(np.arange(len(labels), dtype=np.uint64), 0, "made up")
    held = split.carve(labels, hashes, None, 0.5, 0, "validation", most=5000)
    assert held.sum() == 5000


def test_groups_come_close_to_the_share_of_every_label() -> None:
    examples = [
        (label, 10 * person + label, person) for person in range(100) for label in range(10)
    ]
    held = carved(examples, grouped=True, share=0.2)
    assert (
        np.bincount([e[0] for e, h in zip(examples, held, strict=True) if h]).tolist() == [20] * 10
    )


def test_one_example_of_a_label_stays_in_train() -> None:
    held = carved([(0, 1, 0), (1, 2, 0), (1, 3, 0)], grouped=False)
    assert not held[0]
    assert held.sum() == 1


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    examples = [(i % 2, i, 0) for i in range(200)]
    assert np.array_equal(carved(examples, False, seed=1), carved(examples, False, seed=1))
    assert not np.array_equal(carved(examples, False, seed=1), carved(examples, False, seed=2))


def test_the_split_is_the_same_on_every_machine() -> None:
    examples = [(i % 2, i, 0) for i in range(40)]
    held = carved(examples, grouped=False, share=0.2, seed=7)
    assert np.flatnonzero(held).tolist() == [7, 18, 19, 26, 28, 29, 33, 34]


@given(EXAMPLES, st.booleans(), st.integers(2, 6))
def test_folds_part_the_examples_and_cut_no_unit(examples, grouped: bool, folds: int) -> None:
    labels, hashes, groups = parts(examples)
    fold = split.deal(labels, hashes, groups if grouped else None, folds, 0)
    assert set(fold.tolist()) <= set(range(folds))
    units = split.units_of(hashes, groups if grouped else None)
    for unit in set(units.tolist()):
        assert len(set(fold[units == unit].tolist())) == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_are_even_and_stratified(grouped: bool) -> None:
    examples = [(label, 10 * person + label, person) for person in range(50) for label in range(10)]
    labels, hashes, groups = parts(examples)
    fold = split.deal(labels, hashes, groups if grouped else None, 5, 0)
    for f in range(5):
        assert np.bincount(labels[fold == f], minlength=10).tolist() == [10] * 10


@given(EXAMPLES, st.integers(1, 20), st.integers(1, 20), st.floats(0.05, 1), st.floats(0.05, 1))
def test_what_a_smaller_choice_keeps_a_larger_keeps_too(examples, n, m, p, q) -> None:
    labels, hashes, _ = parts(examples)
    few = split.keep_per_label(labels, hashes, min(n, m), min(p, q), 0)
    many = split.keep_per_label(labels, hashes, max(n, m), max(p, q), 0)
    assert not (few & ~many).any()
    assert set(labels[few].tolist()) == set(labels.tolist())
    assert np.bincount(labels[few]).max() <= min(n, m)


def test_keeping_a_number_of_each_label() -> None:
    labels = np.array([0] * 10 + [1] * 3, np.int64)
    hashes = np.arange(13, dtype=np.uint64)
    assert np.bincount(labels[split.keep_per_label(labels, hashes, 5, 1.0, 0)]).tolist() == [5, 3]
    assert np.bincount(labels[split.keep_per_label(labels, hashes, None, 0.5, 0)]).tolist() == [
        5,
        2,
    ]


def test_nothing_gives_nothing() -> None:
    none = np.zeros(0, np.int64)
    hashes = np.zeros(0, np.uint64)
    assert split.carve(none, hashes, None, 0.1, 0, "test").tolist() == []
    assert split.deal(none, hashes, None, 5, 0).tolist() == []
    assert split.keep_per_label(none, hashes, 1, 1.0, 0).tolist() == []


@pytest.mark.parametrize("words", ["", "5", "1/", "5/5", "0/1", "-1/5", "a/b", "0/5/1"])
def test_a_wrong_fold_is_refused(words: str) -> None:
    with pytest.raises(UserError, match="fold"):
        split.parse_fold(words)


def test_a_fold_is_read() -> None:
    assert split.parse_fold(" 0/5 ") == (0, 5)
