"""Greedy and beam search over step functions on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.tasks.translation import search as searching
from shoestring.tasks.translation.hypotheses import Hypothesis, Ids
from shoestring.tasks.translation.search import Found, SearchOptions, length_norm, search
from shoestring.tasks.translation.special import BOS, EOS


class Chain:
    """A language of its own: the next piece hangs on the one before and on the source's first; the
    state is the pieces so far, so that a wrong parent shows."""

    def __init__(self, pieces: int, seed: int, sharp: float = 1.0) -> None:
        self.pieces = pieces
        draws = np.random.default_rng(seed)
        logits = draws.normal(size=(pieces, pieces, pieces)) * sharp
        logits[..., :EOS] = -np.inf  # PAD, UNK and BOS are never written
        norms = np.log(np.exp(logits).sum(axis=2, keepdims=True))
        self.logs: NDArray[np.float64] = logits - norms  # (source, before, next)
        self.steps = 0
        self.rows: list[int] = []

    def whole(self, source: Ids, limit: int) -> list[int] | None:
        return None

    def start(
        self, sources: Sequence[Ids], candidates: int, scores: bool, attention: bool
    ) -> tuple[Any, int]:
        first = np.array([source[0] for source in sources])
        width = max(map(len, sources))
        return (candidates, first, np.zeros((len(sources), 0), np.int64), width), width

    def step(self, state: Any, parents_R: Ids, pieces_R: Ids, sentences_R: Ids) -> Found:
        candidates, first_A, past_PT, width = state
        assert (np.diff(sentences_R) >= 0).all()
        past_RT = np.concatenate([past_PT[parents_R], pieces_R[:, None]], axis=1)
        logs_RV = self.logs[first_A[sentences_R], pieces_R]
        best_RK = np.argsort(-logs_RV, axis=1, kind="stable")[:, :candidates]
        self.steps += 1
        self.rows.append(len(pieces_R))
        attention = np.zeros((len(pieces_R), width), np.float32)
        attention[np.arange(len(pieces_R)), pieces_R % 2] = 1
        values = np.take_along_axis(logs_RV, best_RK, 1).astype(np.float32)
        return Found(values, best_RK, (candidates, first_A, past_RT, width), attention)

    def rated(self, first: int, pieces: Sequence[int], ended: bool = True) -> float:
        row = [BOS, *pieces, *([EOS] if ended else [])]
        return float(sum(self.logs[first, a, b] for a, b in pairwise(row)))


def sources(*firsts: int, length: int = 3) -> list[Ids]:
    return [np.array([first] + [5] * (length - 2) + [EOS]) for first in firsts]


def plain(found: list[list[Hypothesis]]) -> list[list[tuple[list[int], bool]]]:
    return [[(one.pieces, one.ended) for one in some] for some in found]


def exhaustive(
    chain: Chain, first: int, options: SearchOptions, limit: int
) -> list[tuple[float, list[int]]]:
    """Every translation that ends within the limit, best first."""
    found = []
    for length in range(limit):
        for pieces in product(range(EOS + 1, chain.pieces), repeat=length):
            score = chain.rated(first, pieces) / length_norm(length + 1, options.length_penalty)
            found.append((score, list(pieces)))
    return sorted(found, key=lambda one: -one[0])


@given(
    st.integers(0, 10_000),
    st.integers(5, 7),
    st.integers(2, 4),
    st.sampled_from([0.0, 0.6, 1.0, 2.0]),
)
def test_a_beam_wide_enough_finds_what_looking_at_everything_finds(
    seed: int, pieces: int, limit: int, alpha: float
) -> None:
    chain = Chain(pieces, seed)
    beam = (pieces - EOS - 1) ** limit + limit
    options = SearchOptions(
        beam=beam, length_penalty=alpha, longest=(0.0, float(limit)), coverage=0.0, margin=None
    )
    firsts = [0, 1, pieces - 1]
    found = search(chain, sources(*firsts), options, nbest=2)
    for first, hypotheses in zip(firsts, found, strict=True):
        best = exhaustive(chain, first, options, limit)
        assert [one.pieces for one in hypotheses] == [pieces for _, pieces in best[:2]]
        for one, (score, row) in zip(hypotheses, best, strict=False):
            assert one.score == pytest.approx(score, abs=1e-5)
            assert one.log_probability == pytest.approx(chain.rated(first, row), abs=1e-5)
            assert one.ended


@given(st.integers(0, 10_000), st.integers(5, 30), st.floats(0.1, 4.0))
def test_a_beam_of_one_is_greedy(seed: int, pieces: int, sharp: float) -> None:
    chain = Chain(pieces, seed, sharp)
    options = SearchOptions(beam=1, longest=(1.0, 7.0), coverage=0.0)
    given_ = sources(*range(5), length=4)
    limits = options.limits(np.array([4] * 5))
    for scores in (True, False):
        greedy = search(chain, given_, options, scores=scores)
        trail, ended = searching._beam(chain, given_, limits, options, 1, False)
        beam = searching.traced(trail, ended, limits, 1, False)
        assert plain(greedy) == plain(beam)
        if scores:
            for one, other in zip(greedy, beam, strict=True):
                assert one[0].score == pytest.approx(other[0].score)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_sentence_is_translated_alike_alone_and_in_any_company(
    seed: int, beam: int, nbest: int, guarded: bool
) -> None:
    chain = Chain(9, seed)
    options = SearchOptions(beam=beam, longest=(1.0, 4.0), no_repeat=2 * guarded, coverage=0.1)
    many = [
        s for n, first in zip((2, 6, 3, 4), range(4), strict=True) for s in sources(first, length=n)
    ]
    best = min(nbest, beam)
    together = search(chain, many, options, nbest=best)
    for source, found in zip(many, together, strict=True):
        (alone,) = search(chain, [source], options, nbest=best)
        assert plain([alone]) == plain([found])
        assert [a.score for a in alone] == pytest.approx([f.score for f in found])


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_hypotheses_come_best_first_and_are_what_their_scores_say(seed: int, beam: int) -> None:
    chain = Chain(12, seed)
    options = SearchOptions(beam=beam, longest=(1.0, 8.0), coverage=0.0)
    for first, found in enumerate(search(chain, sources(0, 1, 2), options, nbest=beam)):
        assert 1 <= len(found) <= beam
        ended = [one.ended for one in found]
        assert ended == sorted(ended, reverse=True)
        assert len({(tuple(one.pieces), one.ended) for one in found}) == len(found)
        for kind in (True, False):
            scores = [one.score for one in found if one.ended is kind]
            assert scores == sorted(scores, reverse=True)
        for one in found:
            rated = chain.rated(first, one.pieces, one.ended)
            assert one.log_probability == pytest.approx(rated, abs=1e-4)
            norm = length_norm(len(one.pieces) + one.ended, options.length_penalty)
            assert one.score == pytest.approx(rated / norm, abs=1e-4)


class Endless(Chain):
    """Never comes to an end: 4 5 4 5 ..."""

    def __init__(self) -> None:
        super().__init__(7, 0)
        self.logs[:] = np.log(0.01)
        self.logs[:, :, 4] = np.log(0.5)
        self.logs[:, 4, 4], self.logs[:, 4, 5] = np.log(0.01), np.log(0.5)
        self.logs[:, :, EOS] = -np.inf


@pytest.mark.parametrize("beam", [1, 3])
def test_what_never_ends_is_cut_at_a_limit_that_hangs_on_the_source(beam: int) -> None:
    options = SearchOptions(beam=beam, longest=(2.0, 3.0))
    found = search(Endless(), [*sources(0, length=3), *sources(0, length=5)], options)
    assert [len(one.pieces) for (one,) in found] == [9, 13]
    assert not any(one.ended for (one,) in found)
    assert found[0][0].pieces[:4] == [4, 5, 4, 5]
    shorter = SearchOptions(beam=beam, longest=(2.0, 3.0), max_length=4)
    assert [len(one.pieces) for (one,) in search(Endless(), sources(0, 1), shorter)] == [4, 4]


def test_ends_that_are_far_behind_stop_no_search() -> None:
    """A network that is sure of itself: one hypothesis alive, and an end always second, 12 nats
    behind. As many such ends as the beam is wide had cut the sentence."""
    chain = Chain(12, 0)
    chain.logs[:] = -30.0
    chain.logs[:, :, EOS] = -12.0
    for before, piece in pairwise([BOS, 4, 5, 6, 7, 8, 9, 10, EOS]):
        chain.logs[:, before, piece] = -0.001
    ((one,),) = search(chain, [np.array([4, 4, 4, 4, EOS])], SearchOptions(beam=3, coverage=0.0))
    assert one.pieces == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("length", [2, 3])
def test_the_guard_lets_no_run_of_pieces_stand_twice(beam: int, length: int) -> None:
    options = SearchOptions(beam=beam, no_repeat=length, longest=(0.0, 9.0))
    ((one,),) = search(Endless(), sources(0), options)
    runs = [tuple(one.pieces[i : i + length]) for i in range(len(one.pieces) - length + 1)]
    assert len(set(runs)) == len(runs)


def test_coverage_prefers_the_translation_that_looked_at_everything() -> None:
    """`Chain` looks at the first source piece behind an even piece, at the second behind an odd
    one: 4 alone leaves the second out."""
    chain = Chain(6, 0)
    chain.logs[:] = np.log(1e-6)
    chain.logs[:, BOS, 4] = np.log(0.6)
    chain.logs[:, BOS, 5] = np.log(0.4)
    chain.logs[:, 4, EOS] = chain.logs[:, 5, EOS] = np.log(0.99)
    source = [np.array([4, EOS])]
    found = [
        search(chain, source, SearchOptions(beam=2, coverage=beta, margin=None), nbest=2)[0]
        for beta in (0.0, 1.0)
    ]
    assert [one.pieces for one in found[0]] == [[4], [5]]
    assert [one.pieces for one in found[1]] == [[5], [4]]
    expected = found[0][0].score + np.log(1e-9)
    assert found[1][1].score == pytest.approx(expected)


def test_attention_has_a_row_for_each_piece_and_for_the_end() -> None:
    chain = Chain(9, 3)
    for beam in (1, 4):
        found = search(chain, sources(0, 1, length=5), SearchOptions(beam=beam), attention=True)
        for (one,) in found:
            assert one.attention is not None
            assert one.attention.shape == (len(one.pieces) + one.ended, 5)
            read = [BOS, *one.pieces][: len(one.attention)]  # at each step the piece before it
            assert one.attention.argmax(axis=1).tolist() == [piece % 2 for piece in read]
    assert search(chain, sources(0), SearchOptions())[0][0].attention is None


def test_finished_sentences_leave_the_batch() -> None:
    chain = Chain(6, 0)
    chain.logs[:] = np.log(0.05)
    chain.logs[0, :, EOS] = np.log(0.85)  # ends at once
    chain.logs[1, :, 4] = np.log(0.85)  # goes on to its limit
    options = SearchOptions(beam=1, max_length=6)
    search(chain, sources(0, 1), options)
    assert chain.rows == [2, 1, 1, 1, 1, 1]


def test_hypotheses_far_behind_are_dropped_where_a_margin_is_set() -> None:
    wide, narrow = Chain(30, 1, 3.0), Chain(30, 1, 3.0)
    several = sources(*range(8))
    search(wide, several, SearchOptions(beam=6, margin=None))
    search(narrow, several, SearchOptions(beam=6, margin=0.5))
    assert sum(narrow.rows) < sum(wide.rows)


def test_nothing_to_translate_is_nothing() -> None:
    assert search(Chain(6, 0), [], SearchOptions()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beam": 0}, "beam is"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"coverage": float("nan")}, "coverage"),
        ({"no_repeat": 1}, "no_repeat is"),
        ({"margin": 0.0}, "margin is"),
        ({"max_length": 0}, "max_length is"),
        ({"longest": (1.0, 0.0)}, "longest is"),
        ({"longest": (1e9, 9.0)}, "longest is"),
        ({"longest": ()}, "longest is"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SearchOptions(**changes)


def test_a_beam_finds_no_more_than_it_is_wide() -> None:
    with pytest.raises(UserError, match=r"nbest 3 is more than the beam of 2"):
        search(Chain(6, 0), sources(0), SearchOptions(beam=2), nbest=3)
