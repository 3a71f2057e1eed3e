"""Equal and nearly equal examples are found, and the search for near ones ends."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shoestring.data import duplicates

BITS = [1 << i for i in range(64)]


def words(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_conflicts_and_repeats() -> None:
    hashes = words(5, 6, 5, 7, 6, 6)
    labels = np.array([0, 1, 2, 0, 1, 1], np.int64)
    assert duplicates.conflicts(hashes, labels).tolist() == [True, False, True, False, False, False]
    assert duplicates.repeats(hashes).tolist() == [False, False, True, False, True, True]
    assert duplicates.standing_in(hashes, words(7, 5)).tolist() == [1, 0, 1, 1, 0, 0]


def test_nothing_has_no_duplicates() -> None:
    none = words()
    assert duplicates.conflicts(none, np.zeros(0, np.int64)).tolist() == []
    assert duplicates.repeats(none).tolist() == []
    assert duplicates.near_pairs(none, none, 100)[0].shape == (0, 2)
    assert duplicates.near_pairs(words(1), none, 100)[0].shape == (0, 2)


@given(
    arrays.arrays(np.uint64, st.integers(0, 12)),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.sampled_from(BITS), max_size=5)), max_size=9),
)
def test_near_pairs_are_those_of_a_search_through_all(looks, changes) -> None:
    others = [int(looks[i % len(looks)]) ^ sum(bits) for i, bits in changes] if len(looks) else []
    found, cut = duplicates.near_pairs(looks, words(*others), 10**6)
    wanted = [
        [a, b]
        for a, one in enumerate(looks.tolist())
        for b, other in enumerate(others)
        if (one ^ other).bit_count() <= duplicates.NEAR_BITS
    ]
    assert found.tolist() == wanted
    assert not cut


def test_a_search_that_is_cut_says_so() -> None:
    looks = np.zeros(100, np.uint64)
    found, cut = duplicates.near_pairs(looks, looks, 1000)
    assert cut
    assert 0 < len(found) <= 1000
