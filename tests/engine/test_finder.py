"""What is found on throw-away steps: a rate from a range test, a batch that fits and pays."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.listener import Look, Quiet
from shoestring.core.receipt import Receipt
from shoestring.core.run import Run
from shoestring.engine import finder, placement, remarks, store
from shoestring.engine.finder import Tried
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds, Loop, Stepped
from tests import tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


def found(run: Run, dataset: Any, budget: Budget | None = None) -> Run:
    place = placement.Local("cpu")
    feeds = Feeds.of(run, dataset, place)
    return finder.found(run, feeds, budget or Budget(), place, Quiet())


def lines(run: Run, what: str) -> list[Receipt]:
    return [receipt for receipt in run.receipts if receipt.technique == what]


# --- learning rate ------------------------------------------------------------------------------


def descent(rates: list[float], best: float) -> list[float]:
    """Losses of a test that fall up to a rate and rise above it."""
    return [2.0 - 0.3 * math.log10(r / 1e-5) + 4 * max(0.0, math.log10(r / best)) for r in rates]


@pytest.mark.parametrize("best", [1e-3, 1e-2, 0.1])
def test_the_peak_lies_below_the_rate_at_which_the_loss_is_least(best: float) -> None:
    rates = finder.climbing(finder.RATE_STEPS)
    peak, why = finder.suggested(rates, descent(rates, best))
    assert peak is not None
    assert best / 30 < peak < best
    assert "rose after that" in why


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    rates = finder.climbing(60)
    peak, why = finder.suggested(rates, [2.3 + 0.001 * i for i in range(60)])
    assert peak is None
    assert "never fell" in why


def test_a_loss_that_is_not_finite_at_once_suggests_nothing() -> None:
    peak, why = finder.suggested(finder.climbing(60), [2.3, 2.2, math.nan])
    assert peak is None
    assert "not finite after 2 steps" in why


def test_the_test_ends_where_the_loss_goes_up_for_good() -> None:
    assert finder.diverged([1.0, math.inf])
    falling = [2.0 - 0.1 * i for i in range(12)]
    assert not finder.diverged(falling)
    assert finder.diverged([*falling, *[30.0] * 4])


def test_the_moving_average_is_not_drawn_to_zero() -> None:
    assert finder.smoothed([3.0] * 5) == pytest.approx([3.0] * 5)


def test_a_fit_takes_the_rate_that_was_found_and_says_so(tmp_path: Path, source: Path) -> None:
    hooks = ("schedule:find=rate",)
    run, dataset = tiny.prepared(tmp_path, source, hooks=hooks, learning_rate=1e-4)
    done = found(run, dataset)
    (line,) = lines(done, "find rate")
    rate = done.recipe.learning_rate
    assert rate is not None
    assert 2e-4 < rate < 0.3
    assert f"found a peak rate of {rate:g} in place of 0.0001" in line.reason
    assert line.cost.wall_seconds > 0
    assert line.cost.steps > finder.FEWEST_RATE_STEPS
    assert len(line.options["losses"]) == line.options["steps"]
    again = found(run, dataset)
    assert again.recipe == done.recipe


def test_too_little_time_for_a_range_test_leaves_the_rate_as_it_is(
    tmp_path: Path, source: Path
) -> None:
    run, dataset = tiny.prepared(tmp_path, source, hooks=("schedule:find=rate",))
    done = found(run, dataset, Budget(0.001))
    assert done.recipe == run.recipe
    (line,) = lines(done, "find rate")
    assert "was skipped" in line.reason


def test_the_shape_of_another_technique_does_not_bend_the_test(
    tmp_path: Path, source: Path
) -> None:
    alone, dataset = tiny.prepared(tmp_path / "a", source, hooks=("schedule:find=rate",))
    hooks = ("schedule:find=rate", "average:kind=swa,rate=0.5,refresh=0")
    with_shape, _ = tiny.prepared(tmp_path / "b", source, hooks=hooks)
    rates = [found(run, dataset).recipe.learning_rate for run in (alone, with_shape)]
    assert rates[0] == rates[1]


def test_what_was_found_is_recorded_and_a_resumed_or_repeated_fit_does_not_look_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = ("schedule:find=rate+batch",)
    run, dataset = tiny.prepared(tmp_path / "parts", source, hooks=hooks)
    interrupt = Interrupt()

    class Asks(Quiet):
        def evaluation(self, look: Look) -> None:
            if look.step == 8:
                interrupt.ask()

    with pytest.raises(Interrupted):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Asks())
    started = store.read_started(run.path)
    assert [r.technique for r in started.receipts] == ["find batch", "find rate"]
    monkeypatch.setattr(finder, "found", None)  # whoever calls it fails
    resumed, weights = tiny.fitted(started, dataset)
    assert [r.technique for r in resumed.receipts] == ["find batch", "find rate"]
    (tmp_path / "again").mkdir()
    repeat = replace(run, path=tmp_path / "again", recipe=resumed.recipe)
    monkeypatch.undo()
    _, repeated = tiny.fitted(repeat, dataset)
    assert tiny.same(weights, repeated)


def test_what_nobody_finds_is_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = tiny.prepared(tmp_path, source, hooks=("schedule:find=rate",))
    monkeypatch.setattr(finder, "FINDERS", ("batch",))
    with pytest.raises(UserError, match="no finder of 'rate'; there are: batch"):
        found(run, dataset)


def test_the_cost_of_a_search_is_counted_once(tmp_path: Path, source: Path) -> None:
    run, dataset = tiny.prepared(tmp_path, source, hooks=("schedule:find=rate",))
    budget = Budget()
    with budget.meter() as meter:
        done, _ = tiny.fitted(run, dataset, budget=budget, meter=meter)
    (line,) = lines(done, "find rate")
    cost = remarks.fit_cost(meter.cost, [line])
    assert cost.wall_seconds == pytest.approx(meter.cost.wall_seconds - line.cost.wall_seconds)
    assert cost.steps == meter.cost.steps == 12


# --- batch size ---------------------------------------------------------------------------------


def machine(rates: dict[int, float]) -> Any:
    """What is timed on a machine of these labels a second; 0 where a batch does not fit."""
    return lambda size: Tried(size, rates.get(size, 0.0), 1000)


def endless(last: Tried) -> str:
    return ""


@pytest.mark.parametrize(
    ("rates", "best", "why"),
    [
        ({16: 100, 32: 150, 64: 152}, 32, "64 would give 1.01 times the labels a second"),
        ({16: 100, 32: 105}, 16, "32 would give 1.05 times"),
        ({16: 100, 32: 190}, 32, "64 do not fit"),
        ({8: 50, 4: 40}, 8, "16 do not fit"),
        ({1: 1}, 1, "2 do not fit"),
    ],
)
def test_a_batch_is_doubled_while_it_fits_and_pays(
    rates: dict[int, float], best: int, why: str
) -> None:
    chosen, tried, said = finder.searched(16, machine(rates), endless)
    assert chosen is not None
    assert chosen.batch_size == best
    assert why in said
    assert len(tried) <= 6


def test_where_nothing_fits_there_is_no_batch() -> None:
    chosen, tried, _ = finder.searched(8, machine({}), endless)
    assert chosen is None
    assert [t.batch_size for t in tried] == [8, 4, 2, 1]


def test_it_goes_on_only_as_long_as_it_may() -> None:
    chosen, tried, why = finder.searched(
        4, lambda size: Tried(size, size, 1000), lambda last: "late" * (last.batch_size >= 16)
    )
    assert chosen is not None
    assert (chosen.batch_size, len(tried), why) == (16, 3, "late")


def test_a_machine_that_runs_out_of_memory_is_asked_for_less(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = Loop.step

    def step(loop: Loop, progress: float, factor: float) -> Stepped:
        if (loop.recipe.batch_size or 0) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stepped(loop, progress, factor)

    monkeypatch.setattr(Loop, "step", step)
    run, dataset = tiny.prepared(tmp_path, source, hooks=("schedule:find=batch",), batch_size=32)
    done = found(run, dataset)
    assert done.recipe.batch_size == 8
    (line,) = lines(done, "find batch")
    assert line.options["labels_per_second"]["16"] == "did not fit"
    assert done.recipe.learning_rate == pytest.approx(0.02 / 2)  # by the square root
    monkeypatch.setattr(finder, "_timed", lambda run, *rest: Tried(run.recipe.batch_size, 0.0, 9))
    with pytest.raises(UserError, match="not even one batch of 1 fits the memory of cpu"):
        found(run, dataset)


def test_plain_gradient_descent_scales_its_rate_in_proportion(tmp_path: Path, source: Path) -> None:
    recipe = tiny.recipe(source, optimizer="sgd", batch_size=8, learning_rate=0.1)
    assert finder._changes(recipe, 32) == {"batch_size": 32, "learning_rate": 0.4}
    assert finder._changes(replace(recipe, optimizer="adamw"), 32)["learning_rate"] == 0.2


def test_an_epoch_keeps_some_batches(tmp_path: Path, source: Path) -> None:
    run, dataset = tiny.prepared(tmp_path, source, hooks=("schedule:find=batch",), batch_size=16)
    done = found(run, dataset)  # 216 pictures: 13 batches of 16
    assert done.recipe.batch_size == 16
    (line,) = lines(done, "find batch")
    assert "fewer than 20 batches an epoch" in line.reason
