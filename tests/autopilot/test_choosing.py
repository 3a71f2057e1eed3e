"""choosing: which of several results ships."""

from __future__ import annotations

from typing import Any

import pytest

from shoestring.autopilot.choosing import best, noise
from shoestring.autopilot.knowledge import FIRST, MAIN, QUANTIZE, Result, quantized_name
from shoestring.core.decisions import Step
from shoestring.core.errors import RunError
from shoestring.core.limits import Limits


def result(name: str, quality: float, on: tuple[str, ...] = (), **figures: Any) -> Result:
    step = Step(name, "technique" if on else "fit", 10.0, 0.1, "why", on=on)
    usual: dict[str, Any] = {"deciding": 400, "size_bytes": 1000, "ships": True, "loss": 0.5}
    return Result(step, 10.0, quality, **{**usual, **figures})


def test_a_better_one_ships_and_a_worse_one_does_not() -> None:
    first, main = result(FIRST, 0.8), result(MAIN, 0.95)
    found, why = best([first, main], Limits())
    assert found is main and why == "the best on the examples that decide"
    worse = result(MAIN, 0.5)
    assert best([first, worse], Limits())[0] is first


def test_noise_is_for_the_longer_fit_and_then_for_the_lower_loss() -> None:
    first, main = result(FIRST, 0.95, loss=0.1), result(MAIN, 0.948, loss=0.2)
    found, why = best([first, main], Limits())
    assert found is main and "not told apart from the first fit" in why and "longer" in why
    short = result(quantized_name(FIRST), 0.95, on=(FIRST,), loss=0.1)
    long = result(QUANTIZE, 0.948, on=(MAIN,), loss=0.2)
    assert best([short, long], Limits(size_bytes=5000))[0] is long
    member = result("member 2", 0.946, loss=0.15)
    found, why = best([main, member], Limits())
    assert found is member and "lower loss" in why


def test_what_misses_a_limit_ships_only_where_all_do() -> None:
    large = result(MAIN, 0.99, size_bytes=9000, ships=False)
    small = result(FIRST, 0.9)
    limits = Limits(size_bytes=5000)
    assert best([large, small], limits) == (small, "the only one within the limits")
    larger = result("teacher", 0.995, size_bytes=90_000, ships=False)
    found, why = best([larger, large], limits)
    assert found is large and "nearest" in why


def test_failures_and_folds_never_ship() -> None:
    folds = Result(Step("cross-validation", "folds", 1.0, 0.1, "why"), 1.0, 0.99)
    with pytest.raises(RunError, match="main fit: it broke"):
        best([folds, result(MAIN, 0.9, failure="it broke")], Limits())


def test_noise_is_never_nothing_for_shares_and_nothing_for_others() -> None:
    assert noise(result(MAIN, 1.0)) > 0
    assert noise(result(MAIN, 35.0)) == 0
