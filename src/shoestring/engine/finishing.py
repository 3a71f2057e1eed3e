"""finishing: one technique on finished runs, from the folder that it fills to its receipt."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shoestring import plugins
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import Interrupted, Skipped, UserError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Receipt, Status
from shoestring.core.run import Run, name_of
from shoestring.core.techniques import Finisher, Technique
from shoestring.engine import apply, derive, store

INNER = ("fit", "settle", "export", "grade")  # lines of work inside a technique
MAKING = ("export", "grade")  # of these, the least that any technique needs


def applied(
    technique: Technique,
    runs: Sequence[Run],
    folder: Path,
    budget: Budget,
    place: derive.Desk,
    since: float | None = None,
) -> Run:
    """The finished run that a technique makes of the first of `runs` (the others are its further
    runs), in `folder`, with its receipt. Where it raises, nothing is left there. `since`: the
    seconds on the clock from which the whole counts; None: from now."""
    from shoestring.engine import device

    run, began = runs[0], budget.elapsed() if since is None else since
    threads = device.usable_threads(run.recipe.threads, budget.seconds is not None)
    with (
        derive.at(replace(place, folder=folder, datasets=place.datasets, folders=[])),
        device.settled(threads, run.recipe.device),
    ):
        made, begun = False, budget.elapsed()
        try:
            try:
                after = apply.apply(technique, run, budget)
            except Skipped as skipped:
                cost = Cost(wall_seconds=budget.elapsed() - begun)
                after = _unchanged(technique, run, str(skipped), "skipped", cost)
            made = True
        except Interrupted as error:
            name = name_of(plugins.words(technique))
            raise Interrupted(f"stopped in {name}; {run.path} is as it was") from error
        finally:
            if not made:
                store.remove(folder)
    return _written(technique, run, after, budget.seconds, budget.elapsed() - began)


def enough(technique: Technique, run: Run, budget: Budget) -> None:
    """Raises UserError where the seconds left are fewer than the bundle of the run itself took to
    export and grade, which no technique can do without."""
    known = [line.cost.wall_seconds for line in run.receipts if line.technique in MAKING]
    graded = [line.cost.evaluation_seconds for line in run.receipts if line.before is not None]
    least = next((seconds for seconds in reversed(graded) if seconds > 0), sum(known))
    left = budget.remaining()
    if left < least:
        name = name_of(plugins.words(technique))
        raise UserError(
            f"{max(0.0, left):.0f} s are too few for {name}: to export and grade what it makes "
            f"will take about {least:.0f} s, as it did for {run.path}"
        )


def failed(technique: Technique, run: Run, folder: Path, reason: str, place: derive.Desk) -> Run:
    """A copy of the run in `folder`, with a line that says why the technique failed."""
    with derive.at(replace(place, folder=folder, folders=[])):
        copy = _unchanged(technique, run, reason, "failed")
    return _written(technique, run, copy, None, 0.0)


def _written(technique: Technique, run: Run, after: Run, asked: float | None, used: float) -> Run:
    after = replace(after, receipts=_gathered(after.receipts, len(derive.carried(run))))
    after = after.with_recipe(then=(*after.recipe.then, plugins.words(technique)))
    own = after.receipts[-1].cost.wall_seconds  # those before it are of other commands
    return store.write_finished(apply.closed(after, asked, used, own))


def _gathered(lines: tuple[Receipt, ...], carried: int) -> tuple[Receipt, ...]:
    """The lines with those of a technique's own fit, export and grade taken into its line, the
    last: their cost is part of it, and what they say is said there. The first were handed on."""
    inner = [line for line in lines[carried:-1] if line.technique in INNER]
    said = [line.reason for line in (lines[-1], *inner) if line.reason]
    made = sum(line.cost.wall_seconds for line in inner if line.technique in MAKING)
    cost, reason = replace(lines[-1].cost, evaluation_seconds=made), "; ".join(dict.fromkeys(said))
    kept = [line for line in lines[carried:-1] if line.technique not in INNER]
    return (*lines[:carried], *kept, replace(lines[-1], reason=reason, cost=cost))


def _unchanged(
    technique: Technique, run: Run, reason: str, status: Status, cost: Cost = Cost()
) -> Run:
    """A copy of the run with a line that says why the technique left it as it is."""
    copy = derive.child(run, name_of(plugins.words(technique)), scores=run.scores)
    for path in run.path.iterdir():
        target = copy.path / path.name
        if path.name in (store.BUNDLE, store.WEIGHTS, store.METRICS, store.EVENTS, store.OUTCOMES):
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
    line = Receipt(
        technique=plugins.words(technique),
        options=to_plain(technique),
        status=status,
        before=run.scores,
        after=run.scores,
        reason=reason,
        cost=cost,
        at=apply.now(),
    )
    return copy.with_receipt(line)


def finisher(technique: Technique) -> Finisher | None:
    """The technique where it works on trained runs, with the options that it has."""
    return technique if isinstance(technique, Finisher) and technique.finishes else None
