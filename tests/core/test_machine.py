"""machine: the cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_a_system_that_does_not_bind_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1
