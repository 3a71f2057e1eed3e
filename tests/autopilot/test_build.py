"""build: what comes of a budget and limits, on tiny data and with fits of two epochs."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

import shoestring
from shoestring.autopilot import build_step, building, planning, shipping
from shoestring.autopilot.build_record import Record
from shoestring.core.budget import Budget
from shoestring.core.decisions import BuildPlan
from shoestring.core.errors import DataError, Interrupted, LimitsMissed, RunError, UserError
from shoestring.core.limits import Limits
from shoestring.core.listener import Quiet
from shoestring.core.run import Recipe, Run
from shoestring.engine import pacing, store
from tests import tiny

BUDGET = 120.0
SMALL = 13_000  # bytes, that the network chosen for them keeps to in int8 alone


@pytest.fixture(scope="module")
def quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "MAX_EPOCHS", 2.0)
        yield patch


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz", count=1_200)


@pytest.fixture(scope="module")
def run(quick: Any, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("builds") / "a"
    return built(source, out, max_size=SMALL)


def built(source: Path, out: Path, **asked: Any) -> Run:
    asked = {"budget": BUDGET, "threads": 1, "without": ["ensemble"], **asked}
    found = shoestring.build(source, out=out, **asked)
    assert isinstance(found, Run)
    return found


def test_what_ships_keeps_to_the_limit_and_is_whole(run: Run) -> None:
    assert run.scores is not None and (run.scores.size_bytes or 0) <= SMALL
    assert shoestring.verify(run.path)["ok"]
    assert store.read(run.path) == run
    assert not (run.path / store.BUILD).exists() and not (run.path / store.SPENT).exists()
    size = sum(
        file.stat().st_size
        for file in (run.path / "bundle").iterdir()
        if file.name in ("bundle.json", "model.onnx")
    )
    assert run.scores.size_bytes == size


def test_every_step_is_on_the_receipt_and_every_decision_has_a_line(run: Run) -> None:
    assert next(one.what for one in run.decisions) == "network"
    assert run.decisions[-1].what == "ship"
    steps = sorted(path.name for path in (run.path / "steps").iterdir())
    assert steps[0] == "1-first-fit"
    assert len(run.decisions) == len(steps) + 2 + sum("rest" in d.what for d in run.decisions)
    names = [line.technique.partition(":")[0] for line in run.receipts]
    assert names[:2] == ["data", "look"] and names[-2:] == ["start and imports", "total"]
    assert "test opened" in names and names.count("fit") == 1
    seconds = [line.cost.wall_seconds for line in run.receipts[:-1]]
    assert sum(seconds) == pytest.approx(run.receipts[-1].cost.wall_seconds, abs=0.3)
    for one in run.decisions:
        assert one.chosen and one.why


def test_the_test_split_was_opened_once_at_the_end(run: Run) -> None:
    (line,) = store.read_lines(run.path / store.OPENINGS)
    assert line["quality"] is not None
    assert not list((run.path / "steps").rglob(store.OPENINGS))
    assert "opened once" in (run.path / "bundle" / "README.md").read_text()


def test_limits_and_decisions_are_shown(run: Run) -> None:
    sheet = shoestring.receipt(run.path)
    assert sheet.limits.size_bytes == SMALL
    assert sheet.asked_seconds == BUDGET
    text = str(sheet)
    for words in ("Decisions", "network: ", "expected: ", "got: ", "ship: "):
        assert words in text
    card = (run.path / "bundle" / "README.md").read_text()
    assert f"at most {SMALL:,} bytes" in card and "decided, ship" in card


def test_the_plan_comes_before_anything_is_trained(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = shoestring.build(source, budget=BUDGET, max_size=SMALL, dry_run=True, threads=1)
    assert isinstance(plan, BuildPlan)
    assert next(step.name for step in plan.steps) == "first fit"
    assert plan.limits.size_bytes == SMALL
    whole = sum(step.seconds for step in plan.steps) + plan.spent_seconds + plan.reserved_seconds
    assert whole <= BUDGET + 1
    assert not list(tmp_path.iterdir())


def test_a_limit_that_no_network_can_keep_to(quick: Any, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the smallest network for these data"):
        built(source, tmp_path / "a", max_size=3_100)
    with pytest.raises(UserError, match="the fastest network for these data"):
        built(source, tmp_path / "a", max_latency=0.006)
    with pytest.raises(UserError, match=r"network that was asked for.*leave out --network"):
        built(source, tmp_path / "a", max_size=3_100, network="compact:width=8")
    with pytest.raises(UserError, match="quantize was asked to stay out"):
        built(source, tmp_path / "a", max_size=3_100, without=["quantize"])
    assert not (tmp_path / "a").exists()


def test_what_is_refused_before_any_data_are_read(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    for words, match in (
        ({"max_size": "1KB"}, "no bundle is that small"),
        ({"min_quality": 1.5}, "at most 1, which is perfect"),
        ({"budget": None}, "say how long"),
        ({"techniques": ["nothing"]}, "nothing"),
        ({"network": "giant"}, "giant"),
        ({"options": {"sizes": 3}}, "sizes"),
    ):
        with pytest.raises(UserError, match=match):
            built(source, out, **words)
    assert not out.exists()


def test_a_budget_too_small_for_an_epoch(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s are too few.*give --budget"):
        built(source, tmp_path / "a", budget=1.0)
    assert not (tmp_path / "a").exists()


def test_a_look_that_does_not_end_is_ended_with_the_budget(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "chosen", lambda *_: Event().wait(60.0))
    monkeypatch.setattr(building.Work, "_look_seconds", lambda self: 0.05)
    with pytest.raises(UserError, match=r"a first look took .* give --budget"):
        built(source, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_missed_quality_leaves_the_nearest_bundle(
    quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.write_npz(tmp_path / "few.npz", count=120)
    monkeypatch.setattr(planning, "FEWEST_SECONDS", 1e9)  # a single fit
    monkeypatch.setattr(pacing, "MAX_EPOCHS", 0.1)
    with pytest.raises(LimitsMissed, match="not reachable within this budget") as caught:
        built(source, tmp_path / "a", min_quality=1.0, seed=1)
    assert caught.value.exit_code == 7 and caught.value.folder == tmp_path / "a"
    assert shoestring.verify(tmp_path / "a")["ok"]


def test_one_that_is_stopped_goes_on(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, out = building.Work._do, tmp_path / "a"

    def stopped(self: building.Work, bench: Any, step: Any) -> None:
        work(self, bench, step)
        bench.interrupt.asked = True

    with monkeypatch.context() as patch:
        patch.setattr(building.Work, "_do", stopped)
        with pytest.raises(Interrupted, match="build --resume --out"):
            built(source, out)
    assert shoestring.load(out).manifest["task"] == "images"  # the fallback answers already
    with pytest.raises(RunError, match="unfinished build"):
        store.read(out)
    first = (out / "steps" / "1-first-fit" / store.RUN).read_bytes()
    begun = tmp_path / "b"
    shutil.copytree(out, begun)
    run = shoestring.build(resume=True, out=out)
    assert isinstance(run, Run)
    assert (out / "steps" / "1-first-fit" / store.RUN).read_bytes() == first
    with pytest.raises(RunError, match="nothing to resume"):
        shoestring.build(resume=True, out=out)
    shutil.rmtree(begun / "steps" / "1-first-fit")  # by somebody: it is done again
    run = shoestring.build(resume=True, out=begun)
    assert isinstance(run, Run) and shoestring.verify(run.path)["ok"]


def full(*_: object, **__: object) -> None:
    """What writing to a disk without room does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_can_be_gone_on_from(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shipping.shutil, "copyfile", full)
        with pytest.raises(RunError, match=r"disk is full.*build --resume --out"):
            built(source, tmp_path / "a", max_size=None)
    run = shoestring.build(resume=True, out=tmp_path / "a")
    assert isinstance(run, Run) and shoestring.verify(run.path)["ok"]


def test_a_disk_that_is_full_in_the_only_fit_is_told_too(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        own = SimpleNamespace(**{**vars(os), "fsync": full})  # of nobody else
        patch.setattr("shoestring.bundle.bundle.os", own)
        with pytest.raises(RunError, match=r"disk is full.*build --resume --out"):
            built(source, tmp_path / "a")
    run = shoestring.build(resume=True, out=tmp_path / "a")
    assert isinstance(run, Run) and shoestring.verify(run.path)["ok"]


def test_a_fit_that_goes_on_has_no_more_than_the_build_has_left(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = []

    def stopped(_: Run, __: object, clock: Budget, *___: object) -> Run:
        clocks.append(clock)
        raise Interrupted("stopped")

    monkeypatch.setattr(build_step.train, "fitted", stopped)
    with pytest.raises(Interrupted):
        built(source, tmp_path / "a")
    assert 0 < clocks[0].remaining() < BUDGET
    store.write_spent(tmp_path / "a", store.Spent(BUDGET - 10, BUDGET))
    with pytest.raises(Interrupted):
        shoestring.build(resume=True, out=tmp_path / "a")
    assert clocks[1].remaining() < 10


def test_the_seconds_of_a_killed_process_are_no_start(tmp_path: Path) -> None:
    record = Record(Recipe("images", "mnist"), Limits(), 40.0)
    work = building.Work(tmp_path, record, Budget(40.0, spent=30.0), Quiet())
    assert work._start_seconds < 1
    assert work.clock.remaining() < 11


def test_other_data_are_not_gone_on_with(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "bars.npz"
    shutil.copyfile(source, own)

    def stopped(self: building.Work, *_: object) -> None:
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(building.Work, "_do", stopped)
        with pytest.raises(Interrupted):
            built(own, tmp_path / "a")
    assert not (tmp_path / "a").exists()  # nothing had begun


def test_a_record_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no build that could go on"):
        shoestring.build(resume=True, out=tmp_path)
    (tmp_path / store.BUILD).write_text(json.dumps({"version": 99}))
    with pytest.raises(RunError, match="newer shoestring"):
        shoestring.build(resume=True, out=tmp_path)
    (tmp_path / store.BUILD).write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        shoestring.build(resume=True, out=tmp_path)


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        shoestring.build(budget=5)
    with pytest.raises((UserError, DataError)):
        shoestring.build(tmp_path / "nowhere", budget=60, out=tmp_path / "a")


def test_tiny_data_are_crossed(quick: Any, tmp_path: Path) -> None:
    run = built(tiny.write_npz(tmp_path / "few.npz", count=150), tmp_path / "a")
    line = next(one for one in run.receipts if one.technique == "cross-validation")
    assert line.after is not None and line.after.examples == 150
    assert line.after.interval is not None and line.gain is None
    (decision,) = (one for one in run.decisions if one.what == "cross-validation")
    assert "150 examples held out" in decision.got
    assert run.decisions[-1].chosen != "cross-validation"


def test_a_step_that_would_overrun_the_budget_is_given_up(
    quick: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = build_step.Bench._fitted

    def slow(self: build_step.Bench, record: Any, step: Any, folder: Path, seconds: float) -> Run:
        if step.name == "main fit":
            Event().wait(60.0)
        return fitted(self, record, step, folder, seconds)

    longest = building.Work._longest
    monkeypatch.setattr(planning, "SURE", 10**9)
    monkeypatch.setattr(build_step.Bench, "_fitted", slow)
    monkeypatch.setattr(
        building.Work,
        "_longest",
        lambda self, step: None if longest(self, step) is None else 0.05,
    )
    run = built(source, tmp_path / "a")
    assert run.decisions[-1].chosen == "first fit"
    (main,) = (one for one in run.decisions if one.what == "main fit")
    assert "would have overrun the budget" in main.got
    line = next(one for one in run.receipts if one.technique == "main fit")
    assert line.status == "failed"
