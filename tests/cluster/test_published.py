"""The plan against published trainings: the errors that bench/cluster.md states may not grow."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from shoestring.cluster.efficiency import CONSTANTS, FAMILIES


@pytest.fixture(scope="module")
def world(root: Path) -> ModuleType:
    """bench/plan_world.py, which stands beside the package and not in it."""
    bench = root / "bench"
    sys.path.insert(0, str(bench))
    try:
        spec = importlib.util.spec_from_file_location("plan_world", bench / "plan_world.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["plan_world"] = module  # its dataclasses ask for it
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(bench))
    return module


def test_rows_that_nothing_was_fitted_on_are_met(world: ModuleType, root: Path) -> None:
    rows = world.rows(root / "bench" / "plan_published.csv")
    judging = [row for row in rows if row.judges]
    assert len(rows) >= 40
    assert len(judging) >= 20
    speed, memory = world.errors(world.Model(FAMILIES, CONSTANTS), judging)
    assert len(memory) >= 10
    assert world.middle(speed) <= 0.10
    assert world.middle(memory) <= 0.10


def test_every_row_says_where_it_stands(world: ModuleType, root: Path) -> None:
    rows = world.rows(root / "bench" / "plan_published.csv")
    assert all((row.source and "/" in row.reference) or "arXiv" in row.reference for row in rows)
    assert len({row.source for row in rows}) >= 4
    assert {row.cluster.device.family for row in rows} == set(FAMILIES)


def test_a_search_goes_downhill(
    world: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = world.rows(root / "bench" / "plan_published.csv")[::9]
    monkeypatch.setattr(world, "TRIALS", 30)
    found = world.fitted(world.START, rows, 0)
    assert world.throughput_loss(found, rows) < world.throughput_loss(world.START, rows)
