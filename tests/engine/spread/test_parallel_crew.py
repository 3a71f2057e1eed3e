"""Whoever starts the processes of a fit waits for their work, and not for their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoestring.core.layout import Layout
from shoestring.core.listener import Quiet
from shoestring.core.run import Recipe, Run
from shoestring.engine.spread import parallel_crew
from shoestring.engine.spread.parallel_job import Job

LINGERS = """
import sys
print('["ended", 0]', flush=True)
sys.stdin.read()  # as a process that takes its time to be taken down
"""


def test_a_process_with_nothing_left_to_do_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lingering_worker.py").write_text(LINGERS)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(parallel_crew, "WORKER", "lingering_worker")
    job = Job(Run(tmp_path, "images", Recipe("images", "photos")), Layout(data=2), None, 0.0)
    crew = parallel_crew.Crew(job, Quiet(), lambda: False)
    assert crew.work() == tmp_path / ".workers"
    assert all(worker.code is not None for worker in crew._workers)
