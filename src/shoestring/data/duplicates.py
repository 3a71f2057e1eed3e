"""duplicates: examples that are the same, or nearly, and stand where they should not.

Shapes: N examples, P pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR_BITS = 3  # of 64: looks that differ in this many are worth a closer comparison
_BLOCK = 1024  # examples whose pairs are compared at once
_BANDS = 4  # looks within NEAR_BITS agree in one of so many 16-bit bands, as bits are fewer


def conflicts(hashes: NDArray[np.uint64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) which examples share their content with an example of another label."""
    _, codes = np.unique(hashes, return_inverse=True)
    codes = codes.reshape(-1)
    count = int(codes.max(initial=-1)) + 1
    low = np.full(count, np.iinfo(np.int64).max, np.int64)
    high = np.full(count, np.iinfo(np.int64).min, np.int64)
    np.minimum.at(low, codes, labels)
    np.maximum.at(high, codes, labels)
    return np.asarray((low != high)[codes], np.bool_)


def repeats(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) which examples repeat the content of an earlier one."""
    _, first = np.unique(hashes, return_index=True)
    repeated = np.ones(len(hashes), np.bool_)
    repeated[first] = False
    return repeated


def standing_in(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) which of `hashes` stand in `others` as well."""
    return np.asarray(np.isin(hashes, others), np.bool_)


def near_pairs(
    looks: NDArray[np.uint64], others: NDArray[np.uint64], most: int
) -> tuple[NDArray[np.int64], bool]:
    """(P, 2) positions (in looks, in others) that differ in at most NEAR_BITS bits, and whether
    more than `most` pairs would have had to be compared, so that some were not.

    Two looks that near agree in at least one of four bands: only those are compared.
    """
    found = [np.zeros((0, 2), np.int64)]
    left_over, cut = most, False
    for band in range(_BANDS):
        shift, mask = np.uint64(16 * band), np.uint64(0xFFFF)
        mine, theirs = (looks >> shift) & mask, (others >> shift) & mask
        order = np.argsort(theirs, kind="stable")
        low = np.searchsorted(theirs[order], mine, side="left")
        counts = np.searchsorted(theirs[order], mine, side="right") - low
        upto = int(np.searchsorted(np.cumsum(counts), left_over, side="right"))
        cut = cut or upto < len(looks)
        for start in range(0, upto, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, upto))
            a, b = _expanded(rows, low[rows], counts[rows])
            b = order[b]
            near = _set_bits(looks[a] ^ others[b]) <= NEAR_BITS
            found.append(np.stack([a[near], b[near]], axis=1))
        left_over -= int(counts[:upto].sum())
    return np.unique(np.concatenate(found), axis=0), cut


_SET_BITS = np.array([i.bit_count() for i in range(256)], np.uint8)


def _set_bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8)
    return np.asarray(_SET_BITS[octets].sum(axis=1, dtype=np.int64))


def _expanded(
    rows: NDArray[np.int64], low: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row beside each of low, low + 1, ... of its count."""
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(rows, counts), np.repeat(low, counts) + within
