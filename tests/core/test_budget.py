"""test_budget: durations, the command's clock, shares, meters and costs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core import budget as budget_module
from shoestring.core.budget import (
    Allowance,
    Budget,
    Cost,
    Meter,
    parse_seconds,
    peak_bytes,
    process_age,
)
from shoestring.core.errors import UserError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Clock:
    """Stands still until told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# --- durations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60.0),
        ("60s", 60.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("0.5h", 1800.0),
        ("250ms", 0.25),
        ("2d", 172800.0),
        (" 5 M ", 300.0),
        ("5m30", 330.0),
        (60, 60.0),
        (0.25, 0.25),
    ],
)
def test_durations_as_people_write_them(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)
    assert isinstance(parse_seconds(text), float)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "m5",
        "5x",
        "5 minutes",
        "1 2",
        "1 2m",
        "-1",
        "-5m",
        "+5m",
        "1e3",
        "5m!",
        "1,5m",
        "½m",
        "٣m",
        "nan",
        "inf",
        "1h-30m",
        True,
    ],
)
def test_other_words_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"not a duration; write it like 60s, 5m, 1h30m") as caught:
        parse_seconds(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["0", "0s", "0h0m", 0, 0.0, -1, -0.5, float("nan"), float("inf"), "9" * 400]
)
def test_a_budget_is_above_zero_and_finite(text: str | float) -> None:
    with pytest.raises(UserError, match="must be above zero and finite; write it like 60s, 5m"):
        parse_seconds(text)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.sampled_from(sorted(UNITS))), min_size=1),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from(["", " "]),
)
def test_pieces_add_up(pieces: list[tuple[int, str]], between: str, inside: str) -> None:
    text = between.join(f"{number}{inside}{unit}" for number, unit in pieces)
    assert parse_seconds(text) == pytest.approx(sum(n * UNITS[unit] for n, unit in pieces))


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_numbers_are_seconds(seconds: float) -> None:
    assert parse_seconds(seconds) == seconds
    assert parse_seconds(f"{seconds:.6f}1s") == pytest.approx(seconds, abs=2e-6)


@given(st.text())
def test_any_text_is_a_duration_or_a_user_error(text: str) -> None:
    try:
        assert 0 < parse_seconds(text) < float("inf")
    except UserError as error:
        assert "write it like" in str(error)


# --- costs --------------------------------------------------------------------------------------

counts = st.integers(0, 10**9)
costs = st.builds(Cost, counts, counts, counts, counts, counts, counts)


def test_nothing_costs_nothing() -> None:
    assert Cost() == Cost(0.0, 0.0, 0.0, 0, 0, 0)


def test_costs_add_but_for_the_peak() -> None:
    total = Cost(1.0, 2.0, 0.5, 10, 100, 7) + Cost(2.0, 3.0, 0.25, 5, 50, 9)
    assert total == Cost(3.0, 5.0, 0.75, 15, 150, 9)


def test_costs_subtract_but_for_the_peak() -> None:
    rest = Cost(3.0, 5.0, 0.75, 15, 150, 9) - Cost(2.0, 3.0, 0.25, 5, 50, 11)
    assert rest == Cost(1.0, 2.0, 0.5, 10, 100, 9)


@given(costs, costs, costs)
def test_costs_add_in_any_order_and_grouping(a: Cost, b: Cost, c: Cost) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost() == a


@given(costs, costs)
def test_what_was_added_can_be_taken_off(a: Cost, b: Cost) -> None:
    rest = (a + b) - b
    assert rest.wall_seconds == a.wall_seconds
    assert rest.steps == a.steps
    assert rest.examples == a.examples
    assert rest.peak_bytes == max(a.peak_bytes, b.peak_bytes)


# --- the clock ----------------------------------------------------------------------------------


def test_the_clock_starts_when_the_budget_is_made() -> None:
    clock = Clock()
    budget = Budget(60, clock=clock)
    assert budget.elapsed() == 0
    assert budget.remaining() == 60
    clock.now += 45
    assert budget.elapsed() == 45
    assert budget.remaining() == 15


def test_an_overdrawn_budget_says_by_how_much() -> None:
    clock = Clock()
    budget = Budget(10, clock=clock)
    clock.now += 12
    assert budget.remaining() == -2


def test_a_start_in_the_past_counts() -> None:
    clock = Clock(1000.0)
    budget = Budget(60, started=997.0, clock=clock)
    assert budget.elapsed() == 3
    assert budget.remaining() == 57


def test_a_clock_that_began_at_zero_is_a_start_too() -> None:
    assert Budget(60, started=0.0, clock=Clock(5.0)).elapsed() == 5


def test_seconds_spent_before_an_interruption_count() -> None:
    clock = Clock()
    budget = Budget(60, spent=20, clock=clock)
    assert budget.elapsed() == 20
    clock.now += 5
    assert budget.remaining() == 35
    assert Budget(60, spent=20, started=998.0, clock=Clock(1000.0)).elapsed() == 22


def test_without_a_limit_there_is_always_time() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    clock.now += 1e9
    assert budget.remaining() == float("inf")
    assert budget.seconds is None
    assert budget.steps is None
    assert budget.epochs is None


def test_the_real_clock_runs_forward() -> None:
    budget = Budget(60)
    first = budget.elapsed()
    assert 0 <= first <= budget.elapsed() < 60
    assert Budget(60, started=time.monotonic() - 10).elapsed() >= 10


def test_seconds_may_be_words() -> None:
    assert Budget("5m").seconds == 300


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_budget_of_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(UserError, match="must be above zero"):
        Budget(seconds)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_steps_and_epochs_are_above_zero(value: float) -> None:
    with pytest.raises(UserError, match=f"^steps must be above zero, not {value!r}$"):
        Budget(steps=value)
    with pytest.raises(UserError, match=f"^epochs must be above zero, not {value!r}$"):
        Budget(epochs=value)


def test_steps_and_epochs_are_kept() -> None:
    budget = Budget(steps=1, epochs=0.5)
    assert (budget.seconds, budget.steps, budget.epochs) == (None, 1, 0.5)


# --- shares -------------------------------------------------------------------------------------


def test_a_share_is_of_what_is_left() -> None:
    clock = Clock()
    budget = Budget(60, steps=100, clock=clock)
    clock.now += 20
    assert budget.share(0.5) == Allowance(20.0, 50)
    assert budget.share(0) == Allowance(0.0, 0)
    assert budget.share(1) == Allowance(40.0, 100)


def test_a_share_of_an_overdrawn_budget_is_nothing() -> None:
    clock = Clock()
    budget = Budget(10, clock=clock)
    clock.now += 15
    assert budget.share(0.5) == Allowance(0.0, None)


def test_a_share_of_no_limit_is_no_limit() -> None:
    assert Budget().share(0.5) == Allowance(None, None)
    assert Allowance() == Allowance(None, None)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_a_share_is_between_nothing_and_all(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"^a share is between 0 and 1, not {fraction}$"):
        Budget(60).share(fraction)


@given(st.floats(0, 1), st.floats(0, 100), st.integers(1, 10**6))
def test_a_share_never_exceeds_the_whole(fraction: float, passed: float, steps: int) -> None:
    clock = Clock(0.0)
    budget = Budget(50, steps=steps, clock=clock)
    clock.now += passed
    share = budget.share(fraction)
    assert share.seconds is not None
    assert share.steps is not None
    assert 0 <= share.seconds <= max(0.0, 50 - passed)
    assert 0 <= share.steps <= steps


# --- meters -------------------------------------------------------------------------------------


def test_a_meter_measures_its_block() -> None:
    clock = Clock()
    budget = Budget(60, clock=clock)
    clock.now += 3
    with budget.meter() as meter:
        assert meter.cost == Cost()
        clock.now += 7
    clock.now += 5
    assert meter.cost.wall_seconds == 7
    assert meter.cost.peak_bytes > 0
    assert meter.cost.cpu_seconds >= 0


def test_a_meter_keeps_what_was_counted() -> None:
    clock = Clock()
    with Budget(clock=clock).meter() as meter:
        meter.count(steps=2, examples=64, evaluation_seconds=1.5)
        meter.count(steps=1)
        meter.count(examples=8)
        meter.count(evaluation_seconds=0.5)
        clock.now += 4
    cost = meter.cost
    assert (cost.steps, cost.examples, cost.evaluation_seconds) == (3, 72, 2.0)
    assert cost.wall_seconds == 4


def test_a_meter_is_complete_when_its_block_fails() -> None:
    clock = Clock()
    kept: list[Meter] = []

    def work() -> None:
        with Budget(clock=clock).meter() as meter:
            kept.append(meter)
            clock.now += 2
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        work()
    assert kept[0].cost.wall_seconds == 2


def test_processor_time_is_that_of_this_process_and_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter(
        [os.times_result((1.0, 2.0, 4.0, 8.0, 99.0)), os.times_result((2.0, 4.0, 8.0, 16.0, 500.0))]
    )
    monkeypatch.setattr(budget_module.os, "times", lambda: next(readings))
    with Budget(clock=Clock()).meter() as meter:
        pass
    assert meter.cost.cpu_seconds == 15.0


# --- what the system tells ----------------------------------------------------------------------


def test_this_process_has_lived_for_a_while_but_not_long() -> None:
    assert 0 <= process_age() < 86400


def test_the_age_is_the_uptime_less_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = " ".join(["0"] * 18)
    # The name in brackets may hold anything: brackets, spaces, bytes that are no text.
    stat = f"1 (a) b\xff) S {fields} {100 * ticks} 7 7"
    monkeypatch.setattr(
        budget_module, "open", _system(tmp_path, stat, "130.5 999.9"), raising=False
    )
    assert process_age() == pytest.approx(30.5)
    monkeypatch.setattr(budget_module, "open", _system(tmp_path, stat, "99.0 999.9"), raising=False)
    assert process_age() == 0.0


@pytest.mark.parametrize("stat", [None, "", "1 (a) S 0 0", "1 (a) S " + "x " * 30])
def test_where_the_system_does_not_tell_the_age_is_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stat: str | None
) -> None:
    monkeypatch.setattr(budget_module, "open", _system(tmp_path, stat, "1 1"), raising=False)
    assert process_age() == 0.0


def test_peak_memory_is_in_bytes() -> None:
    # A Python process is larger than 4 MiB and smaller than 1 TiB: neither KiB nor bits.
    assert 4 * 2**20 < peak_bytes() < 2**40


def test_peak_memory_is_what_the_system_counts_in_kibibytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    class Usage:
        ru_maxrss = 3

    monkeypatch.setattr(resource, "getrusage", lambda who: Usage())
    assert peak_bytes() == 3072


def test_peak_memory_never_falls() -> None:
    first = peak_bytes()
    assert peak_bytes() >= first


def test_where_memory_is_not_told_the_peak_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes() == 0


def _system(folder: Path, stat: str | None, uptime: str) -> object:
    """An `open` that finds these files where Linux tells of a process and of its own age."""
    files = {"/proc/self/stat": folder / "stat", "/proc/uptime": folder / "uptime"}
    if stat is not None:
        (folder / "stat").write_text(stat, encoding="latin1")
    (folder / "uptime").write_text(uptime, encoding="latin1")

    def opened(path: str, encoding: str | None = None, errors: str | None = None) -> object:
        return files[path].open(encoding=encoding, errors=errors)

    return opened
