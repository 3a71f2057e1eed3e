"""merges: byte pair encoding of many words at once, each merge left out now and then.

sentencepiece can do it too, but draws from a generator of its own that differs between processes.
Words of one length are worked on together, one merge of each in a step.
Shapes: R words of L letters; P pairs of pieces that merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.tasks.translation.ragged import Ragged, ends

LONGEST = 200  # letters of a word in which merges are left out; each letter costs a step
_MOST = 4_000_000  # letters worked on together
_NONE = np.iinfo(np.int32).max  # in the place of a piece: these two do not merge

Symbols = NDArray[np.int32]


class Merges:
    """Which pieces merge into which, and in what order: a piece with a lower number first."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` (V) by number, empty for pieces that no text is cut into."""
        self._size = len(names)
        place = {name: i for i, name in enumerate(names) if name}
        self._letters = {name: i for name, i in place.items() if len(name) == 1}
        found = {}
        for name, number in place.items():
            for cut in range(1, len(name)):
                one, other = place.get(name[:cut]), place.get(name[cut:])
                if one is not None and other is not None:
                    found[one * self._size + other] = number
        keys = sorted(found)
        self._keys = np.array([*keys, np.iinfo(np.int64).max], np.int64)  # (P + 1,)
        self._merged = np.array([*(found[key] for key in keys), _NONE], np.int32)

    def segmented(self, words: Sequence[str], dropout: float, seed: int) -> Ragged:
        """Each word as pieces; a letter without a piece as its code point's number above them.
        At every step each possible merge is left out at a probability of `dropout`, and the
        first of the others made, until none is left (Provilkov et al. 2020, algorithm 1)."""
        by_length: dict[int, list[int]] = {}
        for i, word in enumerate(words):
            by_length.setdefault(len(word), []).append(i)
        lengths = np.zeros(len(words), np.int64)
        blocks = []
        for length, every in sorted(by_length.items()):
            if not length:
                continue
            step = max(1, _MOST // length)
            for start in range(0, len(every), step):
                at = np.array(every[start : start + step])
                symbols_RL = self._symbols([words[i] for i in at.tolist()], length)
                draws = np.random.default_rng([seed, length, start])
                for done, found_RL in self._merge(symbols_RL, dropout, draws):
                    lengths[at[done]] = found_RL.shape[1]
                    blocks.append((at[done], found_RL))
        offsets = ends(lengths)
        values = np.zeros(int(offsets[-1]), np.int32)
        for at, found_RL in blocks:
            values[offsets[at][:, None] + np.arange(found_RL.shape[1])] = found_RL
        return Ragged(values, offsets)

    def _symbols(self, words: Sequence[str], length: int) -> Symbols:
        letters = "".join(words)
        known, above = self._letters, self._size
        numbers = [known[c] if c in known else above + ord(c) for c in letters]
        return np.array(numbers, np.int32).reshape(-1, length)

    def _merge(
        self, symbols_RL: Symbols, dropout: float, draws: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.int64], Symbols]]:
        """Rows that are finished, with what became of them, as they come."""
        row = np.arange(len(symbols_RL))
        pairs_RL = self._of(symbols_RL[:, :-1], symbols_RL[:, 1:])  # a letter shorter
        while len(row):
            if not pairs_RL.shape[1]:
                yield row, symbols_RL
                return
            open_RL = pairs_RL
            if dropout:
                kept = draws.random(pairs_RL.shape, np.float32) >= dropout
                open_RL = np.where(kept, pairs_RL, _NONE)
            at = open_RL.argmin(axis=1)
            best = open_RL[np.arange(len(row)), at]
            done = best == _NONE
            if done.any():
                yield row[done], symbols_RL[done]
                left = ~done
                row, at, best = row[left], at[left], best[left]
                symbols_RL, pairs_RL = symbols_RL[left], pairs_RL[left]
            here = np.arange(len(row))
            before = np.arange(symbols_RL.shape[1] - 1) <= at[:, None]
            symbols_RL = np.where(before, symbols_RL[:, :-1], symbols_RL[:, 1:])
            symbols_RL[here, at] = best
            pairs_RL = np.where(before[:, :-1], pairs_RL[:, :-1], pairs_RL[:, 1:])
            some = at > 0
            i, j = here[some], at[some]
            pairs_RL[i, j - 1] = self._of(symbols_RL[i, j - 1], best[some])
            some = at < pairs_RL.shape[1]
            i, j = here[some], at[some]
            pairs_RL[i, j] = self._of(best[some], symbols_RL[i, j + 1])

    def _of(self, ones: Symbols, others: Symbols) -> Symbols:
        """What two pieces merge into, element by element."""
        keys = ones.astype(np.int64) * self._size + others
        place = np.searchsorted(self._keys, keys)
        foreign = (ones >= self._size) | (others >= self._size)
        hit = (self._keys[place] == keys) & ~foreign
        return np.where(hit, self._merged[place], _NONE).astype(np.int32)
