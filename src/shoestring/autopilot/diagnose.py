"""diagnose: what is wrong with data or a run, what to try first, and what more data would buy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.autopilot import asking, train
from shoestring.autopilot.diagnosis import Advice, Diagnosis, Fitness, Labels, MoreData, Suspect
from shoestring.core.budget import Budget
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.protocols import Dataset, Examples
from shoestring.core.receipt import Finding
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Technique
from shoestring.data.names import counted
from shoestring.engine import store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shoestring.engine.probe import Probe

DATA_SECONDS = 120.0  # for fits on data, where no budget was said
FOLDS = 4  # each label is judged by a model that saw three quarters of the others
MOST_SUSPECTS = 50  # that are listed
FEWEST_SECONDS = 1.0  # of a fit
KEPT_BACK = 0.2  # of the seconds left: between the fits lie feeds, looks and answers
FEWEST_EPOCHS = 1.0  # of a fit that is to say anything

_MENDING = {
    "broken": "repair or remove the files that cannot be read",
    "leak": "take out of train what stands in validation or test: scores are too high otherwise",
    "near duplicate": "look at the pairs: a split that holds copies of another flatters the model",
    "label conflict": "decide on one label for what stands under several",
    "imbalance": "collect more of the rare classes, and read balanced accuracy",
    "missing class": "give each split examples of every class",
}


@dataclass(frozen=True)
class _Asked:
    labels: bool
    more_data: bool


def diagnose(
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    budget: Budget | str | float | None = None,
    labels: bool = True,
    more_data: bool | None = None,
    techniques: Sequence[Technique | str] = (),
    without: Sequence[str] = (),
    network: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
) -> Diagnosis:
    """What is wrong with a source of data or a finished run, and what to try first.

    Data: what reading them found (broken, duplicate, leaking, unequal), labels that are likely
    wrong, and what twice as many examples would buy. The last two train on parts of the data,
    within `budget` (`"5m"`, seconds; two minutes where none is said). A run: whether it over- or
    underfits and which technique to try; more data as well where a budget is given or `more_data`
    asked for. Nothing is written.

    Raises UserError (and its kinds) for anything a person can put right.
    """
    listener = listener or Quiet()
    folder = Path(path)
    is_run = (folder / store.RUN).exists() or (folder / store.STARTED).exists()
    seconds = train.seconds_of(budget)
    asked = _Asked(labels and not is_run, seconds is not None if more_data is None else more_data)
    if is_run:
        changes = (task, network, seed, device, threads)
        if techniques or without or options or any(c is not None for c in changes):
            raise UserError(
                f"{folder} is a run, which is judged as it was trained; say these of data, or "
                "train another run"
            )
        limit = seconds if seconds is not None or not asked.more_data else DATA_SECONDS
        return _of_run(folder, train.clock_of(budget, limit), asked, listener)
    asked = replace(asked, more_data=more_data is not False)
    clock = train.clock_of(budget, DATA_SECONDS if seconds is None else seconds)
    base = asking.base_recipe(path, task, None)
    said = {
        "network": network,
        "seed": seed,
        "device": device,
        "threads": threads,
    }
    recipe = asking.asked(base, bool(techniques), without, options or {}, said, {})
    chosen = [plugins.technique(t) if isinstance(t, str) else t for t in techniques]
    return _of_data(recipe, chosen, clock, asked, listener)


# --- data ----------------------------------------------------------------------------------------


def _of_data(
    recipe: Recipe, chosen: Sequence[Technique], clock: Budget, asked: _Asked, listener: Listener
) -> Diagnosis:
    dataset = plugins.task(recipe.task).load(recipe, listener.stage)
    found = Diagnosis(
        path=recipe.source,
        kind="data",
        task=recipe.task,
        metric=plugins.task(recipe.task).metric,
        counts={"train": len(dataset.train), "validation": len(dataset.validation)},
        findings=dataset.findings,
        advice=mending(dataset.findings),
        asked_seconds=clock.seconds,
    )
    if asked.labels or asked.more_data:
        train.equipped()
        run = Run(Path(), recipe.task, recipe, facts=dataset.facts)
        found = _with_fits(found, run, chosen, dataset, clock, asked, listener)
    return replace(found, used_seconds=clock.elapsed())


def mending(findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """What to do about what was found, each kind once; nothing about leaks that were left out."""
    why: dict[str, str] = {}
    for finding in findings:
        mended = finding.kind == "leak" and finding.dropped == finding.count
        if finding.count and finding.kind in _MENDING and not mended:
            why.setdefault(finding.kind, finding.message)
    return tuple(Advice(_MENDING[kind], reason) for kind, reason in why.items())


def _with_fits(
    found: Diagnosis,
    run: Run,
    chosen: Sequence[Technique] | None,
    dataset: Dataset,
    clock: Budget,
    asked: _Asked,
    listener: Listener,
) -> Diagnosis:
    """The diagnosis with what needs fits: judged labels, more data. `chosen` is None where the
    recipe is complete."""
    from shoestring.autopilot import more_data
    from shoestring.engine import device, probe

    notes = list(found.notes)
    labels_B = probe.labels_of(run.task, dataset.train, dataset.facts)
    folds = 0
    if asked.labels and labels_B is None:
        notes.append("labels were not judged: an example has no single one here")
    elif asked.labels:
        folds = min(FOLDS, len(dataset.train))
    grown = more_data.fits_of(len(dataset.train)) if asked.more_data else 0
    if asked.more_data and not grown:
        count = counted(len(dataset.train), "training example")
        notes.append(f"what more data would buy cannot be told from {count}: too few to share")
    fits = folds + grown
    if not fits:
        return replace(found, notes=tuple(notes))
    fit_seconds = clock.remaining() * (1 - KEPT_BACK) / fits
    if fit_seconds < FEWEST_SECONDS:
        needed = clock.elapsed() + fits * FEWEST_SECONDS / (1 - KEPT_BACK)
        words = f"the budget is too small for {fits} fits: it would need {needed:.0f} s at least"
        return replace(found, notes=(*notes, words))
    run = run.with_recipe(device=device.resolve(run.recipe.device))
    if chosen is not None:
        run = train.completed(run, chosen, dataset, Budget(), fit_seconds)
    listener.say(f"{fits} fits of about {fit_seconds:.0f} s each are made and thrown away")
    recipe = probe.planned(run, dataset, fit_seconds, listener)
    # Importing torch and measuring the rate took time as well.
    left = max(0.0, clock.remaining() * (1 - KEPT_BACK) / (fits * fit_seconds))
    if left < 1:
        recipe = probe.fixed(recipe, max(1, int(left * (recipe.total_steps or 1))))
    judged: Labels | None = None
    probes: list[Probe] = []
    if folds and labels_B is not None:
        judged, epochs = _labels(recipe, dataset, labels_B, folds, clock, listener)
        found = replace(found, labels=judged)
        notes += _short(epochs, fits, clock)
    if recipe.options.get(asking.GROUPS):
        notes.append(
            "examples of one group were taken for independent: a group stands in several folds, "
            "where its members vouch for each other, and more data means more of the same groups"
        )
    if grown:
        probes = more_data.grown(dataset, recipe, labels_B, clock, listener.stage)
        bought: MoreData = more_data.judged(probes, run.task)
        found = replace(found, more_data=bought)
        if not folds:
            notes += _short(bought.points[-1].epochs, fits, clock)
        if len(bought.points[-1].qualities) < more_data.REPEATS:
            notes.append("each share was trained on once: the budget held no second round")
    advice = found.advice
    if judged is not None and judged.count:
        why = judged.sentence
        advice = (*advice, Advice("look through the labels that are likely wrong", why))
    return replace(found, notes=tuple(dict.fromkeys(notes)), advice=advice)


def _short(epochs: float, fits: int, clock: Budget) -> list[str]:
    """A warning where the fits were too short to say much."""
    if epochs >= FEWEST_EPOCHS or clock.seconds is None:
        return []
    needed = clock.seconds * FEWEST_EPOCHS / max(epochs, 1e-3)
    words = f"each of the {fits} fits saw {epochs:.2f} of an epoch, so that they say little"
    return [f"{words}; --budget {needed:.0f}s gives a whole one"]


def _labels(
    recipe: Recipe,
    dataset: Dataset,
    labels_B: NDArray[np.int64],
    folds: int,
    clock: Budget,
    listener: Listener,
) -> tuple[Labels, float]:
    """The labels of train, each judged by a model that was trained on the other folds, and those
    of validation, judged by all of these models; and the epochs of a fit."""
    import numpy as np

    from shoestring.autopilot.labels import doubts
    from shoestring.data import split
    from shoestring.engine import part, probe

    hashes_B = np.asarray(dataset.train.hashes)
    fold_B = split.deal(labels_B, hashes_B, None, folds, recipe.seed)
    held_labels = probe.labels_of(recipe.task, dataset.validation, dataset.facts)
    assert held_labels is not None
    rows: list[NDArray[np.float32]] = []
    places, held, probes = [], [], []
    for fold in range(folds):
        listener.stage("judging labels, out of fold", fold, folds)
        inside = np.flatnonzero(fold_B == fold)
        outside = np.flatnonzero(fold_B != fold)
        if not len(inside) or not len(outside):
            continue
        some = part.part_of(dataset, outside)
        unseen = (dataset.train.part(inside), dataset.validation)
        done = probe.probed(recipe, some, clock, unseen)
        probes.append(done)
        places.append(inside)
        rows.append(done.answers[0])
        held.append(done.answers[1])
    listener.stage("judging labels, out of fold", folds, folds)
    at = np.concatenate(places)
    every_BK = np.concatenate([*rows, np.mean(held, axis=0)])
    every_B = np.concatenate([labels_B[at], held_labels])
    found = doubts(every_B, every_BK)
    names = list(dataset.facts.get("labels", range(every_BK.shape[1])))
    suspects = []
    for doubt in found[:MOST_SUSPECTS]:
        name, which = _named(dataset, at, doubt.position)
        label, likely = str(names[doubt.label]), str(names[doubt.likely])
        suspects.append(Suspect(name, which, label, likely, doubt.margin))
    quality = float((every_BK.argmax(axis=1) == every_B).mean())
    sentence = (
        f"{counted(len(found), 'label')} of {len(every_B):,} "
        f"{'is' if len(found) == 1 else 'are'} likely wrong ({len(found) / len(every_B):.1%}), "
        f"by models that were right about {quality:.1%} of the examples they had not seen"
    )
    steps = probes[-1].steps
    labels = Labels(
        len(every_B), len(found), tuple(suspects), quality, len(probes), steps, sentence
    )
    return labels, float(np.mean([p.epochs for p in probes]))


def _named(dataset: Dataset, at: NDArray[np.int64], position: int) -> tuple[str, str]:
    """The name of a judged example and its split; those of train come first, in the order `at`."""
    which: Examples = dataset.train if position < len(at) else dataset.validation
    place = int(at[position]) if position < len(at) else position - len(at)
    return str(which.names[place]), which.split


# --- a run ---------------------------------------------------------------------------------------


def _of_run(folder: Path, clock: Budget, asked: _Asked, listener: Listener) -> Diagnosis:
    from shoestring.autopilot import fitness

    if not (folder / store.RUN).exists():
        raise RunError(
            f"{folder} is not finished; go on with it: shoestring train --resume {folder}"
        )
    run = store.read(folder)
    task = plugins.task(run.task)
    found = Diagnosis(
        path=str(folder),
        kind="run",
        task=run.task,
        metric=task.metric,
        counts={},
        findings=run.findings,
        curve=run.curve,
        asked_seconds=clock.seconds,
    )
    try:
        dataset = task.load(run.recipe, listener.stage)
    except UserError as error:
        note = f"its data cannot be read any more, so that nothing was measured: {error}"
        return replace(found, notes=(note,), used_seconds=clock.elapsed())
    counts = {"train": len(dataset.train), "validation": len(dataset.validation)}
    found = replace(found, counts=counts)
    if dataset.fingerprint != run.recipe.fingerprint:
        note = f"its data ({run.recipe.source}) are not those that it was trained on any more"
        found = replace(found, notes=(note,))
    judged: Fitness = fitness.judged(run, dataset, listener.stage)
    advice = (*fitness.advice(run, judged, counts["train"]), *mending(run.findings))
    found = replace(found, fitness=judged, advice=advice)
    if asked.more_data:
        train.equipped()
        found = _with_fits(found, run, None, dataset, clock, asked, listener)
    return replace(found, used_seconds=clock.elapsed())
