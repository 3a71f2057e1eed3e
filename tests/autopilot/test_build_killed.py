"""build, killed: a real process is killed in each phase, and what is finished is found again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import shoestring
from shoestring.engine import store
from tests import tiny

# Fits of two epochs, and the same steps however slow the machine is.
SCRIPT = """
import sys
from shoestring.autopilot import planning
from shoestring.engine import pacing
pacing.MAX_EPOCHS = 2.0
pacing.TRIAL_SECONDS = 0.05
planning.MOST_FALLBACK = 1.0
from shoestring.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
PATIENCE_SECONDS = 120.0


FALLBACK = ("1-first-fit", "2-quantize-the-first-fit")
BIG, SMALL = 1_200, 300  # pictures: of the small set the folds are crossed too


def test_a_build_goes_on_after_a_kill_in_a_fit_and_in_its_last_move(tmp_path: Path) -> None:
    phases = (*FALLBACK, "3-main-fit", "4-quantize")
    goes_on(tmp_path, BIG, phases, phases[2:3])


@pytest.mark.slow
def test_a_build_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    phases = (*FALLBACK, "3-cross-validation", "4-main-fit", "5-quantize")
    goes_on(tmp_path, SMALL, phases, phases)


def goes_on(
    tmp_path: Path, count: int, phases: tuple[str, ...], killed_in: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    source = tiny.write_npz(tmp_path / "bars.npz", count=count)
    words = ["build", str(source), "--out", str(out), "--budget", "30m", "--threads", "1"]
    words += ["--max-size", "13KB", "--without", "ensemble", "--quiet"]
    words += ["--without", "distill"]
    again = ["build", "--resume", "--out", str(out), "--quiet"]
    spent = 0.0
    if len(killed_in) == len(phases):
        spent, words = killed(words, out, (out / store.BUILD).exists), again
    for phase in killed_in:
        folder = out / "steps" / phase

        def begun(folder: Path = folder) -> bool:
            return folder.is_dir() and any(folder.iterdir())

        before = finished(out)
        now = killed(words, out, begun)
        assert now >= spent  # what was used counts, and what lay between does not
        spent, words = now, again
        for path, written in before.items():
            assert path.stat().st_mtime_ns == written  # found again, not done again
    killed(again, out, (out / store.WEIGHTS).exists)  # on its way into the build's folder
    subprocess.run([sys.executable, "-c", SCRIPT, *again], check=True, timeout=PATIENCE_SECONDS)
    run = store.read(out)
    assert shoestring.verify(out)["ok"]
    used = run.receipts[-1].options["used_seconds"]
    assert used >= spent
    names = [path.name for path in sorted((out / "steps").iterdir())]
    assert names == list(phases)
    assert not (out / store.BUILD).exists()


def killed(words: list[str], out: Path, begun: Callable[[], bool]) -> float:
    """The seconds that are noted as used, once a process was killed where `begun` came true."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *words], env=dict(os.environ))
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and not begun() and time.monotonic() < end:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((out / store.BUILD).read_text())["version"] == 1
    return store.read_spent(out).seconds


def finished(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out / "steps").glob(f"*/{store.RUN}")}
