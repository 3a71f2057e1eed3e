"""search: greedy and beam search over any step function on numpy arrays.

Shapes: A sentences, S source pieces, R rows (live hypotheses of all sentences), K candidates of a
row, C = R K candidates of all rows, N best that are asked for, T steps, F ended hypotheses.

No step does any work in Python for a single sentence or hypothesis. Rows are ragged: a sentence
has as many as are alive, none once it has ended, and those of one sentence stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.tasks.translation.hypotheses import Ended, Floats, Hypothesis, Ids, Trail, traced
from shoestring.tasks.translation.special import BOS, EOS

_NONE = np.zeros(0, np.bool_)


class Found(NamedTuple):
    """What a step gives for its R rows."""

    log_probabilities: Floats  # (R, K) of the best pieces, best first; unset where not asked for
    pieces: Ids  # (R, K)
    state: Any  # of these rows
    attention: Floats | None  # (R, S) over the source pieces; None where not asked for


class Steps(Protocol):
    """A network as the search sees it. Its states are its own business."""

    pieces: int  # how many there are to choose from

    def whole(self, source: Ids, limit: int) -> list[int] | None:
        """What greedy search of one sentence finds, its end last where it comes to it within
        `limit` pieces; None where it has to be searched for step by step."""

    def start(
        self, sources: Sequence[Ids], candidates: int, scores: bool, attention: bool
    ) -> tuple[Any, int]:
        """Encodes sentences, each of one piece at least. (state of one row a sentence, S). The
        steps after it give `candidates` pieces a row; `scores` and `attention` say what of
        `Found` will be read."""

    def step(self, state: Any, parents_R: Ids, pieces_R: Ids, sentences_R: Ids) -> Found:
        """Row r goes on from row `parents_R[r]` of `state` with a piece, in a sentence; sentences
        ascend."""


@dataclass(frozen=True)
class SearchOptions:
    """How to look for the best translation; a bundle's facts may hold others as "search".

    On the validation split of Multi30k, with an LSTM less than halfway through its training,
    coverage was worth 1.0 BLEU, and the margin a quarter of all rows at no loss. Of 16 pairs of
    coverage and length penalty these were the best there in the mean of two LSTMs and two
    transformers.
    """

    beam: int = 5  # hypotheses kept at each step; 1 is greedy
    length_penalty: float = 0.6  # alpha of Wu et al. 2016; 0: none
    coverage: float = 0.3  # beta of Wu et al. 2016, for what nothing attends to; not where greedy
    no_repeat: int = 0  # no run of this many pieces stands twice in a translation; 0: no guard
    margin: float | None = 2.5  # nats behind a sentence's best at which a hypothesis is dropped
    longest: tuple[float, float] = (2.0, 10.0)  # pieces at most: a factor of the source's, and more
    max_length: int | None = None  # pieces at most, whatever the source

    def __post_init__(self) -> None:
        if not 1 <= self.beam <= 1024:
            raise UserError(f"beam is a number of hypotheses from 1 to 1024, not {self.beam}")
        if not 0 <= self.length_penalty <= 10 or not 0 <= self.coverage <= 10:
            raise UserError(
                f"length_penalty and coverage are from 0 to 10, not {self.length_penalty} and "
                f"{self.coverage}"
            )
        if self.no_repeat < 0 or self.no_repeat == 1:
            raise UserError(f"no_repeat is 0 (no guard) or from 2 pieces, not {self.no_repeat}")
        if self.margin is not None and not self.margin > 0:
            raise UserError(f"margin is above 0 nats, not {self.margin}")
        if self.max_length is not None and self.max_length < 1:
            raise UserError(f"max_length is a number of pieces from 1, not {self.max_length}")
        factor, more = (*self.longest, 0.0, 0.0)[:2]
        if not (0 <= factor <= 100 and 1 <= more <= 10_000):
            raise UserError(
                f"longest is a factor from 0 to 100 and pieces from 1 to 10,000, not {self.longest}"
            )

    def limits(self, lengths_A: Ids) -> Ids:
        """(A,) the most pieces of a translation, its end included."""
        limits = (lengths_A * self.longest[0] + self.longest[1]).astype(np.int64)
        return limits if self.max_length is None else np.minimum(limits, self.max_length)


def search(
    steps: Steps,
    sources: Sequence[Ids],
    options: SearchOptions,
    *,
    nbest: int = 1,
    scores: bool = True,
    attention: bool = False,
) -> list[list[Hypothesis]]:
    """Up to `nbest` hypotheses for each source (pieces with its end), best first; there is at least
    one. Sources may be of any lengths, and go quickest where these are alike."""
    if nbest > options.beam:
        raise UserError(f"nbest {nbest} is more than the beam of {options.beam} finds")
    if not sources:
        return []
    lengths_A = np.array([len(source) for source in sources], np.int64)
    limits_A = options.limits(lengths_A)
    greedy = options.beam == 1 and not options.no_repeat
    if greedy and len(sources) == 1 and not scores and not attention:
        found = steps.whole(sources[0], int(limits_A[0]))
        if found is not None:
            ended = found[-1:] == [EOS]
            return [[Hypothesis(found[:-1] if ended else found, np.nan, np.nan, ended)]]
    if greedy:
        trail, ends = _greedy(steps, sources, limits_A, options, scores, attention)
    else:
        trail, ends = _beam(steps, sources, limits_A, options, nbest, attention)
    return traced(trail, ends, lengths_A, nbest, attention)


def length_norm(length: Any, alpha: float) -> Any:
    """What log-probabilities of a length, or of many, are divided by (Wu et al. 2016, eq. 14)."""
    return ((5.0 + length) / 6.0) ** alpha


def _greedy(
    steps: Steps,
    sources: Sequence[Ids],
    limits_A: Ids,
    options: SearchOptions,
    scores: bool,
    attention: bool,
) -> tuple[Trail, Ended]:
    """The best piece at each step; a row a sentence, until it ends."""
    state, _ = steps.start(sources, 1, scores, attention)
    trail, ended = Trail(), list[Ended]()
    every = np.arange(len(sources))
    sentences_R, parents_R, pieces_R = every, every, np.full(len(sources), BOS)
    totals_R = np.zeros(len(sources)) if scores else np.full(len(sources), np.nan)
    soonest, step = int(limits_A.min()), 0
    while len(sentences_R):
        found = steps.step(state, parents_R, pieces_R, sentences_R)
        trail.add(parents_R, pieces_R, found.attention)
        state, best_R = found.state, found.pieces[:, 0]
        step += 1
        if scores:
            totals_R = totals_R + found.log_probabilities[:, 0]
        ends_R = best_R == EOS
        if step >= soonest:
            ends_R |= step >= limits_A[sentences_R]
        (rows,) = ends_R.nonzero()
        if not len(rows):
            parents_R, pieces_R = every[: len(best_R)], best_R
            continue
        sums, at = totals_R[rows], np.full(len(rows), step - 1)
        normed = sums / length_norm(step, options.length_penalty)
        ended.append(Ended(sentences_R[rows], at, rows, best_R[rows], sums, normed))
        (parents_R,) = (~ends_R).nonzero()
        sentences_R, totals_R = sentences_R[parents_R], totals_R[parents_R]
        pieces_R = best_R[parents_R]
    return trail, Ended.joined(ended)


def _beam(
    steps: Steps,
    sources: Sequence[Ids],
    limits_A: Ids,
    options: SearchOptions,
    nbest: int,
    attention: bool,
) -> tuple[Trail, Ended]:
    """Of each sentence the `beam` best that have not ended go on. It is done when as many have
    ended within the margin, or when none that is alive can come before the `nbest` best of these
    any more."""
    beam, count = options.beam, len(sources)
    candidates = 1 if beam == 1 else beam + 1  # one of them may be the end
    if options.no_repeat:  # some may be struck out
        candidates = 2 * beam + 6
    candidates = min(candidates, steps.pieces)
    state, width = steps.start(sources, candidates, True, attention or options.coverage > 0)
    trail, ended = Trail(), list[Ended]()
    every = np.arange(count)
    sentences_R, parents_R, pieces_R = every, every, np.full(count, BOS)
    firsts_R = every  # the first row of the same sentence
    totals_R = np.zeros(count)
    best_AN = np.full((count, nbest), -np.inf)  # scores of the best that ended
    ended_A = np.zeros(count, np.int64)
    # What a sum has to stay above. A live hypothesis only loses by going on, and at best nothing.
    floors_A = np.full(count, -np.inf)
    norm_A = length_norm(limits_A, options.length_penalty)
    past_RT = np.zeros((count, 0), np.int64)
    covered_RS = np.zeros((count, width), np.float32)
    soonest, step = int(limits_A.min()), 0
    while len(sentences_R):
        found = steps.step(state, parents_R, pieces_R, sentences_R)
        trail.add(parents_R, pieces_R, found.attention if attention else None)
        state, log_RK = found.state, found.log_probabilities
        step += 1
        if options.no_repeat:
            past_RT = np.concatenate([past_RT[parents_R], pieces_R[:, None]], axis=1)
            log_RK = _unrepeated(past_RT, found.pieces, log_RK, options.no_repeat)
        if options.coverage:
            assert found.attention is not None
            covered_RS = covered_RS[parents_R] + found.attention
        # All candidates in one row: those of a sentence stand together, best first.
        sums_C = (totals_R[:, None] + log_RK).ravel()
        owners_C = sentences_R.repeat(candidates)
        starts_C = (firsts_R * candidates).repeat(candidates)  # where those of a sentence begin
        order_C = np.lexsort((-sums_C, owners_C))
        sums_C, pieces_C = sums_C[order_C], found.pieces.ravel()[order_C]
        ends_C = pieces_C == EOS
        lives_C = ~ends_C & (sums_C > floors_A[owners_C])
        if options.margin is not None:
            lives_C &= sums_C >= sums_C[starts_C] - options.margin
        counts_C = lives_C.cumsum()
        lives_C &= counts_C - (counts_C - lives_C)[starts_C] <= beam
        if step >= soonest:
            cut_C = lives_C & (limits_A[owners_C] <= step)
            lives_C &= ~cut_C
        else:
            cut_C = _NONE
        (which,) = ends_C.nonzero()
        which = which[(which - starts_C[which] < beam) & (sums_C[which] > -np.inf)]
        if len(which) or cut_C.any():
            which = np.union1d(which, cut_C.nonzero()[0])
            rows, sums, owners = order_C[which] // candidates, sums_C[which], owners_C[which]
            scores = sums / length_norm(step, options.length_penalty)
            if options.coverage:
                lengths = np.array([len(sources[a]) for a in owners.tolist()])
                scores = scores + options.coverage * _coverage(covered_RS[rows], lengths)
            at, last = np.full(len(which), step - 1), pieces_C[which]
            ended.append(Ended(owners, at, rows, last, sums, scores))
            # One far behind is no reason to stop: where few live, an end is often near the top.
            near = sums >= sums_C[starts_C[which]] - (options.margin or np.inf)
            _keep_best(best_AN, ended_A, owners, scores, last == EOS, near)
            floors_A = np.where(ended_A < beam, best_AN[:, -1] * norm_A, np.inf)
            lives_C &= sums_C > floors_A[owners_C]
        (which,) = lives_C.nonzero()
        sentences_R, parents_R = owners_C[which], order_C[which] // candidates
        pieces_R, totals_R = pieces_C[which], sums_C[which]
        firsts_R = sentences_R.searchsorted(sentences_R)
    return trail, Ended.joined(ended)


def _keep_best(
    best_AN: NDArray[np.float64],
    ended_A: Ids,
    sentences_F: Ids,
    scores_F: NDArray[np.float64],
    proper_F: NDArray[np.bool_],
    near_F: NDArray[np.bool_],
) -> None:
    """Brings scores of hypotheses that came to their end into the best N of their sentences, and
    counts those of them that ended near the best."""
    sentences, scores = sentences_F[proper_F], scores_F[proper_F]
    if not len(sentences):
        return
    touched, at, counts = np.unique(sentences, return_inverse=True, return_counts=True)
    ended_A[touched] += np.bincount(at, near_F[proper_F], len(touched)).astype(np.int64)
    place = np.arange(len(sentences)) - (np.cumsum(counts) - counts)[at]  # sentences ascend
    fresh = np.full((len(touched), int(counts.max())), -np.inf)
    fresh[at, place] = scores
    both = np.concatenate([best_AN[touched], fresh], axis=1)
    best_AN[touched] = -np.sort(-both, axis=1)[:, : best_AN.shape[1]]


def _coverage(covered_FS: Floats, lengths_F: Ids) -> NDArray[np.float64]:
    """Sum over source pieces of the log of what attention they got, 1 at most (Wu et al. 2016)."""
    inside_FS = np.arange(covered_FS.shape[1]) < lengths_F[:, None]
    logs_FS = np.log(np.clip(covered_FS.astype(np.float64), 1e-9, 1.0))
    total: NDArray[np.float64] = np.where(inside_FS, logs_FS, 0.0).sum(axis=1)
    return total


def _unrepeated(past_RT: Ids, pieces_RK: Ids, log_RK: Floats, length: int) -> Floats:
    """The log-probabilities, -inf for a piece that would repeat a run of `length` pieces."""
    count = past_RT.shape[1] - length + 1  # runs of `length - 1` that something follows
    if count < 1:
        return log_RK
    runs_RXL = np.lib.stride_tricks.sliding_window_view(past_RT, length - 1, axis=1)[:, :count]
    seen_RX = (runs_RXL == past_RT[:, None, 1 - length :]).all(axis=2)
    follows_RX = past_RT[:, length - 1 :]
    struck_RK = (seen_RX[:, None] & (follows_RX[:, None] == pieces_RK[:, :, None])).any(axis=2)
    # An end is no run; and where all were struck out, the guard would leave nothing to say.
    struck_RK &= (pieces_RK != EOS) & ~struck_RK.all(axis=1, keepdims=True)
    return np.where(struck_RK, np.float32(-np.inf), log_RK)
