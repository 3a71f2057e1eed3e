"""space: ranges that hold something, and the numbers that are drawn for them."""

from __future__ import annotations

from typing import Any

import pytest

from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.space import Range


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs low and high, or choices"),
        ({"low": 1.0}, "needs low and high"),
        ({"low": 2.0, "high": 1.0}, "empty range: low is 2.0 and high is 1.0"),
        ({"low": 1.0, "high": 1.0}, "empty range"),
        ({"low": 0.0, "high": 1.0, "log": True}, "the logarithm of 0 is not a number"),
        ({"low": -1.0, "high": 1.0, "log": True}, "the logarithm of -1 is not a number"),
        ({"low": 0.0, "high": float("inf")}, "finite"),
        ({"choices": (3,)}, "one choice, 3: there is nothing to search"),
        ({"choices": (3, 3)}, "a choice twice"),
        ({"choices": (1, 2), "low": 1.0}, "takes no low, high or log"),
        ({"low": 0.5, "high": 2.0, "scales": {"clip": 0}}, "a number that is not 0"),
    ],
)
def test_a_range_that_holds_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Range("clip", **given)


@pytest.mark.parametrize(
    "one",
    [
        Range("learning_rate", 1e-4, 0.1, log=True),
        Range("batch_size", 8, 64, whole=True),
        Range("batch_size", choices=(64, 8, 32)),
        Range("optimizer", choices=("muon", "adamw")),
        Range("strength", 0.5, 2.0, scales={"augment.shift": 0.1}),
    ],
)
def test_a_range_comes_back_from_plain_values(one: Range) -> None:
    assert from_plain(Range, to_plain(one)) == one
    assert str(one)


def test_numbers_among_choices_are_searched_in_order() -> None:
    one = Range("batch_size", choices=(64, 8, 32))
    assert one.choices == (8, 32, 64)
    assert [one.value(i) for i in range(3)] == [8, 32, 64]
    assert one.drawn(30) == 1
    assert one.drawn("many") is None


def test_a_value_outside_is_drawn_as_the_nearest_inside() -> None:
    rate = Range("learning_rate", 1e-4, 0.1, log=True)
    assert rate.drawn(3.0) == 0.1
    assert rate.drawn(0.01) == 0.01
    assert rate.drawn(None) is None
    assert rate.value(0.0123456) == 0.0123
    whole = Range("batch_size", 8, 64, whole=True)
    assert whole.drawn(7) == 8
    assert isinstance(whole.value(12), int)
    words = Range("optimizer", choices=("muon", "adamw"))
    assert words.drawn("sgd") is None
    assert words.value(words.drawn("muon")) == "muon"
