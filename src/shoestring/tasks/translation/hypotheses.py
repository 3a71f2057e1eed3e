"""hypotheses: what a search found, walked back from where it ended to where it began.

Shapes: A sentences, S source pieces, R rows of a step, T steps, F ended hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.tasks.translation.special import EOS, PAD

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hypothesis:
    """One translation. `ended` is false where the limit cut it off."""

    pieces: list[int]  # without the end
    score: float  # normalised; what n-best lists are ordered by. NaN where none was asked for
    log_probability: float  # the sum over its pieces and its end
    ended: bool
    attention: Floats | None = field(default=None, compare=False)  # (T, S), and a row for the end


@dataclass
class Trail:
    """What was taken at each step: enough to walk back from an end."""

    parents: list[Ids] = field(default_factory=list)  # (R,) rows of the step before
    pieces: list[Ids] = field(default_factory=list)  # (R,) what each row went on with
    attention: list[Floats | None] = field(default_factory=list)  # (R, S), read at that step

    def add(self, parents_R: Ids, pieces_R: Ids, attention_RS: Floats | None) -> None:
        self.parents.append(parents_R)
        self.pieces.append(pieces_R)
        self.attention.append(attention_RS)


class Ended(NamedTuple):
    """Hypotheses that came to an end at one step, or at several once joined."""

    sentence: Ids  # all (F,)
    step: Ids  # 0-based step whose answer ended it
    row: Ids  # row of that step
    last: Ids  # the piece it was cut off at; EOS where it came to its end
    log_probability: NDArray[np.float64]
    score: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[Ended]) -> Ended:
        return Ended(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def taken(self, places: Ids) -> Ended:
        return Ended(
            self.sentence[places],
            self.step[places],
            self.row[places],
            self.last[places],
            self.log_probability[places],
            self.score[places],
        )


def traced(
    trail: Trail, ended: Ended, lengths_A: Ids, nbest: int, attention: bool
) -> list[list[Hypothesis]]:
    """The best of each sentence, walked back to their beginnings all at once. Those that came to
    their end stand before those that were cut off."""
    proper_F = ended.last == EOS
    order = np.lexsort((-ended.score, ~proper_F, ended.sentence))
    sentences = ended.sentence[order]
    first = sentences.searchsorted(np.arange(len(lengths_A)))
    kept = ended.taken(order[np.arange(len(order)) - first[sentences] < nbest])
    places = np.argsort(-kept.step, kind="stable")  # the latest first: they are walked longest
    ends = kept.step[places]
    longest = int(ends[0]) + 1
    inside_T = np.searchsorted(-ends, -np.arange(longest), side="right").tolist()
    rows_F = kept.row[places]
    pieces_FT = np.full((len(rows_F), longest), PAD)
    lines: list[list[Floats]] = [[] for _ in rows_F]  # last first
    for step in range(longest - 1, -1, -1):
        count = inside_T[step]
        rows = rows_F[:count]
        pieces_FT[:count, step] = trail.pieces[step][rows]
        read_RS = trail.attention[step] if attention else None
        if read_RS is not None:
            for line, row in zip(lines[:count], read_RS[rows], strict=True):
                line.append(row)
        rows_F[:count] = trail.parents[step][rows]
    found: list[list[Hypothesis]] = [[] for _ in lengths_A]
    at = np.argsort(places).tolist()  # where each of `kept` was walked
    columns = (kept.sentence, kept.step, kept.last, kept.log_probability, kept.score)
    for place, sentence, step, last, log_probability, score in zip(
        at, *(column.tolist() for column in columns), strict=True
    ):
        pieces = pieces_FT[place, 1 : step + 1].tolist()  # behind BOS
        if last != EOS:
            pieces.append(last)
        seen = None
        if lines[place]:
            seen = np.stack(lines[place][::-1])[:, : lengths_A[sentence]]
        found[sentence].append(Hypothesis(pieces, score, log_probability, last == EOS, seen))
    return found
