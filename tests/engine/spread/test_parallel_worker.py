"""A process that is alone in its group does what a fit by one process does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from shoestring.core.errors import Interrupted, RunError
from shoestring.core.layout import Layout
from shoestring.core.run import Run
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.spread import parallel_worker
from shoestring.engine.spread.parallel import Parallel, _bucketed, _packed, _unpacked
from shoestring.engine.spread.parallel_job import Job
from tests import tiny


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process, this one."""
    parallel_worker.begin(HashStore(), 0, 1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    source = tiny.write_npz(tmp_path / "bars.npz")
    hooks = ("average:every=1",)
    prepared, _ = tiny.prepared(tmp_path / "run", source, hooks=hooks, clip=1.0, budget_seconds=20)
    return prepared


def test_it_makes_the_weights_of_a_fit_by_one(alone: None, run: Run, tmp_path: Path) -> None:
    dataset = parallel_worker.loaded(run.with_recipe(fingerprint=fingerprint(run)))
    job = Job(run, Layout(), 20.0, 0.0)
    fitted, weights = parallel_worker.work(job, dataset, tiny.Quiet(), Interrupt())
    _, own = tiny.fitted(run.with_recipe(plan=fitted.run.recipe.plan), dataset)
    assert fitted.cost.steps == fitted.run.recipe.total_steps
    for name, weight in own.items():
        torch.testing.assert_close(weights[name], weight)


def test_a_wish_to_stop_is_heard(alone: None, run: Run) -> None:
    dataset = parallel_worker.loaded(run.with_recipe(fingerprint=fingerprint(run)))
    interrupt = Interrupt()
    interrupt.ask()
    with pytest.raises(Interrupted, match="stopped at step 1 of 12"):
        parallel_worker.work(Job(run, Layout(), None, 0.0), dataset, tiny.Quiet(), interrupt)


def test_data_that_changed_are_refused(run: Run) -> None:
    with pytest.raises(RunError, match="changed since the run began"):
        parallel_worker.loaded(run.with_recipe(fingerprint="other"))


def test_what_is_told_is_plain(alone: None) -> None:
    place = Parallel(Layout(), "cpu")
    assert place.told({"a": [1, 2.5, None, "b"]}) == {"a": [1, 2.5, None, "b"]}
    assert place.agree(True)
    assert not place.agree(False)
    assert place.whole({"w": torch.ones(2)})["w"].tolist() == [1, 1]


def test_buckets_are_of_one_precision() -> None:
    tensors = [torch.zeros(4), torch.zeros(4, dtype=torch.float64), torch.zeros(2)]
    assert [[len(t) for t in bucket] for bucket in _bucketed(tensors)] == [[4, 2], [4]]


def test_counts_travel_exactly_in_float32() -> None:
    counts = torch.tensor([2.0**24 + 1, 7.0], dtype=torch.float64)
    assert torch.equal(_unpacked(_packed(counts, torch.float32)), counts)


def fingerprint(run: Run) -> str:
    from shoestring import plugins
    from shoestring.core.protocols import silent

    return plugins.task(run.task).load(run.recipe, silent).fingerprint
