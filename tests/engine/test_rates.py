"""rates: what was measured before a fit is not measured again, where it still holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.budget import Budget
from shoestring.core.listener import Quiet
from shoestring.engine import pacing, rates, store
from shoestring.engine.loop import Feeds
from shoestring.engine.placement import Local
from shoestring.engine.rates import Rates
from tests import tiny


def test_a_plan_is_made_from_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", count=150)
    run, dataset = tiny.prepared(tmp_path / "run", source)
    run = run.with_recipe(steps=None, epochs=None, precision="float32", threads=1)
    place = Local("cpu")
    feeds = Feeds.of(run, dataset, place)

    def planned() -> float:
        found, looks = pacing.planned(run, feeds, Budget(60.0), place, Quiet())
        assert looks.seconds > 0
        return found.recipe.plan[0].total_steps

    measured = Rates("float32", 1, run.recipe.batch_size or 0, 5.0, 0.5, 4.0)
    with monkeypatch.context() as patch:
        patch.setattr(pacing, "fastest", lambda *_: pytest.fail("it was measured again"))
        rates.write(run.path, measured)
        assert planned() == 10
    assert store.RATES not in store.kept(run.path)
    rates.write(run.path, Rates("float32", 1, 1, 5.0, 0.5, 4.0))  # of other batches
    assert planned() > 20
    (run.path / store.RATES).write_text("{")
    assert planned() > 20


def test_beside_other_work_one_thread_is_tried_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", count=150)
    run, dataset = tiny.prepared(tmp_path / "run", source)
    run, place = run.with_recipe(precision="float32", threads=None), Local("cpu")
    feeds = Feeds.of(run, dataset, place)
    monkeypatch.setattr(pacing, "default_threads", lambda: 2)
    monkeypatch.setattr(pacing, "seconds_a_step", lambda loop, budget: 1.0)
    tried = list[int]()
    monkeypatch.setattr(pacing.torch, "set_num_threads", tried.append)
    for load, first in ((0.5, 2), (9.0, 1)):
        tried.clear()
        monkeypatch.setattr(pacing.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        pacing.fastest(run, feeds, Budget(60.0), place)
        assert tried[0] == first
    monkeypatch.setattr(pacing, "TRIALS_SHARE", -1.0)  # that took too long
    tried.clear()
    assert pacing.fastest(run, feeds, Budget(60.0), place).threads == 1
    assert set(tried) == {1}
