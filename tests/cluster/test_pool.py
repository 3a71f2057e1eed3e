"""pool: jobs on Ray: trials, members and cells; what they make room for, and nodes that are lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import shoestring
from shoestring.cluster.pool import RayPool
from shoestring.cluster.session import Session
from shoestring.core import jobs
from shoestring.core.errors import Interrupted
from shoestring.core.jobs import Done, Job, Site
from shoestring.engine import here, store
from tests.cluster.conftest import Ring

SHORT = {"network": "compact:width=4", "batch_size": 16, "precision": "float32", "threads": 1}
PATIENCE = 120.0


def until(pool: jobs.Pool, count: int) -> list[Done]:
    found: list[Done] = []
    end = time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < end:
        found += pool.results()
    return found


def test_trials_cells_and_members_are_done_on_the_cluster(
    session: Session, source: Path, tmp_path: Path
) -> None:
    with jobs.at(RayPool(session)):
        run = shoestring.train(
            source, out=tmp_path / "a", steps=30, techniques=["tune:trials=4"], **SHORT
        )
        both = shoestring.apply("ensemble:members=2", run.path, out=tmp_path / "b")
        found = shoestring.ablate(
            source, techniques=["average"], seeds=1, steps=12, out=tmp_path / "c", **SHORT
        )
    trials = store.read_trials(run.path)
    assert trials is not None
    assert [line.number for line in trials.lines] == list(range(4))
    assert {line.ending for line in trials.lines} <= {"finished", "stopped early"}
    assert both.scores is not None
    assert not list((tmp_path / "b").glob(".member*"))
    assert found is not None
