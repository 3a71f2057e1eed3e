"""split: seeded, stratified splits that depend on contents alone, not on names or machines.

Shapes: N examples. Units are what must stay on one side: byte-equal examples, or whole groups.
The rank of a unit is a hash of its content and the seed, so that the same contents are dealt the
same way in every order, on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError

Codes = NDArray[np.int64]  # (N,) small whole numbers: labels, units


def parse_fold(words: str) -> tuple[int, int]:
    """`"0/5"` as (0, 5)."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", words.strip())
    if match is None:
        raise UserError(f"fold {words!r} is not of the form k/n, for example 0/5")
    fold, folds = int(match[1]), int(match[2])
    if folds < 2 or fold >= folds:
        raise UserError(f"fold {words!r}: k is from 0 to n-1, and n at least 2")
    return fold, folds


def units_of(hashes: NDArray[np.uint64], groups: Sequence[str] | None) -> Codes:
    """(N,) a number for each set of examples that share a content hash or, directly or through
    others, a group."""
    _, by_hash = np.unique(hashes, return_inverse=True)
    if groups is None:
        return np.asarray(by_hash, np.int64).reshape(-1)
    _, by_group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return _joined(by_hash.reshape(-1), by_group.reshape(-1))


def _joined(one: NDArray[np.int64], other: NDArray[np.int64]) -> Codes:
    """Connected components: examples that agree in either number come to agree in the result."""
    units = np.asarray(other, np.int64).copy()
    while True:
        before = units.copy()
        for codes in (one, other):
            lowest = np.full(int(codes.max(initial=-1)) + 1, len(units), np.int64)
            np.minimum.at(lowest, codes, units)
            units = lowest[codes]
        if np.array_equal(before, units):
            _, numbered = np.unique(units, return_inverse=True)
            return np.asarray(numbered, np.int64).reshape(-1)


def ranks(hashes: NDArray[np.uint64], seed: int, salt: str) -> NDArray[np.uint64]:
    """(N,) pseudo-random numbers from content, seed and purpose (splitmix64)."""
    start = int.from_bytes(salt.encode()[:8].ljust(8, b"\0"), "little") ^ (seed & (2**64 - 1))
    mixed = _mix(np.array([start], np.uint64))[0]
    return _mix(hashes ^ mixed)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def carve(
    labels: Codes,
    hashes: NDArray[np.uint64],
    groups: Sequence[str] | None,
    share: float,
    seed: int,
    salt: str,
    most: int | None = None,
) -> NDArray[np.bool_]:
    """(N,) which examples to hold out: about `share` of each label, `most` in all, no unit cut.

    At least one of each label where a label has examples in more than one unit, and never all.
    """
    count = len(labels)
    if count == 0:
        return np.zeros(0, np.bool_)
    units = units_of(hashes, groups)
    wanted = min(share, most / count) if most is not None else share
    rank = _unit_ranks(units, ranks(hashes, seed, salt))
    if groups is None:
        held = _carve_by_label(labels, units, rank, wanted)
    else:
        held = _carve_units(labels, units, rank, wanted)
    return held[units]


def _unit_ranks(units: Codes, example_ranks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    lowest = np.full(int(units.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, units, example_ranks)
    return lowest


def _unit_labels(labels: Codes, units: Codes) -> Codes:
    """The lowest label of each unit: of most units, its only one."""
    lowest = np.full(int(units.max()) + 1, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(lowest, units, labels)
    return lowest


def _carve_by_label(
    labels: Codes, units: Codes, rank: NDArray[np.uint64], share: float
) -> NDArray[np.bool_]:
    """Whole units of one label each, in the order of their ranks, up to the share of it."""
    held = np.zeros(len(rank), np.bool_)
    label_of, size = _unit_labels(labels, units), np.bincount(units)
    order = np.lexsort((rank, label_of))
    members_of = np.split(order, np.flatnonzero(np.diff(label_of[order])) + 1)
    totals = np.array([size[members].sum() for members in members_of])
    for members, target in zip(members_of, _apportioned(totals * share), strict=True):
        if len(members) < 2:
            continue
        taken = int(np.searchsorted(np.cumsum(size[members]), target, side="right"))
        held[members[: min(max(1, taken), len(members) - 1)]] = True
    return held


def _apportioned(wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers whose sum is that of `wanted` rounded down; the largest rests go up."""
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    rest = int(np.floor(wanted.sum() + 1e-6)) - int(whole.sum())
    whole[np.argsort(whole - wanted, kind="stable")[: max(0, rest)]] += 1
    return whole


def _label_table(labels: Codes, units: Codes) -> NDArray[np.float64]:
    """(units, labels) the share of each label's examples that lies in each unit."""
    table = np.zeros((int(units.max()) + 1, int(labels.max()) + 1), np.float64)
    np.add.at(table, (units, labels), 1.0)
    return np.asarray(table / np.maximum(table.sum(axis=0), 1.0), np.float64)


def _carve_units(
    labels: Codes, units: Codes, rank: NDArray[np.uint64], share: float
) -> NDArray[np.bool_]:
    """Groups span labels: in the order of their ranks, each is held out when that brings the
    held-out shares of its labels closer to what is wanted."""
    table = _label_table(labels, units)
    held = np.zeros(len(table), np.bool_)
    if len(table) < 2:
        return held
    have = np.zeros(table.shape[1])
    for unit in np.argsort(rank, kind="stable"):
        part = table[unit]
        if 2 * float(part @ (share - have)) > float(part @ part) and held.sum() < len(held) - 1:
            held[unit] = True
            have += part
    if not held.any():  # every unit is larger than what is wanted: the smallest will do
        held[np.lexsort((rank, table.sum(axis=1)))[0]] = True
    return held


def deal(
    labels: Codes,
    hashes: NDArray[np.uint64],
    groups: Sequence[str] | None,
    folds: int,
    seed: int,
) -> Codes:
    """(N,) the fold of each example: no unit cut, labels spread as evenly as units allow."""
    units = units_of(hashes, groups)
    if len(units) == 0:
        return units
    rank = _unit_ranks(units, ranks(hashes, seed, "fold"))
    if groups is None:
        label_of = _unit_labels(labels, units)
        fold = np.empty(len(rank), np.int64)
        fold[np.lexsort((rank, label_of))] = np.arange(len(rank)) % folds
        return fold[units]
    table = _label_table(labels, units)
    size = np.bincount(units)
    fold = np.zeros(len(table), np.int64)
    have = np.zeros((folds, table.shape[1]))
    counts = np.zeros(folds, np.int64)
    for unit in np.lexsort((rank, -size)):  # large ones first, while there is room to balance
        crowded = have @ table[unit]
        best = int(np.lexsort((counts, np.round(crowded, 12)))[0])
        fold[unit] = best
        have[best] += table[unit]
        counts[best] += size[unit]
    return fold[units]


def keep_per_label(
    labels: Codes, hashes: NDArray[np.uint64], number: int | None, share: float, seed: int
) -> NDArray[np.bool_]:
    """(N,) which examples to keep: the first `number` of each label by rank, and of those the
    first `share`, rounded up. What a smaller number or share keeps, a larger one keeps too."""
    keep = np.ones(len(labels), np.bool_)
    order = np.lexsort((np.arange(len(labels)), ranks(hashes, seed, "keep"), labels))
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    for members in np.split(order, starts) if len(order) else []:
        left = len(members) if number is None else min(number, len(members))
        keep[members[-int(-left * share // 1) :]] = False
    return keep
