"""_shipped: what bundles answer to a test split, and how fast they are beside each other.

    python bench/_shipped.py 64 7 runs/a/bundle runs/b/bundle    # pictures a batch, rounds

The timing runs in a process of its own, on one thread and without torch: batches of random pixels
through the graphs, in turns. The last line printed is a JSON list: for each bundle its seconds of
each round.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from _figures import child

if TYPE_CHECKING:
    from shoestring.core.run import Run

Outcomes = Mapping[str, np.ndarray[Any, Any]]

GRADE_SECONDS = 3600.0
CALLS = 7  # of a bundle in a round, of which the median counts
WARM_CALLS = 3


def answers(run: Run) -> Outcomes:
    """What the bundle of a run answers to the test split, opened once and written down."""
    from shoestring.bundle import grade
    from shoestring.core.plain import to_plain
    from shoestring.engine import measure, store

    outcomes = run.path / "test.npz"
    opening = measure.begin_opening(run.path, run.recipe.source)
    job = grade.Job(
        str((run.path / store.BUNDLE).resolve()),
        recipe=to_plain(run.recipe),
        split="test",
        outcomes=str(outcomes.resolve()),
    )
    opening.complete(measure.run_job(job, GRADE_SECONDS))
    found = grade.read_outcomes(outcomes)
    outcomes.unlink()  # it is no part of a run
    return found


def pooled(parts: Sequence[Outcomes]) -> dict[str, np.ndarray[Any, Any]]:
    """The answers of several folds as those of one split."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batch_seconds(bundles: Sequence[Path], batch: int, rounds: int) -> list[list[float]]:
    """Seconds of a batch, for each bundle and round."""
    words = [sys.executable, Path(__file__).resolve(), str(batch), str(rounds), *bundles]
    found: list[list[float]] = child(words, "timing bundles", OMP_NUM_THREADS="1").found
    return found


def graph_bytes(run: Run) -> int:
    """Of the graphs and what they share."""
    from shoestring.engine import store

    files = (run.path / store.BUNDLE).iterdir()
    return sum(path.stat().st_size for path in files if path.suffix in (".onnx", ".bin"))


def _timed(bundles: Sequence[Path], batch: int, rounds: int) -> list[list[float]]:
    from shoestring.bundle.session import open_graph

    sessions = [open_graph((p / "model.onnx").read_bytes(), p.name, threads=1) for p in bundles]
    draws = np.random.default_rng(0)
    feeds = []
    for path, session in zip(bundles, sessions, strict=True):
        facts = json.loads((path / "bundle.json").read_text(encoding="utf-8"))["facts"]
        shape = [batch, *facts["size"], facts["channels"]]
        feeds.append({session.get_inputs()[0].name: draws.integers(0, 256, shape, np.uint8)})
    found: list[list[float]] = [[] for _ in sessions]
    for number in range(rounds + 1):
        order = range(len(sessions)) if number % 2 else range(len(sessions) - 1, -1, -1)
        for place in order:
            calls = []
            for _ in range(CALLS if number else WARM_CALLS):
                began = time.perf_counter()
                sessions[place].run(None, feeds[place])
                calls.append(time.perf_counter() - began)
            if number:
                found[place].append(median(calls))
    return found


if __name__ == "__main__":
    print(json.dumps(_timed([Path(w) for w in sys.argv[3:]], int(sys.argv[1]), int(sys.argv[2]))))
