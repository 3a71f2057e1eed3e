"""measure: scores read off a bundle, in a process without torch, and every opening written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shoestring
from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import grade
from shoestring.bundle.manifest import headline
from shoestring.core.budget import Allowance
from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Progress, silent
from shoestring.core.receipt import Scores
from shoestring.core.run import Recipe
from shoestring.engine import store

_LONGEST_SECONDS = 3600.0  # for a grade whose allowance says nothing


def measure(
    bundle: str | os.PathLike[str],
    recipe: Recipe,
    outcomes: Path | None = None,
    *,
    latency_seconds: float = 1.0,
    threads: int | None = None,
    allowance: Allowance | None = None,
) -> Scores:
    """Grades a bundle on the validation split of its recipe in a process of its own, which loads
    no torch, and records the scores in the bundle's manifest and card. `outcomes` is where the
    answer to every example goes. UserError where the process fails or takes far too long."""
    folder = bundles.find(bundle)
    job = grade.Job(
        bundle=str(folder.resolve()),
        recipe=to_plain(recipe),
        outcomes=None if outcomes is None else str(outcomes.resolve()),
        latency_seconds=latency_seconds,
        threads=threads,
    )
    return bundles.record_scores(folder, run_job(job, _timeout(allowance)))


def run_job(job: grade.Job, timeout_seconds: float) -> Scores:
    """Runs a job in a fresh interpreter that sees this very shoestring, wherever it is installed,
    and not the files of the current folder."""
    home = str(Path(shoestring.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    if job.threads is not None:
        environment |= {"OMP_NUM_THREADS": str(job.threads)}
    with tempfile.TemporaryDirectory(prefix="shoestring-grade-") as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(to_plain(job)), encoding="utf-8")
        words = [sys.executable, "-P", "-m", "shoestring.bundle.grade", str(file)]
        try:
            done = subprocess.run(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"measuring {job.bundle} took more than {timeout_seconds:.0f} s and was stopped"
            ) from error
    return _read(done.stdout, done.stderr, done.returncode, job.bundle)


def _read(output: str, errors: str, code: int, bundle: str) -> Scores:
    try:
        plain = json.loads((output.splitlines() or [""])[-1])
    except ValueError:
        plain = None
    if code == 0 and isinstance(plain, dict):
        return from_plain(Scores, plain, "scores")
    if isinstance(plain, dict) and "error" in plain:
        raise UserError(f"measuring {bundle} failed: {plain['error']}")
    last = (errors.strip().splitlines() or ["it said nothing"])[-1]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    raise UserError(f"measuring {bundle} failed: its process {how}; last words: {last}")


def evaluate(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    *,
    latency_seconds: float = 0.0,
    progress: Progress = silent,
) -> Scores:
    """Scores of a bundle (or of a run's) on any labelled source: a folder, a file, `mnist:test`.
    `options` are the task's own; those of the run's recipe hold where nothing else is said.

    Where the source is a test split, the opening is written down in `openings.jsonl` of the run,
    or beside the bundle's files; `details["opening"]` says where, or why it could not be.
    """
    folder = bundles.find(path)
    opened = bundles.load(folder)
    task = plugins.task(opened.manifest["task"])
    recipe = _recipe(Path(path))
    if recipe is not None and not options and os.fspath(source) == f"{recipe.source}:test":
        # Its own test split, which may have been set aside by the run itself.
        job = grade.Job(str(folder), recipe=to_plain(recipe), source=f"{source}", split="test")
    else:
        given = {**(recipe.options if recipe is not None else {}), **(options or {})}
        full = to_plain(plugins.options_from(task.options, given, task.name))
        job = grade.Job(str(folder), source=os.fspath(source), split="source", options=full)
    examples = grade.examples(job, opened, progress)
    scores, _ = grade.graded(opened, examples, progress)
    if latency_seconds > 0:
        scores = replace(scores, latency_ms=grade.latency(folder, latency_seconds))
    if examples.split != "test":
        return scores
    note = record_opening(Path(path), job.source or "", scores)
    if not note.startswith("recorded"):
        progress(note, 0, 0)
    return replace(scores, details={**scores.details, "opening": note})


def record_opening(folder: Path, source: str, scores: Scores) -> str:
    """Appends a line to `openings.jsonl` in the folder of a run or a bundle. Returns a sentence
    that says where, or why it could not be done: a read-only bundle can still be evaluated."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        **headline(replace(scores, size_bytes=None, model_bytes=None)),
    }
    file = folder / store.OPENINGS
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(file, "ab", opener=lambda name, _: os.open(name, flags, 0o666)) as appended:
            appended.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        return f"the opening of the test split could not be recorded in {file}: {error.strerror}"
    return f"recorded in {file}"


def _recipe(folder: Path) -> Recipe | None:
    """The recipe in a run's folder; None in a bundle's."""
    if not (folder / store.RECIPE).is_file():
        return None
    return from_plain(Recipe, store.read_recipe(folder), str(folder / store.RECIPE))


def _timeout(allowance: Allowance | None) -> float:
    """Generous: the process is there to end, and to be stopped only where it hangs."""
    if allowance is None or allowance.seconds is None:
        return _LONGEST_SECONDS
    return 60.0 + 4 * allowance.seconds
