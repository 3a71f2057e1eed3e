"""pool: jobs on Ray: trials, members and cells; what they make room for, and what is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import shoestring
from shoestring.cluster.pool import RayPool
from shoestring.cluster.session import Session
from shoestring.core import jobs
from shoestring.core.jobs import Done, Job
from shoestring.core.plain import to_plain
from shoestring.engine import fits, store
from shoestring.engine.fits import Length, Rung
from shoestring.engine.here import Here
from tests import tiny
from tests.cluster.conftest import Ring, eventually, process_of

SHORT = {"network": "compact:width=4", "threads": 1}
LONG = 800  # steps of a fit that is still at work when something happens to it
PATIENCE = 120.0


def until(pool: jobs.Pool, count: int) -> list[Done]:
    found: list[Done] = []
    end = time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < end:
        found += pool.results()
    return found


def rung(source: Path, folder: Path, name: str, steps: int, *, urgent: bool = False) -> Job:
    run, _ = tiny.prepared(folder / name, source, network={"kind": "compact", "width": 4})
    run = replace(run, path=Path(), recipe=replace(run.recipe, fingerprint=_fingerprint(source)))
    values = to_plain(Rung(run, 9, Length(steps=steps), steps, looks=3))
    return Job(name, fits.RUNG, values, urgent=urgent)


def _fingerprint(source: Path) -> str:
    from shoestring import plugins

    recipe = tiny.recipe(source)
    return plugins.task(recipe.task).load(recipe, tiny.Quiet().stage).fingerprint


def names(found: Sequence[Done]) -> list[str]:
    return [done.job.name for done in found]


def test_members_and_cells_are_done_on_the_cluster(
    session: Session, source: Path, tmp_path: Path
) -> None:
    """Trials are in test_session.py."""
    run = shoestring.train(source, out=tmp_path / "a", steps=6, **SHORT)
    with jobs.at(RayPool(session)):
        both = shoestring.apply("ensemble:members=2", run.path, out=tmp_path / "b")
        found = shoestring.ablate(
            source, techniques=["average"], seeds=1, steps=6, out=tmp_path / "c", **SHORT
        )
    assert both.scores is not None
    assert not list((tmp_path / "b").glob(".member*"))
    assert len(list((tmp_path / "c").rglob(store.RUN))) == 2
    assert found.seeds == 1


def test_the_pool_of_this_process_gives_the_same_as_the_cluster(
    session: Session, source: Path, tmp_path: Path
) -> None:
    job = rung(source, tmp_path, "same", 12)
    far, near = RayPool(session), Here(tmp_path)
    far.submit(job)
    near.submit(job)
    (there,), (this,) = until(far, 1), until(near, 1)
    assert there.where
    assert there.values == this.values
    assert there.files[store.WEIGHTS] == this.files[store.WEIGHTS]


def test_a_job_whose_worker_is_killed_is_done_again(
    session: Session, source: Path, tmp_path: Path
) -> None:
    pool = RayPool(session)
    pool.submit(rung(source, tmp_path, "killed", 400))
    os.kill(eventually(lambda: process_of("killed")), signal.SIGKILL)
    (done,) = until(pool, 1)
    assert not done.error
    assert done.values["steps"] == 400


def test_a_job_makes_room_for_an_urgent_one_and_goes_on_from_its_checkpoint(
    session: Session, source: Path, tmp_path: Path
) -> None:
    pool = RayPool(session)
    for number in range(session.size()):
        pool.submit(rung(source, tmp_path, f"patient{number}", LONG))
    assert pool.room() == 0
    eventually(lambda: process_of("patient0"))
    time.sleep(1)  # into the fit: it is to have something to go on from
    pool.submit(rung(source, tmp_path, "urgent", 10, urgent=True))
    found = until(pool, 1 + session.size())
    assert names(found)[0] == "urgent"
    assert not [done.error for done in found if done.error]
    assert {done.values["steps"] for done in found[1:]} == {LONG}
    alone = Here(tmp_path)
    alone.submit(rung(source, tmp_path, "patient0", LONG))
    (never_stopped,) = until(alone, 1)
    stopped = next(done for done in found if done.job.name == "patient0")
    assert stopped.files[store.WEIGHTS] == never_stopped.files[store.WEIGHTS]


def test_what_a_job_cannot_do_is_told(session: Session, source: Path, tmp_path: Path) -> None:
    pool = RayPool(session)
    job = rung(source, tmp_path, "elsewhere", 4)
    run = job.values["run"]
    run = {**run, "recipe": {**run["recipe"], "source": "/nowhere", "fingerprint": "other"}}
    pool.submit(replace(job, values={**job.values, "run": run}))
    (done,) = until(pool, 1)
    assert "/nowhere" in done.error


@pytest.mark.slow
def test_a_trial_whose_node_is_killed_is_done_elsewhere(
    ring: Ring, session: Session, source: Path, tmp_path: Path
) -> None:
    pool = RayPool(session)
    node = ring.add(cpus=1)
    pool.submit(rung(source, tmp_path, "one", LONG))
    pool.submit(rung(source, tmp_path, "two", LONG))
    eventually(lambda: process_of("one") and process_of("two"))
    ring.kill(node)
    found = until(pool, 2)
    assert sorted(names(found)) == ["one", "two"]
    assert not [done.error for done in found if done.error]
