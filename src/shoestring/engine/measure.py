"""measure: scores read off a bundle, in a process without torch, and every opening written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import grade
from shoestring.bundle.manifest import headline
from shoestring.core.budget import Allowance
from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Examples, Outcomes, Progress, silent
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe
from shoestring.data.names import split_of
from shoestring.engine import offspring, store

_LONGEST_SECONDS = 3600.0  # for a grade whose allowance says nothing
_ROOM_BYTES = 2048  # for the scores, in the line of an opening that was begun


def measure(
    bundle: str | os.PathLike[str],
    recipe: Recipe,
    outcomes: Path | None = None,
    *,
    findings: Sequence[Finding] = (),
    latency_seconds: float = 1.0,
    threads: int | None = None,
    allowance: Allowance | None = None,
) -> Scores:
    """Grades a bundle on the validation split of its recipe in a process of its own, which loads
    no torch, and records the scores in the bundle's manifest and card, this with `findings`, what
    was seen in the data. `outcomes` is where the answer to every example goes. UserError where the
    process fails or takes far too long."""
    folder = bundles.find(bundle)
    job = grade.Job(
        bundle=str(folder.resolve()),
        recipe=to_plain(recipe),
        outcomes=None if outcomes is None else str(outcomes.resolve()),
        latency_seconds=latency_seconds,
        threads=threads,
    )
    scores = run_job(job, _timeout(allowance))
    return bundles.record_scores(folder, scores, recipe, findings)


def run_job(job: grade.Job, timeout_seconds: float) -> Scores:
    """Runs a job in a fresh interpreter that sees this very shoestring, wherever it is installed,
    and not the files of the current folder. The process is in a session of its own: a Ctrl-C is
    for this one, which ends that one and passes the interrupt on."""
    environment = offspring.environment(job.threads)
    with tempfile.TemporaryDirectory(prefix="shoestring-grade-") as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(to_plain(job)), encoding="utf-8")
        words = [sys.executable, "-P", "-m", "shoestring.bundle.grade", str(file)]
        process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Windows has none, and ignores it
        )
        with process:
            try:
                output, errors = process.communicate(timeout=timeout_seconds)
            except subprocess.TimeoutExpired as error:
                raise UserError(
                    f"measuring {job.bundle} took more than {timeout_seconds:.0f} s and was stopped"
                ) from error
            finally:
                _stop(process)
    return _read(output, errors, process.returncode, job.bundle)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a process that still runs, and those that it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)  # not yet waited for, so the group is there
    else:
        process.kill()
    process.wait()


def _read(output: str, errors: str, code: int, bundle: str) -> Scores:
    try:
        plain = json.loads((output.splitlines() or [""])[-1])
    except ValueError:
        plain = None
    if code == 0 and isinstance(plain, dict):
        return from_plain(Scores, plain, "scores")
    if isinstance(plain, dict) and "error" in plain:
        raise UserError(f"measuring {bundle} failed: {plain['error']}")
    last = (errors.strip().splitlines() or [offspring.SILENT])[-1]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    raise UserError(f"measuring {bundle} failed: its process {how}; last words: {last}")


def evaluate(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    *,
    latency_seconds: float = 0.0,
    shift: bool = False,
    progress: Progress = silent,
) -> Scores:
    """Scores of a bundle (or of a run's) on any labelled source: a folder, a file, `mnist:test`.
    `options` are the task's own; those of the run's recipe hold where nothing else is said. With
    `shift`, `details["shift"]` says how quality falls when the inputs are corrupted.

    Where the examples are a test split, or hold some of the run's own, the opening is written down
    in `openings.jsonl` of the run, or beside the bundle's files, before the first is answered;
    `details["opening"]` says where, or why it could not be.
    """
    found = answered(path, source, options, progress)
    scores = found.scores
    if shift:
        from shoestring.engine import shift as shifts  # numpy, only where it is asked for

        task = plugins.task(found.opened.manifest["task"])
        corrupted = shifts.shifted(found.opened, found.examples, progress=progress)
        scores = shifts.added(scores, corrupted, found.outcomes, task)
    if latency_seconds > 0:
        latency = grade.latency(found.opened.path, latency_seconds)
        scores = replace(scores, latency_ms=latency)
    if found.opening is None:
        return scores
    note = found.opening.complete(scores)
    return replace(scores, details={**scores.details, "opening": note})


@dataclass(frozen=True)
class Answered:
    """What a bundle answered to labelled examples."""

    opened: bundles.Bundle
    examples: Examples
    scores: Scores
    outcomes: Outcomes
    opening: Opening | None  # of a test split; whoever asked completes it


def answered(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Answered:
    """A bundle's (or a run's) answers to a source; an opening of a test split is begun first."""
    folder = bundles.find(path)
    opened = bundles.load(folder)
    task = plugins.task(opened.manifest["task"])
    home = _home(Path(path), folder)
    recipe = _recipe(home)
    if recipe is not None and not options and os.fspath(source) == f"{recipe.source}:test":
        # Its own test split, which may have been set aside by the run itself.
        job = grade.Job(str(folder), recipe=to_plain(recipe), source=f"{source}", split="test")
    else:
        given = {**(recipe.options if recipe is not None else {}), **(options or {})}
        full = to_plain(plugins.options_from(task.options, given, task.name))
        job = grade.Job(str(folder), source=os.fspath(source), split="source", options=full)
    examples = grade.examples(job, opened, progress)
    opening = None
    if _opens_test(job.source or "", examples, recipe):
        opening = begin_opening(home, job.source or "")
        if opening.failure:
            progress(opening.note, 0, 0)
    scores, outcomes = grade.graded(opened, examples, progress)
    return Answered(opened, examples, scores, outcomes, opening)


def _home(path: Path, bundle: Path) -> Path:
    """Where the openings of what a person named are kept: the run's folder, also where they named
    the bundle in it; else the bundle's."""
    absolute = Path(os.path.abspath(bundle))
    if path == bundle and absolute.name == store.BUNDLE and (absolute.parent / store.RUN).is_file():
        return absolute.parent
    return path


def _opens_test(source: str, examples: Examples, recipe: Recipe | None) -> bool:
    """Whether answering these examples looks at a test split: it is one, its source is called
    one (`photos/test`, `test.csv`), or examples of the run's own are among them."""
    path = Path(source).expanduser()
    names = (path.name, path.stem, Path(os.path.realpath(path)).name, source.rpartition(":")[2])
    if examples.split == "test" or any(split_of(name) == "test" for name in names):
        return True
    return recipe is not None and _touches(source, recipe) and _holds_own_test(examples, recipe)


def _touches(source: str, recipe: Recipe) -> bool:
    """Whether a source is the recipe's own, a split of it, lies inside it or around it."""
    name, _, split = source.rpartition(":")
    source = name if name and split_of(split) and not os.path.exists(source) else source
    if source == recipe.source:
        return True
    one, other = (Path(os.path.realpath(Path(s).expanduser())) for s in (source, recipe.source))
    return one == other or one in other.parents or other in one.parents


def _holds_own_test(examples: Examples, recipe: Recipe) -> bool:
    """Whether examples of the test split that the recipe makes of its source are among these.
    Where that cannot be found out they count as being so: the evaluation goes on either way."""
    import numpy as np

    try:
        dataset = plugins.task(recipe.task).load(recipe, silent)
    except (UserError, OSError):
        return True
    try:
        own = dataset.test().hashes
    except UserError:  # there is no test split
        return False
    return bool(np.isin(examples.hashes, own).any())


@dataclass(frozen=True)
class Opening:
    """A test split that is being looked at: a line in a file, complete but for the scores."""

    file: Path
    line: Plain
    written: bytes = b""  # the line as it stands there, blanks behind it
    at_byte: int = 0
    failure: str = ""  # why it could not be written

    @property
    def note(self) -> str:
        """Where the opening is recorded, or why it is not."""
        if not self.failure:
            return f"recorded in {self.file}"
        return f"the opening of the test split could not be recorded in {self.file}: {self.failure}"

    def complete(self, scores: Scores) -> str:
        """Puts the scores into the line. Returns the note."""
        if self.failure:
            return self.note
        found = headline(replace(scores, size_bytes=None, model_bytes=None))
        line = _json({**{k: v for k, v in self.line.items() if k != "begun"}, **found})
        try:
            with _opened(self.file, os.O_RDWR) as file:
                file.seek(self.at_byte)
                # In its place, so that an opening is one line whoever wrote others meanwhile.
                if file.read(len(self.written)) == self.written and len(line) < len(self.written):
                    file.seek(self.at_byte)
                    file.write(line.ljust(len(self.written) - 1) + b"\n")
                    return self.note
            with _opened(self.file, os.O_WRONLY | os.O_APPEND) as file:
                file.write(line + b"\n")
        except OSError as error:
            return f"recorded in {self.file}, but without its scores: {error.strerror}"
        return self.note


def begin_opening(folder: Path, source: str) -> Opening:
    """Writes down, before anything is answered, that a test split is opened: a line appended to
    `openings.jsonl` in the folder of a run or a bundle. One that cannot be written stops nothing,
    for a read-only bundle can still be evaluated; the note says so."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    opening = Opening(folder / store.OPENINGS, {"at": at, "source": source, "begun": True})
    line = _json(opening.line)
    line = line.ljust(len(line) + _ROOM_BYTES) + b"\n"
    try:
        with _opened(opening.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            return replace(opening, written=line, at_byte=file.tell() - len(line))
    except OSError as error:
        return replace(opening, failure=error.strerror or str(error))


def record_opening(folder: Path, source: str, scores: Scores) -> str:
    """An opening whose scores are there already, in one go. Returns its note."""
    return begin_opening(folder, source).complete(scores)


def _opened(file: Path, flags: int) -> IO[bytes]:
    """The file, not through a link."""
    flags |= getattr(os, "O_NOFOLLOW", 0)
    mode = "ab" if flags & os.O_APPEND else "r+b"
    return open(file, mode, opener=lambda name, _: os.open(name, flags, 0o666))


def _json(line: Plain) -> bytes:
    return json.dumps(to_plain(line), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _recipe(folder: Path) -> Recipe | None:
    """The recipe in a run's folder; None in a bundle's."""
    if not (folder / store.RECIPE).is_file():
        return None
    return from_plain(Recipe, store.read_recipe(folder), str(folder / store.RECIPE))


def _timeout(allowance: Allowance | None) -> float:
    """Generous: the process is there to end, and to be stopped only where it hangs."""
    if allowance is None or allowance.seconds is None:
        return _LONGEST_SECONDS
    return 300.0 + 4 * allowance.seconds
