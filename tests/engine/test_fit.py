"""The loop: exact, resumable, within its budget, and clear when something goes wrong."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, RunError
from shoestring.core.listener import Look, Quiet
from shoestring.core.protocols import Batch, Network, State
from shoestring.core.receipt import Plain
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.core.techniques import Hook
from shoestring.engine import device, fit, loop, pacing, placement, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds
from tests import tiny

PLAN = (PlanChange(0, 12, "as asked"),)
EVERYTHING = ("augment:shift=0.1,rotation=10,color=0.1,erase=0.2", "average:decay=0.9,every=2")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


class Asking(Quiet):
    """Asks to stop at a step; notes what was said."""

    def __init__(self, interrupt: Interrupt | None = None, at: int = -1) -> None:
        self.interrupt, self.at = interrupt, at
        self.said: list[str] = []
        self.looks: list[float] = []

    def evaluation(self, look: Look) -> None:
        self.looks.append(look.quality)
        if self.interrupt and look.step == self.at:
            self.interrupt.ask()

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_fit_learns(tmp_path: Path, source: Path) -> None:
    run, weights = tiny.fitted(*tiny.prepared(tmp_path, source, steps=60, evaluate_every=20))
    assert run.curve[-1]["quality"] > 0.8
    assert [line["step"] for line in run.curve] == [20, 40, 60]
    assert run.curve[-1]["train_loss"] < run.curve[0]["train_loss"]
    assert weights.keys() >= {"0.weight"}
    assert store.read_lines(tmp_path / store.METRICS) == list(run.curve)


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path, source: Path) -> None:
    _, first = tiny.fitted(*tiny.prepared(tmp_path / "a", source, hooks=EVERYTHING))
    _, second = tiny.fitted(*tiny.prepared(tmp_path / "b", source, hooks=EVERYTHING))
    _, other = tiny.fitted(*tiny.prepared(tmp_path / "c", source, hooks=EVERYTHING, seed=1))
    assert tiny.same(first, second)
    assert not tiny.same(first, other)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_a_stopped_and_resumed_fit_ends_with_the_same_bytes(
    tmp_path: Path, source: Path, optimizer: str
) -> None:
    settings = {
        "hooks": EVERYTHING,
        "optimizer": optimizer,
        "network": {"kind": "compact", "width": 4, "dropout": 0.3},
    }
    whole_run, whole = tiny.fitted(*tiny.prepared(tmp_path / "whole", source, **settings))
    run, dataset = tiny.prepared(tmp_path / "parts", source, **settings)
    interrupt = Interrupt()
    with pytest.raises(Interrupted, match=r"stopped at step 8 of 12.*--resume"):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Asking(interrupt, 8))
    run = store.read_started(run.path)
    resumed, parts = tiny.fitted(run, dataset)
    assert tiny.same(whole, parts)
    assert resumed.curve == whole_run.curve
    assert store.read_lines(run.path / store.METRICS) == list(whole_run.curve)


def test_a_record_repeats_a_budgeted_fit_exactly(tmp_path: Path, source: Path) -> None:
    run, dataset = tiny.prepared(
        tmp_path / "a", source, steps=None, evaluate_every=None, budget_seconds=4.0
    )
    done, first = tiny.fitted(run, dataset)
    record = done.recipe
    assert record.plan[0].at_step == 0
    (tmp_path / "b").mkdir()
    again = replace(run, path=tmp_path / "b", recipe=replace(record, budget_seconds=None))
    _, second = tiny.fitted(again, dataset)
    assert tiny.same(first, second)


def test_when_a_batch_is_made_changes_nothing(tmp_path: Path, source: Path) -> None:
    run, dataset = tiny.prepared(tmp_path, source, hooks=EVERYTHING)
    where = placement.Local("cpu")
    found = []
    for early in (False, True):
        one = loop.Loop(run, Feeds.of(run, dataset, where), where)
        for _ in range(2 * len(one.train.order(run.recipe.batch_size or 1, 0, 0)) + 1):
            one.step(0.5, 1.0)
            if early:
                one.foresee()
        found.append({name: t.clone() for name, t in one.raw.state_dict().items()})
    assert tiny.same(*found)


class Clock:
    """A clock that only steps and looks move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now, self.steps = 0.0, 0
        monkeypatch.setattr(pacing, "seconds_a_step", lambda loop, budget: 0.5)
        monkeypatch.setattr(pacing, "timed_look", lambda *_: pacing.Looks(0.1))
        monkeypatch.setattr(pacing.time, "monotonic", lambda: self.now)
        stepped = pacing.Pace.stepped

        def step(pace: pacing.Pace) -> None:
            self.now += seconds(self.steps)
            self.steps += 1
            stepped(pace)

        monkeypatch.setattr(pacing.Pace, "stepped", step)


def clocked(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: Callable[[int], float],
) -> tuple[Run, Clock, Budget]:
    """A fit of a minute whose steps were measured at half a second and take other times."""
    run, dataset = tiny.prepared(
        tmp_path, source, steps=None, evaluate_every=None, budget_seconds=60.0
    )
    clock = Clock(monkeypatch, seconds)
    budget = Budget(60.0, clock=lambda: clock.now)
    done, _ = tiny.fitted(run, dataset, budget=budget)
    return done, clock, budget


def test_a_slow_machine_shortens_the_plan_in_writing_first(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _, budget = clocked(tmp_path, source, monkeypatch, lambda step: 2.0)
    plan = done.recipe.plan
    assert len(plan) > 1
    assert plan[-1].total_steps < plan[0].total_steps
    assert done.curve[-1]["step"] == plan[-1].total_steps
    assert 40 < budget.elapsed() <= 60.0
    assert store.read_started(tmp_path).recipe.plan == plan


def test_a_fast_machine_lengthens_a_plan_that_the_clock_made(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _, budget = clocked(tmp_path, source, monkeypatch, lambda step: 0.25)
    plan = done.recipe.plan
    assert plan[-1].total_steps > 1.5 * plan[0].total_steps
    assert 50 < budget.elapsed() <= 60.0


def test_a_hiccup_changes_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _, _ = clocked(tmp_path, source, monkeypatch, lambda step: 3.0 if step == 20 else 0.5)
    assert done.recipe.plan[-1].total_steps > 0.9 * done.recipe.plan[0].total_steps


def test_a_resumed_fit_replays_the_changes_that_lie_ahead_of_its_checkpoint(
    tmp_path: Path, source: Path
) -> None:
    plan = (PlanChange(0, 24, "first"), PlanChange(10, 14, "slower"))
    run, dataset = tiny.prepared(tmp_path / "whole", source, plan=plan)
    _, whole = tiny.fitted(run, dataset)
    run, dataset = tiny.prepared(tmp_path / "parts", source, plan=plan, budget_seconds=600.0)
    interrupt = Interrupt()
    with pytest.raises(Interrupted):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Asking(interrupt, 4))
    resumed, parts = tiny.fitted(run, dataset)
    assert resumed.recipe.plan == plan
    assert tiny.same(whole, parts)


def test_a_budget_too_short_for_anything_still_takes_a_step_and_says_so(
    tmp_path: Path, source: Path
) -> None:
    run, dataset = tiny.prepared(
        tmp_path, source, steps=None, evaluate_every=None, budget_seconds=0.01
    )
    listener = Asking()
    done, _ = tiny.fitted(run, dataset, listener=listener)
    assert done.recipe.total_steps == 1
    assert any("expect little" in text for text in listener.said)


@pytest.mark.parametrize("bad_step", [6, 8])  # in the middle, and right before a look
def test_a_loss_that_is_not_finite_is_rolled_back_with_half_the_rate(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, bad_step: int
) -> None:
    @dataclass(frozen=True)
    class Breaks(Hook):
        """Breaks the loss while the rate is above half of the peak."""

        def change_loss(
            self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, batch: Batch
        ) -> torch.Tensor:
            return loss

        def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
            state["count"] = state.get("count", 0) + 1
            if state["count"] == bad_step and rate > 0.011:
                with torch.no_grad():
                    next(model.parameters()).fill_(math.nan)

    original = plugins.technique
    monkeypatch.setattr(plugins, "technique", lambda w: Breaks() if w == "breaks" else original(w))
    run, dataset = tiny.prepared(tmp_path, source, hooks=("breaks",), schedule="constant")
    done, weights = tiny.fitted(run, dataset)
    (change,) = done.recipe.plan[1:]
    assert (change.at_step, change.rate_factor, change.reason) == (4, 0.5, "loss not finite")
    assert all(bool(torch.isfinite(t).all()) for t in weights.values())
    # The record repeats what came of it.
    again, same = tiny.prepared(tmp_path / "again", source, hooks=("breaks",))
    _, repeated = tiny.fitted(replace(again, recipe=done.recipe), same)
    assert tiny.same(weights, repeated)


def test_a_loss_that_stays_broken_ends_with_what_to_look_for(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Hook):
        def change_loss(
            self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, batch: Batch
        ) -> torch.Tensor:
            return loss * math.nan

    monkeypatch.setattr(plugins, "technique", lambda words: Broken())
    run, dataset = tiny.prepared(tmp_path, source, hooks=("broken",))
    with pytest.raises(RunError, match="learning rate was halved"):
        tiny.fitted(run, dataset)


def test_a_hook_that_asks_to_stop_gets_a_cool_down(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Hook):
        def should_stop(self, curve: Sequence[Plain], state: State) -> bool:
            return len(curve) >= 2

    monkeypatch.setattr(plugins, "technique", lambda words: Enough())
    run, dataset = tiny.prepared(tmp_path, source, hooks=("enough",), steps=40, evaluate_every=5)
    done, _ = tiny.fitted(run, dataset)
    assert done.recipe.plan[-1].reason == "should_stop"
    assert (done.recipe.plan[-1].at_step, done.curve[-1]["step"]) == (10, 14)


def test_the_best_weights_are_kept_and_not_the_last(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ruins(Hook):
        def after_step(self, model: torch.nn.Module, rate: float, state: State) -> None:
            state["count"] = state.get("count", 0) + 1
            if state["count"] == 80:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.zero_()

    original = plugins.technique  # other hooks, which a task adds, stay what they are
    monkeypatch.setattr(plugins, "technique", lambda w: Ruins() if w == "ruins" else original(w))
    run, dataset = tiny.prepared(tmp_path, source, hooks=("ruins",), steps=80, evaluate_every=40)
    _, weights = tiny.fitted(run, dataset)
    assert float(weights["0.weight"].abs().sum()) > 0


def test_badly_scaled_weights_are_noticed_at_the_first_loss(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Huge(Hook):
        def prepare(self, model: torch.nn.Module, network: Network) -> torch.nn.Module:
            with torch.no_grad():
                list(model.parameters())[-2].mul_(500)
            return model

    monkeypatch.setattr(plugins, "technique", lambda words: Huge())
    listener = Asking()
    tiny.fitted(*tiny.prepared(tmp_path, source, hooks=("huge",), steps=2), listener=listener)
    assert any("far above log(3)" in text for text in listener.said)


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run, dataset = tiny.prepared(tmp_path, source)
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(pacing, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit, "SPENT_SECONDS", 0.0)
    listener = Asking()
    done, _ = tiny.fitted(
        replace(run, recipe=replace(run.recipe, plan=PLAN)), dataset, listener=listener
    )
    assert done.curve[-1]["step"] == 12
    (said,) = [text for text in listener.said if "disk is full" in text]
    assert "no checkpoint or note" in said


def test_two_bytes_of_precision_train_too(tmp_path: Path, source: Path) -> None:
    run, weights = tiny.fitted(
        *tiny.prepared(tmp_path, source, precision="bfloat16", steps=60, evaluate_every=60)
    )
    assert run.curve[-1]["quality"] > 0.8
    assert all(t.dtype in (torch.float32, torch.int64) for t in weights.values())


def test_without_bfloat16_steps_are_taken_in_float32_and_it_is_said(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older processor repeats the recipe of a newer one."""
    for module in (device, loop):
        monkeypatch.setattr(module, "has_bfloat16", lambda _: False)
    plain = tiny.fitted(*tiny.prepared(tmp_path / "a", source, precision="float32"))
    asked, weights = tiny.fitted(*tiny.prepared(tmp_path / "b", source, precision="bfloat16"))
    assert tiny.same(weights, plain[1])
    assert [line.reason for line in asked.receipts] == [loop.NO_BFLOAT16]
    assert device.precisions("cpu") == ("float32",)


def test_everything_in_a_recipe_decides_and_nothing_else(tmp_path: Path, source: Path) -> None:
    """What the environment does to torch's own generators does not reach the fit."""
    torch.manual_seed(123)
    _, first = tiny.fitted(*tiny.prepared(tmp_path / "a", source))
    torch.manual_seed(321)
    torch.rand(17)
    _, second = tiny.fitted(*tiny.prepared(tmp_path / "b", source))
    assert tiny.same(first, second)


def test_epochs_are_counted_in_batches(tmp_path: Path, source: Path) -> None:
    run, dataset = tiny.prepared(tmp_path, source, steps=None, epochs=1.5, evaluate_every=None)
    done, _ = tiny.fitted(run, dataset)
    batches = len(dataset.train) // 16
    assert done.recipe.total_steps == round(1.5 * batches)
    assert isinstance(done.recipe, Recipe)


def test_epochs_of_batches_of_varying_number_are_counted_one_by_one(
    tmp_path: Path, source: Path
) -> None:
    class Uneven:
        """A feed whose epochs have 3, 4, 5, 3, 4, ... batches."""

        def order(self, batch_size: int, seed: int, epoch: int) -> list[int]:
            return [0] * (3 + epoch % 3)

    recipe = tiny.recipe(source)
    feeds = Feeds(Uneven(), Uneven())
    assert pacing.steps_of(recipe, feeds, 1.0) == 3
    assert pacing.steps_of(recipe, feeds, 2.0) == 7
    assert pacing.steps_of(recipe, feeds, 3.0) == 12
    assert pacing.steps_of(recipe, feeds, 2.5) == 9
    assert pacing.steps_of(recipe, feeds, 0.5) == 2
    assert pacing.steps_of(recipe, feeds, 0.01) == 1
    assert pacing.steps_of(recipe, feeds, 3000.0) == pytest.approx(12_000, rel=0.02)
