"""machine: the cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoestring.core import machine

COUNT = "from shoestring.core.machine import cores; print(cores())"
bound = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="binds a process to a core")


@bound
def test_a_process_bound_to_one_core_counts_one() -> None:
    one = min(os.sched_getaffinity(0))
    words = f"import os; os.sched_setaffinity(0, {{{one}}}); {COUNT}"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("900000 100000\n", 6),
        ("max 100000\n", 6),
        ("", 6),
        ("200000 0\n", 6),
        ("what else\n", 6),
    ],
)
def test_a_container_counts_its_share_of_time(
    written: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(written)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert machine.cores() == count


def test_a_system_that_does_not_bind_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "_QUOTA", Path("nowhere"))
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1
