"""finish: techniques on finished runs: the verb `apply`, and those that follow a training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.autopilot.train import clock_of, equipped, free_folder, seconds_of
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.protocols import Dataset, Task
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.techniques import Technique
from shoestring.engine import derive, finishing, interrupt, store
from shoestring.engine.apply import closed

STEPS, FIRST = "steps", "0-train"  # folders of the runs on the way, in the folder of the last one


def apply(
    technique: Technique | str,
    *runs: str | os.PathLike[str],
    budget: Budget | str | float | None = None,
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> Run:
    """The run that a technique makes of finished ones: a folder of its own with a bundle, and the
    receipt of the whole lineage. Its parents stay as they are.

    `technique` is an object or its words (`"prune:ratio=0.5"`). `budget` is the wall-clock of the
    call. Raises UserError where the technique works on a recipe instead, or the runs do not go
    together; then, or when asked to stop, nothing is left at `out`.
    """
    listener = listener or Quiet()
    equipped()
    chosen = plugins.technique(technique) if isinstance(technique, str) else technique
    words = plugins.words(chosen)
    name = words.partition(":")[0]
    if finishing.finisher(chosen) is None:
        raise UserError(
            f"{words} changes how a run is trained, not a finished one: "
            f"shoestring train ... --with {words}"
        )
    if not runs:
        raise UserError(f"say which run {name} is for: shoestring apply {words} runs/a")
    opened = [store.read(path) for path in runs]
    chosen = with_more(chosen, name, [run.path for run in opened[1:]])
    _distinct(opened)
    _alike(opened)
    chosen.ready(plugins.task(opened[0].task))
    folder = Path(out) if out is not None else free_folder(opened[0].path.name, name)
    outside(folder)
    clock = clock_of(budget, seconds_of(budget))
    finishing.enough(chosen, opened[0], clock)
    store.create(folder)
    with interrupt.listening() as asked:
        desk = derive.Desk(listener=listener, interrupt=asked)
        return finishing.applied(chosen, opened, folder, clock, desk, since=0.0)


def outside(folder: Path) -> None:
    """Raises UserError for a folder inside a finished run, which stays as it is."""
    for outer in folder.resolve().parents:
        if (outer / store.RUN).exists():
            raise UserError(
                f"{folder} lies in the run {outer}, which stays as it is; take another --out"
            )


def with_more(technique: Any, name: str, more: Sequence[Path]) -> Any:
    """The technique with further runs in the field that takes them."""
    if not more:
        return technique
    if not technique.takes:
        raise UserError(f"{name} works on one run, not on {1 + len(more)}")
    if getattr(technique, technique.takes):
        raise UserError(f"name the runs of {name} once: as {technique.takes}= or one by one")
    return replace(technique, **{technique.takes: tuple(map(str, more))})


def _distinct(runs: Sequence[Run]) -> None:
    paths = [run.path.resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise UserError(f"{run.path} was named twice; name each run once")


def _alike(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise UserError(
                f"{runs[0].path} is of {runs[0].task} and {run.path} of {run.task}: "
                f"runs of one technique are of one task"
            )


# --- after a training ----------------------------------------------------------------------------


def ready(task: Task, then: Sequence[str]) -> None:
    """Raises UserError for what is wrong with techniques after a fit, before it is begun."""
    for words in then:
        finisher = finishing.finisher(plugins.technique(words))
        if finisher is not None:
            finisher.ready(task)


def portions(words: Sequence[str]) -> float:
    """What the techniques after a fit take of a budget, beside the fit's own 1."""
    found = [finishing.finisher(plugins.technique(spelled)) for spelled in words]
    return sum(finisher.portion for finisher in found if finisher is not None)


def fit_clock(budget: Budget, then: Sequence[str]) -> Budget:
    """The clock of a fit that leaves room for what follows it."""
    if budget.seconds is None or not then:
        return budget
    return budget.part(1 / (1 + portions(then)))


def pending(run: Run) -> bool:
    """Whether techniques of its recipe are still to be applied to a finished run."""
    return bool(run.recipe.then) and not run.lineage


def resumed(run: Run, budget: Budget | str | float | None, listener: Listener) -> Run:
    """A trained run whose process was ended in one of the techniques after the fit."""
    if not pending(run):
        raise RunError(f"{run.path} is finished; there is nothing to resume")
    used = sum(line.cost.wall_seconds for line in run.receipts if line.technique == "total")
    said = seconds_of(budget)
    clock = clock_of(budget, run.recipe.budget_seconds if said is None else said, used)
    return finished(run, None, clock, listener)


def finished(run: Run, dataset: Dataset | None, budget: Budget, listener: Listener) -> Run:
    """The run after every technique that its recipe names for it: in its own folder, with the runs
    on the way under `steps/`. What cannot be done is on the receipt with its reason, and the run
    before it goes on. A process that was killed finds the finished steps again."""
    place = derive.Desk(listener=listener)
    if dataset is not None:
        place.datasets[run.recipe.fingerprint] = dataset
    current, left = run, list(run.recipe.then)
    with interrupt.listening() as asked:
        place.interrupt = asked
        for number, words in enumerate(run.recipe.then, 1):
            folder = run.path / STEPS / f"{number}-{words.partition(':')[0]}"
            if (folder / store.RUN).exists():
                current = store.read(folder)
            else:
                listener.say(f"{words}: begins")
                current = _step(words, left, current, folder, budget, place, run.path)
            left = left[1:]
    return _adopted(current, run, budget, listener)


def _step(
    words: str,
    left: Sequence[str],
    run: Run,
    folder: Path,
    budget: Budget,
    place: derive.Desk,
    whole: Path,
) -> Run:
    technique = plugins.technique(words)
    finisher = finishing.finisher(technique)
    if finisher is None:
        raise RunError(f"{words} does not work on a finished run")
    clock = budget.part(finisher.portion / max(portions(left), 1e-9))
    store.remove(folder)
    store.create(folder)
    try:
        finishing.enough(technique, run, budget)
        return finishing.applied(technique, [run], folder, clock, place)
    except Interrupted as error:
        raise Interrupted(
            f"stopped in {words.partition(':')[0]}; go on with: shoestring train --resume {whole}"
        ) from error
    except UserError as error:
        place.listener.say(f"{words}: not done: {error}")
        return finishing.failed(technique, run, folder, str(error), place)


def _adopted(last: Run, run: Run, budget: Budget, listener: Listener) -> Run:
    """Makes the folder of the training that of the last run; the training's own files go to
    `steps/0-train`. Written so that a process killed on the way can do it again."""
    first = run.path / STEPS / FIRST
    if not (first / store.RUN).exists():
        store.remove(first)
        part = first.with_name(f".{FIRST}.partial")
        store.remove(part)
        shutil.copytree(run.path, part, ignore=shutil.ignore_patterns(STEPS, ".*"))
        os.rename(part, first)
    for path in list(run.path.iterdir()):
        if path.name not in (STEPS, store.RUN):
            store.remove(path)
    for path in last.path.iterdir():
        if path.name != store.RUN:
            target = run.path / path.name
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
    receipts = tuple(line for line in last.receipts if line.technique not in derive.CLOSING)
    moved = {str(run.path): str(first)}
    shipped = replace(
        last,
        path=run.path,
        recipe=run.recipe,
        receipts=receipts,
        parents=tuple(moved.get(parent, parent) for parent in last.parents),
        lineage=tuple(_renamed(branch, moved) for branch in last.lineage),
    )
    if run.recipe.open_test:
        from shoestring.engine import seal

        shipped = seal.opened(shipped, budget, listener)
    shipped = closed(shipped, budget.seconds, budget.elapsed())
    store.write_finished(shipped)
    store.remove(last.path)
    return shipped


def _renamed(branch: Plain, moved: Mapping[str, str]) -> Plain:
    """A branch of a lineage with the folders that runs were moved to."""
    path = str(branch["path"])
    parents = [_renamed(parent, moved) for parent in branch["parents"]]
    return {**branch, "path": moved.get(path, path), "parents": parents}


def divided(
    techniques: Sequence[Technique], then: Sequence[str]
) -> tuple[tuple[Technique, ...], tuple[str, ...]]:
    """Techniques that change the recipe, and the words of those that come after the fit: what a
    recipe has, in the place of one of that name what was said."""
    before = tuple(t for t in techniques if finishing.finisher(t) is None)
    after = [plugins.words(t) for t in techniques if finishing.finisher(t) is not None]
    names = {words.partition(":")[0] for words in after}
    kept = [words for words in then if words.partition(":")[0] not in names]
    return before, (*kept, *after)
