"""shipping: which run of a build ships, and its way into the build's own folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.build_record import Record, step_folder
from shoestring.autopilot.choosing import best
from shoestring.autopilot.knowledge import Result
from shoestring.bundle import bundle as bundles
from shoestring.bundle.grade import read_outcomes
from shoestring.core.budget import Budget, Cost
from shoestring.core.decisions import Decision
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.quantity import plain_quality
from shoestring.core.receipt import Receipt, Scores
from shoestring.core.run import Run
from shoestring.engine import derive, evidence, part, store
from shoestring.engine.apply import closed, noted

# Of an unfinished build's folder: what goes on needs it, or it is replaced in one move.
KEPT = (finish.STEPS, store.BUILD, store.SPENT, store.BUNDLE, store.OPENINGS)
TEST_LEAST = 0.9  # of the seconds that it is expected to take
LAST_PART = 0.9  # of the seconds kept for the end, for what follows it
TEST, SHIPPED = "test opened", "ship"


# --- into the folder -----------------------------------------------------------------------------


def hold(home: Path, source: Path) -> None:
    """Puts a copy of a run's bundle where the build's own will be, so that there is one to use
    whatever happens from now on."""
    target, part_ = home / store.BUNDLE, home / f".{store.BUNDLE}.partial"
    _writing(home, lambda: _swapped(source / store.BUNDLE, part_, target))


def _swapped(source: Path, part_: Path, target: Path) -> None:
    store.remove(part_)
    shutil.copytree(source, part_)
    store.remove(target)
    os.rename(part_, target)


def shipped(
    home: Path,
    record: Record,
    dataset: Dataset,
    clock: Budget,
    listener: Listener,
    test_seconds: float,
    end_seconds: float,
) -> Run:
    """The finished run in the build's folder: the best one's files, the receipt of all steps, the
    decisions; its test split opened once, where there is one and time for it."""
    found, why = best(record.results, record.limits)
    number = record.results.index(found) + 1
    source = store.read(step_folder(home, number, found.step))
    _writing(home, lambda: _copied(source.path, home))
    line = Decision(SHIPPED, found.name, why, "", _told(source.scores), round(clock.elapsed(), 1))
    run = replace(
        source,
        path=home,
        recipe=replace(source.recipe, budget_seconds=record.budget_seconds),
        receipts=tuple(_lines(home, record, found, source)),
        decisions=(*record.decisions, line),
        findings=dataset.findings,
    )
    run = _tested(run, record, clock, listener, test_seconds, end_seconds)
    run = _recorded(run, record)
    run = store.write_finished(closed(run, clock.seconds, clock.elapsed(), options=record.asked()))
    store.remove(home / store.BUILD)
    return run


def _copied(source: Path, home: Path) -> None:
    """All of a run but its description, which is written last; can be done again."""
    for path in list(home.iterdir()):
        if path.name not in KEPT:
            store.remove(path)
    for path in source.iterdir():
        if path.name in (store.RUN, store.SPENT, finish.STEPS) or path.name.startswith("."):
            continue
        if path.name == store.BUNDLE:
            _swapped(path, home / f".{store.BUNDLE}.partial", home / store.BUNDLE)
        elif path.is_dir():
            shutil.copytree(path, home / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, home / path.name)


def _writing(home: Path, work: object) -> None:
    """Does what writes files; RunError where the disk is full or cannot be written."""
    assert callable(work)
    try:
        work()
    except (OSError, shutil.Error) as error:
        raise RunError(
            f"cannot write to {home}: {_disk(error)}; what is finished is kept under "
            f"{home / finish.STEPS}; make room, then: shoestring build --resume --out {home}"
        ) from error


def refuse_full(home: Path, error: UserError) -> None:
    """Says how to go on where it was the disk that a step could not write to."""
    if isinstance(error.__cause__, OSError):
        raise RunError(
            f"{error} ({_disk(error.__cause__)}); what is finished is kept; make room, then: "
            f"shoestring build --resume --out {home}"
        ) from error


def _disk(error: OSError) -> str:
    import errno

    full = error.errno == errno.ENOSPC or "No space left" in str(error)
    return "the disk is full" if full else error.strerror or str(error)


# --- the receipt ---------------------------------------------------------------------------------


def _lines(home: Path, record: Record, found: Result, source: Run) -> Iterator[Receipt]:
    """The lines of all steps, in order: in full of those that what ships was made by, in one line
    each of the others."""
    names = _chain(record, found)
    runs = {
        one.name: store.read(step_folder(home, number, one.step))
        for number, one in enumerate(record.results, 1)
        if not one.failure
    }
    data = next(iter(runs.values()))
    counts = dict(data.receipts[0].options) if data.receipts else {}
    yield Receipt("data", counts, cost=Cost(wall_seconds=record.load_seconds))
    yield Receipt(
        "look", cost=Cost(wall_seconds=record.gauge_seconds),
        reason="throw-away steps and networks with random weights, to plan with",
    )  # fmt: skip
    first = next((runs[one.name] for one in record.results if one.name in runs), None)
    for one in record.results:
        run = runs.get(one.name)
        if one.name in names and run is not None:
            yield from _own(run, one, runs, first)
        else:
            yield _folded(one, run, first, found)


def _chain(record: Record, found: Result) -> set[str]:
    """Names of the steps that what ships was made by, itself among them."""
    steps = {one.name: one.step for one in record.results}
    names, todo = set[str](), [found.name]
    while todo:
        name = todo.pop()
        names.add(name)
        # Further members of an ensemble are told in its own line.
        todo += list(steps[name].on[:1])
    return names


def _own(run: Run, result: Result, runs: Mapping[str, Run], first: Run | None) -> Iterator[Receipt]:
    before = len(derive.carried(runs[result.step.on[0]])) if result.step.on else 0
    lines = derive.carried(run)[before:]
    for line in lines:
        if result.step.kind == "fit" and line.technique == "data":
            continue
        if line.technique == "fit" and first is not None and first.path != run.path:
            line = _against(line, first, run)
        yield line


def _folded(result: Result, run: Run | None, first: Run | None, found: Result) -> Receipt:
    """A step that does not ship, in one line."""
    cost = Cost(wall_seconds=result.seconds)
    if result.failure or run is None or run.scores is None:
        status = "skipped" if not result.seconds else "failed"
        return Receipt(
            result.name, _said(result), status="skipped" if status == "skipped" else "failed",
            cost=cost, reason=result.failure,
        )  # fmt: skip
    if not result.bundled:
        reason = f"{_told(run.scores)}; it shows how sure the figures are, and ships nothing"
        return Receipt(result.name, _said(result), after=run.scores, cost=cost, reason=reason)
    taken = " and is part of it" if result.name in found.step.on else ""
    line = Receipt(
        result.name, _said(result), after=run.scores, cost=cost,
        reason=f"{_told(run.scores)}; the {found.name} ships instead{taken}",
        signature=run.scores.signature,
    )  # fmt: skip
    if first is None or first.path == run.path or not result.bundled:
        return line
    return _against(line, first, run)


def _against(line: Receipt, first: Run, run: Run) -> Receipt:
    """The line with the paired gain over the first run, on examples that decided nothing."""
    rows = len(read_outcomes(first.path / store.OUTCOMES)["hashes"])
    left_out = part.decided(rows)
    if rows - int(np.sum(left_out)) < 1:
        return line
    gain, verdict, doubt = evidence.gain(
        first.path / store.OUTCOMES, run.path / store.OUTCOMES, plugins.task(run.task), left_out
    )
    total = [one for one in first.receipts if one.technique == "fit"]
    horizon = f"{sum(one.cost.wall_seconds for one in total):.0f} s"
    said = f"against the first fit, of {horizon}, on examples that decided nothing"
    reason = "; ".join(filter(None, (line.reason, said, doubt)))
    return replace(line, before=first.scores, gain=gain, verdict=verdict, reason=reason)


def _said(result: Result) -> dict[str, object]:
    step = result.step
    found: dict[str, object] = {"network": dict(step.network), "seed": step.seed}
    if step.kind == "technique":
        found = {"on": list(step.on)}
    return {**found, **({"words": step.words} if step.words else {}), "epochs": result.epochs}


def _told(scores: Scores | None) -> str:
    if scores is None or scores.quality is None:
        return "not measured"
    size = "" if scores.size_bytes is None else f", {scores.size_bytes:,} bytes"
    return f"{scores.metric} {plain_quality(scores.quality, scores.metric)} on {scores.split}{size}"


# --- the test split ------------------------------------------------------------------------------


def _tested(
    run: Run,
    record: Record,
    clock: Budget,
    listener: Listener,
    test_seconds: float,
    end_seconds: float,
) -> Run:
    from shoestring.engine import seal

    openings = store.read_lines(run.path / store.OPENINGS)
    if not test_seconds or any("begun" not in one for one in openings):
        return run
    left = clock.remaining() - LAST_PART * end_seconds
    if left < TEST_LEAST * test_seconds:
        why = (
            f"{max(0.0, left):.1f} s were left, and it takes about {test_seconds:.1f}; open it "
            f"with: shoestring evaluate {run.path} {record.recipe.source}:test"
        )
        listener.say(f"the test split stays closed: {why}")
        return noted(run, "test split", reason=f"not opened: {why}")
    try:
        return seal.opened(run, clock, listener, max(1.0, left))
    except UserError as error:
        listener.say(f"the test split was not graded: {error}")
        return noted(run, "test split", reason=f"opened, but not graded: {error}")


def _recorded(run: Run, record: Record) -> Run:
    """The run with its bundle's card written anew, now that all is known."""
    assert run.scores is not None
    test = next((one.after for one in run.receipts if one.technique == TEST), None)
    decided = [f"asked: {asked}" for asked in record.limits.told()]
    decided += [f"decided, {one.what}: {one.chosen}; {one.why}" for one in run.decisions]
    scores = bundles.record_scores(
        run.path / store.BUNDLE, run.scores, run.recipe, run.findings, test, decided
    )
    return replace(run, scores=scores)
