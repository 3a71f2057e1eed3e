"""derive: new runs made from finished ones: folder, data, weights, a fit that goes on, bundle.

A technique on trained runs works with these functions. Which folder it fills, who listens and
whether somebody asked to stop stands on the desk that `applied` lays for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoestring import plugins
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset, Examples
from shoestring.core.receipt import Receipt
from shoestring.core.run import Run, name_of
from shoestring.core.techniques import Hook
from shoestring.engine import apply, part, store
from shoestring.engine.interrupt import Interrupt

if TYPE_CHECKING:
    import torch

CLOSING = ("total", "start and imports")  # lines that hold for one command alone


@dataclass
class Desk:
    """Where a technique on trained runs works."""

    folder: Path | None = None  # that its run goes to; None: beside its parent
    listener: Listener = field(default_factory=Quiet)
    interrupt: Interrupt = field(default_factory=Interrupt)
    datasets: dict[str, Dataset] = field(default_factory=dict)  # read once, by fingerprint
    folders: list[Path] = field(default_factory=list)  # that were made


_DESK: ContextVar[Desk] = ContextVar("desk")


@contextmanager
def at(desk: Desk) -> Iterator[Desk]:
    token = _DESK.set(desk)
    try:
        yield desk
    finally:
        _DESK.reset(token)


def desk() -> Desk:
    """The one that lies ready, or one beside the parent where nobody listens."""
    return _DESK.get(Desk())


def listener() -> Listener:
    return desk().listener


# --- what a technique begins with ----------------------------------------------------------------


def dataset_of(run: Run) -> Dataset:
    """The data that a run was trained on, read again. RunError where they changed since."""
    place = desk()
    if run.recipe.fingerprint in place.datasets:
        return place.datasets[run.recipe.fingerprint]
    dataset = plugins.task(run.task).load(run.recipe, place.listener.stage)
    if dataset.fingerprint != run.recipe.fingerprint:
        raise RunError(
            f"the data of {run.path} ({run.recipe.source}) is not what it was trained on; put it "
            f"back, or train anew"
        )
    place.datasets[dataset.fingerprint] = dataset
    return dataset


def model_of(run: Run) -> torch.nn.Module:
    """A fresh float32 model of a trained run, in evaluation mode, on the CPU."""
    from shoestring.engine import seal

    if not run.trained:
        raise UserError(f"{run.path} has no weights yet: train it first")
    return seal.load_model(run)


def deciding(dataset: Dataset) -> Examples:
    """The third of validation that decisions are made on; gains are measured on the rest."""
    return dataset.validation.part(np.flatnonzero(part.decided(len(dataset.validation))))


def reporting(dataset: Dataset) -> Examples:
    """The rest of validation, that gains are measured on where something was decided."""
    return dataset.validation.part(np.flatnonzero(~part.decided(len(dataset.validation))))


# --- what it makes -------------------------------------------------------------------------------


def child(run: Run, name: str, others: Sequence[Run] = (), **changes: Any) -> Run:
    """A run with a new folder, made from `run` (and others): its recipe, facts, files and the lines
    of its receipt, `changes` in its fields. Nothing is trained or exported yet."""
    place = desk()
    folder = place.folder or store.next_free(run.path.parent, f"{run.path.name}-{name}")
    if folder not in place.folders:
        store.create(folder)
        place.folders.append(folder)
    store.keep(folder, store.kept(run.path))
    parents = (run, *others)
    return replace(
        run,
        **{
            "path": folder,
            "recipe": replace(run.recipe, then=run.recipe.then[: done(run)]),
            "receipts": carried(run),
            "scores": None,
            "parents": tuple(str(parent.path) for parent in parents),
            "lineage": tuple(branch(parent) for parent in parents),
            **changes,
        },
    )


def tuned(
    run: Run,
    weights: Mapping[str, torch.Tensor] | None,
    budget: Budget,
    epochs: float | None,
    **changes: Any,
) -> tuple[Run, dict[str, torch.Tensor], Cost]:
    """A fit of the run's architecture that goes on from these weights (None: it begins as the
    recipe says), for so many epochs (None: `steps` are among the changes), or as much of them as
    fits the budget. `changes` are fields of the recipe that is trained with (a rate, hooks); the
    run keeps the recipe that it has. What its network wants otherwise than the recipe says (see
    `Run.trained_by`) stands between the two. Returns the best weights and the cost."""
    from shoestring.engine import device, fit, placement, remarks

    hooks = run.recipe.hooks
    if weights is not None:
        hooks = tuple(w for w in changes.pop("hooks", hooks) if not begins(w))
        run, hooks = _still(run, (*hooks, *lasting(run, hooks)))
    recipe = replace(
        run.own_recipe,
        **{
            "plan": (),
            "evaluate_every": None,
            "steps": None,
            "epochs": epochs,
            "budget_seconds": budget.seconds,
            "then": (),
            "hooks": hooks,
            **changes,
        },
    )
    dataset, place = dataset_of(run), placement.Local(device.resolve(recipe.device))
    threads = device.usable_threads(recipe.threads, budget.seconds is not None)
    recipe = replace(recipe, threads=threads)
    with device.settled(threads, recipe.device), budget.meter() as meter:
        fitted, best = fit.fit(
            replace(run, recipe=recipe),
            dataset,
            budget,
            place,
            meter,
            listener(),
            desk().interrupt,
            weights=weights,
        )
    cost = remarks.fit_cost(meter.cost, fitted.receipts[len(run.receipts) :])
    for name in (store.CHECKPOINT, store.SAFE, store.STARTED, store.SPENT):
        (run.path / name).unlink(missing_ok=True)
    return replace(run, curve=fitted.curve), best, cost


def lasting(run: Run, hooks: Sequence[str] = ()) -> tuple[str, ...]:
    """Of the techniques that a run has been through, those whose work on its weights is to be
    kept in fits that go on from them, and that no hook of that name does."""
    there = {name_of(words) for words in hooks}
    named: dict[str, str] = {}
    for words in run.recipe.then[: done(run)]:
        technique = plugins.technique(words)
        if getattr(technique, "renews", False):
            named.clear()
        if getattr(technique, "lasts", False):
            named[name_of(words)] = words
    return tuple(words for name, words in named.items() if name not in there)


def _still(run: Run, hooks: Sequence[str]) -> tuple[Run, tuple[str, ...]]:
    """The hooks that have all that they need, and the run with a word on each of the others."""
    kept: list[str] = []
    for words in hooks:
        hook = plugins.technique(words)
        why = hook.gone(run) if isinstance(hook, Hook) else ""
        if not why:
            kept.append(words)
        elif all(why not in line.reason for line in run.receipts):
            listener().say(why)
            run = apply.noted(run, "fit", reason=why)
    return run, tuple(kept)


def sealed(
    run: Run, weights: Mapping[str, torch.Tensor], budget: Budget, fit_cost: Cost | None = None
) -> Run:
    """The run with its weights stored, a bundle that agrees with them, and scores read off it."""
    from shoestring.engine import device, seal

    threads = device.usable_threads(run.recipe.threads, budget.seconds is not None)
    with device.settled(threads, run.recipe.device):
        return seal.sealed(run, weights, dataset_of(run), budget, fit_cost, desk().interrupt)


def begins(words: str) -> bool:
    """Whether a hook puts weights in place before the first step."""
    return bool(getattr(plugins.technique(words), "begins", False))


def carried(run: Run) -> tuple[Receipt, ...]:
    """The lines that a run hands on to one made from it."""
    return tuple(line for line in run.receipts if line.technique not in CLOSING)


# --- lineage -------------------------------------------------------------------------------------


def branch(run: Run) -> dict[str, Any]:
    """A run's own figures and its parents', as plain values that outlive its folder."""
    steps = [line for line in run.receipts if line.technique not in CLOSING]
    names = plugins.technique_names()
    made = [line for line in steps if name_of(line.technique) in names and line.before]
    seconds = sum(line.cost.wall_seconds for line in run.receipts if line.technique == "total")
    scores = run.scores
    return {
        "path": str(run.path),
        "technique": made[-1].technique if made and run.lineage else "train",
        "network": str((run.architecture or {}).get("kind", "")),
        "quality": None if scores is None else scores.quality,
        "metric": "" if scores is None else scores.metric,
        "size_bytes": None if scores is None else scores.size_bytes,
        "latency_ms": None if scores is None else to_plain(scores.latency_ms).get("model"),
        "seconds": seconds,
        "parents": [to_plain(parent) for parent in run.lineage],
    }


def done(run: Run) -> int:
    """How many of its recipe's techniques on finished runs it has been through."""
    return len(run.recipe.then) if run.lineage else 0
