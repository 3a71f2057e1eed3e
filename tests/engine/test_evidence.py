"""Whether one run beats another: counts, intervals, p-values and the words for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shoestring.bundle.grade import write_outcomes
from shoestring.core.errors import UserError
from shoestring.core.protocols import Statistics
from shoestring.core.receipt import Interval
from shoestring.data import resample
from shoestring.engine.evidence import (
    DOUBT,
    METHOD,
    Pairs,
    difference,
    gain,
    judged,
    mcnemar,
    paired,
    pairs,
    verdict,
)

COUNTS = st.builds(Pairs, *(st.integers(0, 200) for _ in range(4))).filter(
    lambda counts: counts.total > 0
)


class Shares:
    """A task whose metric is the share of right answers."""

    def statistics(self, outcomes):
        return None


class Ratios:
    """A task whose metric is a ratio of sums, in percent."""

    def statistics(self, outcomes):
        return Statistics(outcomes["sums"], lambda sums: 100 * sums[:, 0] / sums[:, 1])


def outcomes(right, hashes=None) -> dict[str, np.ndarray]:
    right = np.asarray(right, bool)
    return {
        "hashes": np.asarray(np.arange(len(right)) if hashes is None else hashes, np.uint64),
        "right": right,
    }


def test_examples_are_matched_by_content() -> None:
    before = outcomes([1, 1, 0, 0, 1], [5, 6, 7, 8, 99])
    after = outcomes([1, 0, 1, 0], [8, 7, 6, 5])
    assert pairs(before, after) == Pairs(both=1, only_before=1, only_after=1, neither=1)


def test_byte_equal_examples_are_matched_in_turn() -> None:
    before = outcomes([1, 0, 1], [5, 5, 6])
    after = outcomes([1, 1, 1, 0], [5, 6, 5, 5])
    assert pairs(before, after) == Pairs(both=2, only_before=0, only_after=1, neither=0)


def test_the_order_of_examples_does_not_matter() -> None:
    random = np.random.default_rng(0)
    before, after = random.integers(0, 2, 100), random.integers(0, 2, 100)
    order = random.permutation(100)
    expected = pairs(outcomes(before), outcomes(after))
    assert pairs(outcomes(before), outcomes(after[order], order)) == expected


@pytest.mark.parametrize("hashes", [[100, 101, 102, 103], [0, 101, 102, 103]])
def test_runs_with_less_than_half_in_common_are_not_compared(hashes) -> None:
    with pytest.raises(UserError, match=r"only \d examples in common, of 4 and 4; compare runs"):
        pairs(outcomes([1, 1, 1, 1]), outcomes([1, 1, 1, 1], hashes))
    with pytest.raises(UserError, match=r"only 0 examples in common"):
        pairs(outcomes([]), outcomes([]))


def test_outcomes_of_another_kind_are_not_compared() -> None:
    hashes = np.zeros(1, np.uint64)
    with pytest.raises(UserError, match=r"first run hold no 'right', so they .* which were right"):
        pairs({"hashes": hashes, "labels": hashes}, outcomes([1]))
    with pytest.raises(UserError, match=r"second run hold no 'hashes'"):
        pairs(outcomes([1]), {"right": np.ones(1, bool)})
    with pytest.raises(UserError, match=r"second run hold no 'hashes'"):
        paired(outcomes([1]), {"right": np.ones(1, bool)}, Shares())
    for right in (np.ones(2, bool), np.ones(1, np.float32), np.ones((1, 1), bool)):
        with pytest.raises(UserError, match=r"not as one bool for each of 1 examples"):
            pairs({"hashes": hashes, "right": right}, outcomes([1]))


# (both, only the first, only the second, neither) and the interval of the first less the second.
# The last is the example that the R package contingencytables tests its own version with.
@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((1, 1, 7, 12), -0.507, -0.026),
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_the_interval_is_the_one_that_others_compute(cells, low, high) -> None:
    both, first, second, neither = cells
    found = difference(Pairs(both, only_before=second, only_after=first, neither=neither))
    digits = 3 if round(low, 3) == low else 4
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)
    assert found.method == METHOD


@given(COUNTS)
def test_an_interval_holds_its_value_and_turns_with_its_runs(counts: Pairs) -> None:
    found = difference(counts)
    assert -1 <= found.low <= found.value <= found.high <= 1
    turned = difference(Pairs(counts.both, counts.only_after, counts.only_before, counts.neither))
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


@given(COUNTS)
def test_the_p_value_is_the_exact_binomial_one(counts: Pairs) -> None:
    n = counts.only_before + counts.only_after
    expected = stats.binomtest(counts.only_before, n).pvalue if n else 1.0
    assert mcnemar(counts) == pytest.approx(expected, rel=1e-6)


def test_the_p_value_of_large_counts_is_finite() -> None:
    assert 0 <= mcnemar(Pairs(0, 20_000, 30_000, 0)) < 1e-100
    assert mcnemar(Pairs(5, 20_000, 20_000, 5)) == 1.0


def test_intervals_of_equal_runs_cover_zero_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    outside = 0
    for _ in range(1000):
        shared = random.random(400) < 0.8
        flips = random.random((2, 400)) < 0.05
        found = paired(outcomes(shared ^ flips[0]), outcomes(shared ^ flips[1]), Shares())
        outside += verdict(found) != "within noise"
    assert 15 <= outside <= 75  # 50 are expected of 95% intervals


def test_verdicts() -> None:
    assert verdict(Interval(0.1, 0.01, 0.2)) == "better"
    assert verdict(Interval(-0.1, -0.2, -0.01)) == "worse"
    assert verdict(Interval(0.1, -0.01, 0.2)) == "within noise"
    assert verdict(Interval(0.1, 0.0, 0.2)) == "within noise"


def test_gain_reads_the_files_of_both_runs(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "a.npz", outcomes([1] * 50 + [0] * 50))
    write_outcomes(tmp_path / "b.npz", outcomes([1] * 90 + [0] * 10))
    interval, words, doubt = gain(tmp_path / "a.npz", tmp_path / "b.npz", Shares())
    assert interval.value == pytest.approx(0.4)
    assert (words, doubt) == ("better", "")


def test_a_verdict_takes_what_interval_and_test_agree_on() -> None:
    five = Pairs(both=500, only_before=0, only_after=5, neither=495)
    assert difference(five).low > 0 and mcnemar(five) == pytest.approx(0.0625)
    before = outcomes([1] * 500 + [0] * 500)
    for right, words in ((505, "within noise"), (506, "better"), (494, "worse")):
        interval, found, _ = judged(before, outcomes([1] * right + [0] * (1000 - right)), Shares())
        assert (interval.value, found) == (pytest.approx((right - 500) / 1000), words)
    # The same of two runs is held against the level of an interval that is surer.
    six = outcomes([1] * 506 + [0] * 494)
    assert judged(before, six, Shares(), 1 - 0.05 / 2)[1] == "within noise"


def test_a_few_sentences_are_no_proof_however_a_bootstrap_draws_them() -> None:
    hashes = np.arange(200)
    below = np.full(200, 10.0)
    above = np.full(200, 5.0)
    for differing, words in ((5, "within noise"), (6, "better")):
        better = above + (hashes < differing)
        interval, found, doubt = judged(
            ratios(above, below, hashes), ratios(better, below, hashes), Ratios()
        )
        assert interval.low > 0
        assert found == words
        assert doubt == ("" if differing == 6 else DOUBT.format(p=0.0625))


def ratios(above, below, hashes) -> dict[str, np.ndarray]:
    return {
        "hashes": np.asarray(hashes, np.uint64),
        "sums": np.stack([above, below], axis=1).astype(np.float64),
    }


def test_a_metric_of_sums_is_resampled_on_the_same_examples_of_both() -> None:
    random = np.random.default_rng(0)
    below = random.integers(5, 30, 500)
    above = random.binomial(below, 0.5)
    better = np.minimum(above + (random.random(500) < 0.3), below)
    order = random.permutation(500)
    before = ratios(above, below, np.arange(500))
    found = paired(before, ratios(better[order], below[order], order), Ratios())
    gained = 100 * (better.sum() - above.sum()) / below.sum()
    assert found.value == pytest.approx(gained)
    assert 0 < found.low < gained < found.high
    assert found.method.startswith("paired bootstrap over examples")
    assert found.method.endswith("one seed each")
    # Each alone varies far more than their difference does.
    alone = resample.interval(before["sums"], Ratios().statistics(before).metric)
    assert found.high - found.low < 0.5 * (alone.high - alone.low)
    assert paired(before, before, Ratios()).low == 0.0
    with pytest.raises(UserError, match="only 0 examples in common"):
        paired(before, ratios(above, below, np.arange(500) + 500), Ratios())
