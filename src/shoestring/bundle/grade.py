"""grade: scores of a bundle, in a process without torch: `python -m shoestring.bundle.grade JOB`.

The job is a JSON file; the last line on standard output is the Scores as one JSON object. Quality
is read with all the threads that the job allows, latency with one, and again on all cores. Latency
comes first, so that the peak of memory is that of a process which predicts and holds no data set.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from shoestring import __version__, plugins
from shoestring.bundle import bundle as bundles
from shoestring.core import machine
from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Examples, Outcomes, Progress, silent
from shoestring.core.receipt import Plain, Scores
from shoestring.core.run import Recipe

REPEATS = 200  # of each timed input at least, where the seconds allow
FEWEST, FEWEST_SLOW = 20, 3  # in any case, of what takes less than SLOW_SECONDS, and of the rest
SLOW_SECONDS = 0.02
_MOST_REPEATS = 5_000
ON_ALL = ("model", "batch")  # of what is timed, what is timed on all cores as well
ALL_SHARE = 0.3  # of the seconds


@dataclass(frozen=True)
class Job:
    """What is graded on what."""

    bundle: str
    recipe: Plain | None = None  # of the run; its data are loaded from the cache
    source: str | None = None  # or else: any labelled source
    split: Literal["validation", "test", "source"] = "validation"  # the first two: of the recipe
    options: Plain = field(default_factory=dict)  # the task's own, for a source
    outcomes: str | None = None  # where answers and truths of every example go (.npz)
    latency_seconds: float = 0.0  # to spend on timing at most; 0: none is measured
    threads: int | None = None  # for quality; None: all cores


def grade(job: Job, progress: Progress = silent) -> Scores:
    """Quality on the job's examples, bytes, and latency where it was asked for."""
    timed, peak = Scores(), None
    if job.latency_seconds > 0:
        timed = replace(timed, latency_ms=latency(bundles.find(job.bundle), job.latency_seconds))
        peak = _peak_bytes()
    opened = bundles.load(job.bundle, threads=job.threads)
    scores, outcomes = graded(opened, examples(job, opened, progress), progress)
    if job.outcomes is not None:
        write_outcomes(Path(job.outcomes), outcomes)
    return replace(scores, latency_ms=timed.latency_ms, peak_bytes=peak)


def examples(job: Job, opened: bundles.Bundle, progress: Progress) -> Examples:
    """What the job grades on, as the bundle's facts want it."""
    task = plugins.task(opened.manifest["task"])
    if job.split == "source":
        if job.source is None:
            raise UserError("a job for a source has to name it")
        return task.load_for(job.source, opened.manifest["facts"], job.options, progress)
    if job.recipe is None:
        raise UserError(f"a job for the {job.split} split needs the recipe that made it")
    dataset = task.load(from_plain(Recipe, job.recipe, "recipe"), progress)
    return dataset.validation if job.split == "validation" else dataset.test()


def graded(
    opened: bundles.Bundle, some: Examples, progress: Progress = silent
) -> tuple[Scores, Outcomes]:
    """Scores without latency, and the outcomes they were read from."""
    task, manifest = plugins.task(opened.manifest["task"]), opened.manifest
    outcomes = opened.predictor.outcomes(some, progress)
    size_bytes, model_bytes = bundles.sizes(opened.path, manifest)
    known = manifest.get("model") or {}
    scores = task.scores(outcomes, manifest["facts"])
    if some.findings:
        seen = [finding.message for finding in some.findings]
        scores = replace(scores, details={**scores.details, "findings": seen})
    scores = replace(
        scores,
        split=some.split,
        parameters=known.get("parameters"),
        macs=known.get("macs"),
        size_bytes=size_bytes,
        model_bytes=model_bytes,
        signature=signature(opened, some, scores.signature),
    )
    return scores, outcomes


def latency(folder: Path, seconds: float) -> Plain:
    """{name: {"median", "p95", "repeats"}} in milliseconds: one thread, one input at a time or a
    batch; what is in `ON_ALL` again on all cores, where there are more, with "threads"."""
    cores = machine.cores()
    timed = bundles.load(folder, threads=1).predictor.latency_inputs()
    again = [name for name in ON_ALL if name in timed and cores > 1]
    alone = seconds * (1 - ALL_SHARE) if again else seconds
    found = {name: _timed(work, alone / len(timed)) for name, work in timed.items()}
    if again:
        timed = bundles.load(folder, threads=cores).predictor.latency_inputs()
    for name in again:
        line = _timed(timed[name], seconds * ALL_SHARE / len(again))
        found[f"{name} on all cores"] = {**line, "threads": cores}
    return found


def _peak_bytes() -> int | None:
    """The most memory that this process has held so far; None where that is not told. What
    `getrusage` tells on Linux may be that of the process which started this one."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("VmHWM:")]  # VmHWM: 51200 kB
    return 1024 * int(found[0][1]) if found else None


def _timed(work: Callable[[], object], seconds: float) -> Plain:
    """At least `REPEATS` where they fit in the seconds, after a warm-up of a tenth of them."""
    clock, end = time.perf_counter, time.perf_counter() + seconds
    warm, taken = clock() + seconds / 10, list[float]()
    for _ in range(REPEATS):
        work()
        if clock() > warm:
            break
    while len(taken) < _MOST_REPEATS and (clock() < end or len(taken) < _fewest(taken)):
        started = clock()
        work()
        taken.append(clock() - started)
    taken.sort()
    return {
        "median": round(taken[len(taken) // 2] * 1e3, 6),
        "p95": round(taken[int(len(taken) * 0.95)] * 1e3, 6),
        "repeats": len(taken),
    }


def _fewest(taken: Sequence[float]) -> int:
    """The repeats that there are to be whatever they take."""
    return FEWEST_SLOW if taken and min(taken) > SLOW_SECONDS else FEWEST


def signature(opened: bundles.Bundle, some: Examples, own: str) -> str:
    """What is needed to reproduce the figures; `own` is what the task says of its metric."""
    import onnxruntime

    data = opened.manifest.get("data") or {}
    parts = {
        "split": some.split,
        "examples": len(some),
        "trained_on": str(data.get("fingerprint", ""))[:16],
        "latency": "1 thread",
        "shoestring": __version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.machine(),
    }
    words = [f"{name}:{value}" for name, value in parts.items() if value != ""]
    return "|".join([own, *words] if own else words)


def write_outcomes(path: Path, outcomes: Outcomes) -> None:
    """An .npz at `path`, all of it or nothing."""
    import numpy as np

    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(part, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **dict(outcomes))
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def read_outcomes(path: Path) -> dict[str, Any]:
    """The arrays of an outcomes file. Nothing is unpickled."""
    import zipfile
    import zlib

    import numpy as np

    broken = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except broken as error:
        raise UserError(f"the outcomes {path} cannot be read: {error}") from error


def main(arguments: Sequence[str]) -> int:
    try:
        plain = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        scores = grade(from_plain(Job, plain, "job"))
    except UserError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(to_plain(scores)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
