"""asked: what is translated of a text: with one kind of blank, up to so many pieces, and together
with texts of like length.

Training, grading and answering read a source alike, or what was graded is not what answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from shoestring.tasks.translation.hypotheses import Ids
from shoestring.tasks.translation.special import EOS

MOST_PIECES = 1_000  # of a source with its end; a longer line is answered with an error
MOST_LETTERS = 48 * MOST_PIECES  # more are more pieces, too; to normalise them can take minutes
_BATCH = 64  # sentences that are translated at once, at most
_BATCH_PIECES = 4_096  # of them with their padding, at most: long sentences go in smaller batches


def sentence(text: str) -> str:
    """A source without blanks around it and with a single space for any run of them inside: a tab,
    a no-break space or two spaces are as one. What a network saw once or never cost it much."""
    return " ".join(text.split())


def cut(source: Ids) -> Ids:
    """As much of a source in pieces as is taken, with its end."""
    return source if len(source) <= MOST_PIECES else np.append(source[: MOST_PIECES - 1], EOS)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of sources of like length, shortest first."""
    order = np.argsort(np.asarray(lengths, np.int64), kind="stable").tolist()
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) == _BATCH or (len(batch) + 1) * lengths[place] > _BATCH_PIECES):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
