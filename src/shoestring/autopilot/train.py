"""train: labelled data in, a run with a verified bundle out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.autopilot import asking, placing, searching
from shoestring.core.budget import Budget, parse_seconds
from shoestring.core.errors import MissingExtra, RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.protocols import Dataset
from shoestring.core.run import CLIMBING, Recipe, Run, name_of
from shoestring.core.techniques import Technique
from shoestring.engine import alone, store
from shoestring.engine.apply import closed, edited, noted


def train(
    source: str | os.PathLike[str] | None = None,
    *,
    task: str | None = None,
    techniques: Sequence[Technique | str] = (),
    without: Sequence[str] = (),
    budget: Budget | str | float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    network: str | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    log_every: int | None = None,
    listener: Listener | None = None,
) -> Run:
    """Trains on a source and returns the finished run, whose folder holds a verified bundle.

    `budget` is the wall-clock of the whole call (`"5m"`, seconds, or a running Budget); without
    it, `steps` or `epochs` say how long. `recipe` is a recipe file, a run folder or a Recipe;
    what is named beside it wins. `techniques` are technique objects or their words
    (`"augment:shift=0.1"`). `options` are the task's own. With `resume`, `out` is an unfinished
    run and nothing counts but `budget` and the processes that it goes on by. Raises UserError for
    anything a person can put right, Interrupted after saving when asked to stop.
    """
    listener = listener or Quiet()
    equipped()
    if (followed := placing.followed()) is not None:
        return followed
    given = placing.joined([plugins.technique(t) if isinstance(t, str) else t for t in techniques])
    if resume:
        if not (unfinished := out or source):
            raise UserError("say which unfinished run to resume: shoestring train --resume runs/a")
        with alone.working_in(Path(unfinished)):
            return _resumed(unfinished, given, budget, log_every, listener)
    base = asking.base_recipe(source, task, recipe)
    from shoestring.autopilot import finish

    chosen, then = finish.divided(given, base.then)
    said: dict[str, Any] = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "precision": precision,
        "seed": seed,
        "device": device,
        "threads": threads,
        "network": network,
    }
    lengths = {"steps": steps, "epochs": epochs, "budget_seconds": seconds_of(budget)}
    full = asking.asked(
        replace(base, then=then),
        bool(given),
        without,
        options or {},
        said,
        lengths,
        again=[name_of(plugins.words(technique)) for technique in chosen],
    )
    finish.ready(plugins.task(full.task), full.then)
    chosen = searching.ready(chosen, {**said, "network": full.network if network else None})
    path = Path(out) if out is not None else free_folder(full.source)
    finish.outside(path)
    store.create(path)
    try:
        with alone.working_in(path):
            return _trained(Run(path, full.task, full), chosen, budget, log_every, listener)
    except (UserError, KeyboardInterrupt):
        if not store.begun(path):  # no step was planned: leave nothing that looks unfinished
            store.remove(path)
        raise


def equipped() -> None:
    """Raises MissingExtra where shoestring was installed for prediction alone."""
    for name in ("torch", "onnx", "safetensors", "tomli_w"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtra(name, "train", "training")


def _trained(
    run: Run,
    chosen: tuple[Technique, ...],
    budget: Budget | str | float | None,
    log_every: int | None,
    listener: Listener,
) -> Run:
    from shoestring.engine import device

    run = run.with_recipe(device=device.resolve(run.recipe.device))
    clock = clock_of(budget, None)  # for the costs; the limit is known once the data are
    dataset, run = loaded(run, clock, listener)
    # A record is repeated without a clock; whatever else has the limit of its recipe.
    limit = None if run.recipe.plan else run.recipe.budget_seconds
    clock = clock_of(clock, limit)
    left = None if clock.seconds is None else clock.remaining()
    left = searching.seconds_left(run.recipe, chosen, left)
    run = completed(run, chosen, dataset, clock, left)
    store.keep(run.path, dataset.files)
    store.write_started(run)
    store.write_spent(run.path, store.Spent(clock.elapsed(), clock.seconds))
    return fitted(run, dataset, clock, log_every, listener)


def completed(
    run: Run,
    chosen: Sequence[Technique],
    dataset: Dataset,
    clock: Budget,
    seconds: float | None,
) -> Run:
    """The run with the edits of its techniques, those of its recipe and those chosen, and with
    what was left open decided from the data and the seconds at hand; a line for each edit."""
    names = {plugins.words(technique).partition(":")[0] for technique in chosen}
    before = run.recipe
    recorded = [w for w in before.hooks if w.partition(":")[0] not in names]
    run = run.with_recipe(hooks=())
    run = edited((*map(plugins.technique, recorded), *chosen), run, clock)
    run = searching.decided(run, before)
    with clock.meter() as meter:
        full = plugins.task(run.task).complete(run.recipe, dataset, seconds)
    if full.warm_up is not None and full.schedule not in CLIMBING:
        raise UserError(
            f"the schedule here is {full.schedule}, which has no warm-up, and warm_up="
            f"{full.warm_up} asks for one; take schedule:shape={' or '.join(CLIMBING)}"
        )
    for finding in dataset.findings:
        if finding not in run.findings:  # looked up to decide something
            run = noted(run, finding.kind, cost=meter.cost, reason=finding.message)
            run = replace(run, findings=(*run.findings, finding))
    added = [w for w in full.hooks if w not in run.recipe.hooks]
    # One that was asked for without options has them now: its line says so instead.
    again = {w.partition(":")[0] for w in added}
    kept = tuple(r for r in run.receipts if r.technique.partition(":")[0] not in again)
    run = replace(run, recipe=replace(full, hooks=run.recipe.hooks), receipts=kept)
    return edited(tuple(map(plugins.technique, added)), run, clock)


def _resumed(
    path: str | os.PathLike[str],
    chosen: Sequence[Technique],
    budget: Budget | str | float | None,
    log_every: int | None,
    listener: Listener,
) -> Run:
    if (Path(path) / store.RUN).exists():
        from shoestring.autopilot import finish

        return finish.resumed(store.read(path), budget, listener)
    run = placing.changed(store.read_resumable(path), chosen)
    spent = store.read_spent(run.path)
    said = seconds_of(budget)
    if said is not None:
        run = run.with_recipe(budget_seconds=said)
    clock = clock_of(budget, spent.limit_seconds if said is None else said, spent.seconds)
    dataset, fresh = loaded(replace(run, findings=()), clock, listener)
    if fresh.recipe.fingerprint != run.recipe.fingerprint:
        raise RunError(
            f"the data of {run.path} ({run.recipe.source}) is not what it was when the run began; "
            f"put it back, or start a new run"
        )
    store.keep(run.path, dataset.files)
    listener.say(f"resuming {run.path}; {spent.seconds:.0f} s were used before")
    return fitted(run, dataset, clock, log_every, listener)


def loaded(run: Run, budget: Budget, listener: Listener) -> tuple[Dataset, Run]:
    """The data, and the run with its facts, findings and a line on the receipt."""
    task = plugins.task(run.task)
    with budget.meter() as meter:
        dataset = task.load(run.recipe, listener.stage)
    for finding in dataset.findings:
        listener.say(finding.message)
    run = replace(run, facts=dataset.facts, findings=dataset.findings)
    recorded = run.recipe.fingerprint
    if recorded and recorded != dataset.fingerprint:
        listener.say("the data differ from those of the recipe's record: its plan is made anew")
        run = run.with_recipe(plan=(), evaluate_every=None)
    run = run.with_recipe(fingerprint=dataset.fingerprint)
    counts = {"train": len(dataset.train), "validation": len(dataset.validation)}
    return dataset, noted(run, "data", cost=meter.cost, options=dict(counts))


def fitted(
    run: Run, dataset: Dataset, budget: Budget, log_every: int | None, listener: Listener
) -> Run:
    """Fit, store, export, grade; and the test split where the recipe asks for it."""
    from shoestring.autopilot import finish
    from shoestring.engine import device, interrupt, remarks, seal

    run = searching.searched(run, dataset, budget, listener)
    run = placing.settled(run)
    whole, budget = budget, finish.fit_clock(budget, run.recipe.then)
    seal.warmed()
    with (
        interrupt.listening() as stop,
        device.settled(run.recipe.threads or device.default_threads(), run.recipe.device),
    ):
        before = len(run.receipts)
        with budget.meter() as meter:
            run, weights = placing.fitted(run, dataset, budget, meter, listener, stop, log_every)
        cost = remarks.fit_cost(meter.cost, run.receipts[before:])
        run = remarks.remarked(run, weights, cost, listener)
        threads = run.recipe.threads or 1
        run = replace(run, environment=device.environment(threads, run.recipe.device))
        run = seal.sealed(run, weights, dataset, budget, cost, stop)
        if run.recipe.open_test and not run.recipe.then:  # else what follows ships
            run = seal.opened(run, budget, listener)
    run = store.write_finished(closed(run, budget.seconds, budget.elapsed()))
    return placing.ended(finish.finished(run, dataset, whole, listener) if run.recipe.then else run)


def seconds_of(budget: Budget | str | float | None) -> float | None:
    """The limit that was said; UserError for one that is none."""
    if budget is None or isinstance(budget, Budget):
        return None if budget is None else budget.seconds
    return parse_seconds(budget)


def clock_of(
    budget: Budget | str | float | None, limit: float | None, before: float = 0.0
) -> Budget:
    """A clock with this limit that has run as long as the one that was given, if one was, and the
    seconds that went before."""
    running = budget.elapsed() if isinstance(budget, Budget) else 0.0
    return Budget(limit, spent=before + running)


def free_folder(source: str, what: str = "") -> Path:
    """`runs/photos-1` or, of something else than a run, `runs/photos-what-1`."""
    name = Path(source.rstrip("/\\")).name.partition(".")[0] or "run"
    return store.next_free(
        Path("runs"), "".join(c if c.isalnum() else "-" for c in name) + f"-{what}" * bool(what)
    )
