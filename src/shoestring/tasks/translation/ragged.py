"""ragged: rows of different length as one array and their places in it.

Shapes: B rows, N values in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[np.int32]  # (N,)
    offsets: NDArray[np.int64]  # (B + 1,), from 0, rising

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(B,) values in each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> NDArray[np.int32]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def rows(self) -> list[NDArray[np.int32]]:
        return [self.row(i) for i in range(len(self.offsets) - 1)]

    def take(self, positions: NDArray[np.int64]) -> Ragged:
        """These rows, in this order; a row may be taken more than once."""
        starts, lengths = self.offsets[positions], self.lengths[positions]
        offsets = ends(lengths)
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(starts, lengths) + within], offsets)


def ends(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B + 1,) offsets of rows of these lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def packed(rows: Sequence[Sequence[int]]) -> Ragged:
    """Rows of numbers as one."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    offsets = ends(lengths)
    values = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
    return Ragged(values, offsets)
