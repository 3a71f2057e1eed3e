"""The power law: finds what was drawn from one, and its intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring.autopilot import power_law

SHARES = np.array([1.0, 2.0, 4.0, 8.0])


def drawn(
    random: np.random.Generator, exponent: float, floor: float, noise: float, repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Examples and errors of fits whose error at the largest share is about 0.1."""
    examples = np.repeat(SHARES * 100, repeats)
    shape = floor + (1 - floor) * (examples / examples.max()) ** -exponent
    return examples, 0.1 * shape * np.exp(noise * random.standard_normal(len(examples)))


def fitted(examples: np.ndarray, errors: np.ndarray) -> power_law.Law:
    same = [errors[examples == n].tolist() for n in np.unique(examples)]
    return power_law.fitted(examples, errors, power_law.noise_of(same, 5_000, 1.0))


@pytest.mark.parametrize("exponent", [0.1, 0.4, 0.8])
def test_a_clean_law_is_found_and_carried_on(exponent: float) -> None:
    examples, errors = drawn(np.random.default_rng(0), exponent, 0.0, 0.003, 2)
    law = fitted(examples, errors)
    told = law.error(1600)
    assert told.low < 0.1 * 2**-exponent < told.high
    assert told.value == pytest.approx(0.1 * 2**-exponent, rel=0.1)
    assert law.ratio(1600).value == pytest.approx(2**-exponent, rel=0.1)


def test_a_floor_is_seen_where_more_data_do_nothing() -> None:
    examples, errors = drawn(np.random.default_rng(0), 0.0, 0.0, 0.01, 3)
    law = fitted(examples, errors)
    assert law.ratio(1600).value > 0.95
    assert law.ratio(1600).high < 1.2
    assert law.error(1600).low < 0.1 < law.error(1600).high


@pytest.mark.parametrize("floor", [0.0, 0.5])
@pytest.mark.parametrize("exponent", [0.2, 0.6])
@pytest.mark.parametrize("noise", [0.03, 0.1])
def test_the_interval_holds_the_next_fit_as_often_as_it_says(
    floor: float, exponent: float, noise: float
) -> None:
    random, held, times = np.random.default_rng(1), 0, 30
    for _ in range(times):
        examples, errors = drawn(random, exponent, floor, noise, 2)
        told = fitted(examples, errors).error(1600)
        expected = 0.1 * (floor + (1 - floor) * 2**-exponent)
        held += told.low <= expected * np.exp(noise * random.standard_normal()) <= told.high
    spread = np.sqrt(0.9 * 0.1 / times)
    assert held / times >= 0.9 - 2 * spread


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_the_interval_of_the_mean_is_narrower_and_holds_it(floor: float) -> None:
    """And is no wider than half the error now, of two fits a share."""
    random, held, widths, times = np.random.default_rng(1), 0, [], 30
    truth = 0.1 * (floor + (1 - floor) * 2**-0.3)
    for _ in range(times):
        law = fitted(*drawn(random, 0.3, floor, 0.1, 2))
        mean, one = law.expected(1600), law.error(1600)
        assert one.low < mean.low < mean.high < one.high
        held += mean.low <= truth <= mean.high
        widths.append((mean.high - mean.low) / 0.1)
    assert np.mean(widths) <= 0.5
    assert held / times >= 0.9 - 2 * np.sqrt(0.9 * 0.1 / times)


def test_examples_seen_again_are_worth_less_than_new_ones_and_unseen_ones_nothing() -> None:
    scales = np.array([0.0, 15.0, 1e6])
    worth_GN = power_law.worth(np.array([100.0, 400.0, 1600.0, 6400.0]), 1600.0, scales)
    assert worth_GN[0].tolist() == pytest.approx([100, 400, 1600, 1600])  # repeats buy nothing
    assert worth_GN[2].tolist() == pytest.approx([1600] * 4, rel=1e-4)  # as good as new
    few, some, all_, more = worth_GN[1]
    assert 100 < few < some < all_ == more == pytest.approx(1600)
    assert some > 0.9 * 1600  # four times: nearly as good as new ones


def test_a_fit_that_sees_no_example_twice_gains_nothing_from_more() -> None:
    random = np.random.default_rng(0)
    examples = np.repeat(SHARES * 100, 3)
    worth = power_law.worth(examples, 800.0, np.array([15.0]))[0]
    errors = 0.1 * (worth / 800) ** -0.5 * np.exp(0.02 * random.standard_normal(len(examples)))
    noise = power_law.noise_of([errors[examples == n].tolist() for n in SHARES * 100], 5_000, 1.0)
    plain, told = (power_law.fitted(examples, errors, noise, seen) for seen in (None, 800.0))
    assert told.ratio(1600).value == pytest.approx(1.0, abs=0.01)
    assert plain.ratio(1600).value < 0.98
    assert told.expected(1600).low < 0.1 < told.expected(1600).high


def test_more_examples_are_told_of_with_less_certainty() -> None:
    law = fitted(*drawn(np.random.default_rng(0), 0.4, 0.0, 0.05, 2))
    near, far = law.error(1600), law.error(12_800)
    assert far.value < near.value
    assert far.high / far.low > near.high / near.low


def test_one_number_of_examples_makes_no_law() -> None:
    with pytest.raises(ValueError, match="two numbers of examples"):
        power_law.fitted(np.array([5.0, 5.0]), np.array([0.1, 0.2]), 0.1)


def test_few_graded_examples_make_noise() -> None:
    assert power_law.noise_of([[0.1]], 50, 1.0) > power_law.noise_of([[0.1]], 5_000, 1.0)
    assert power_law.noise_of([[0.0]], 50, 1.0) > 0
    apart, close = [[0.1, 0.2], [0.1, 0.2]], [[0.1, 0.101], [0.1, 0.101]]
    assert power_law.noise_of(apart, 500, 1.0) > power_law.noise_of(close, 500, 1.0)
