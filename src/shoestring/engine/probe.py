"""probe: fits of a few seconds that are thrown away, and what they answered.

Shapes: B examples, C classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring import plugins
from shoestring.core.budget import Budget, Meter
from shoestring.core.listener import Quiet
from shoestring.core.protocols import Dataset, Examples, Feed, Network, Quality, Task
from shoestring.core.receipt import Plain
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.engine import device, fit, pacing, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds
from shoestring.engine.placement import Local

if TYPE_CHECKING:
    from shoestring.core.listener import Listener

ANSWER_BATCH = 256
_LEAST_SECONDS = 0.1  # of a fit whose budget is used up: it takes a step, and is looked at
MOST_LOOKS = 8  # parts of the validation split that are looked at, where a look takes a part


@dataclass(frozen=True)
class Probe:
    """What a fit that was thrown away came to."""

    examples: int  # in its training split
    quality: float  # on the validation split, with the last weights
    loss: float
    graded: int  # validation examples that the quality was seen on
    steps: int
    epochs: float
    seconds: float
    answers: tuple[NDArray[np.float32], ...] = ()  # (B, C) probabilities of each held-out split


def planned(run: Run, dataset: Dataset, fit_seconds: float, listener: Listener) -> Recipe:
    """The run's recipe with precision, threads and as many steps as so many seconds hold, measured
    on throw-away steps. Every probe takes these: at equal steps their answers can be compared."""
    where = Local(run.recipe.device)
    recipe = replace(run.recipe, plan=(), evaluate_every=None, steps=None, epochs=None)
    limit = fit_seconds + pacing.AFTER_SECONDS  # which the plan keeps for an export: there is none
    with (
        tempfile.TemporaryDirectory(prefix="shoestring-probe-") as folder,
        device.settled(recipe.threads or device.default_threads(), recipe.device),
    ):
        run = replace(run, path=Path(folder), recipe=recipe)
        store.keep(run.path, dataset.files)
        feeds = Feeds.of(run, dataset, where)
        done, _ = pacing.planned(run, feeds, Budget(limit), where, listener)
    return fixed(done.recipe, done.recipe.total_steps or 1)


def fixed(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with exactly so many steps and one look, at the end: the weights that a fit ends
    with, not the luckiest on the examples that it is judged by."""
    plan = (PlanChange(0, steps, "as asked"),)
    return replace(
        recipe, steps=steps, epochs=None, budget_seconds=None, plan=plan, evaluate_every=steps
    )


def probed(
    recipe: Recipe, dataset: Dataset, budget: Budget, held: Sequence[Examples] = ()
) -> Probe:
    """Trains the recipe, whose plan is `fixed`, on the data set, and answers the held-out examples
    of tasks with one label an example. The plan is cut short only where it would overrun the
    whole budget."""
    task = plugins.task(recipe.task)
    where, meter = Local(recipe.device), Meter()
    with (
        tempfile.TemporaryDirectory(prefix="shoestring-probe-") as folder,
        device.settled(recipe.threads or device.default_threads(), recipe.device),
        budget.meter() as clock,
    ):
        run = Run(Path(folder), recipe.task, recipe, facts=dataset.facts)
        store.keep(run.path, dataset.files)
        # No export follows, for which a fit keeps seconds back.
        limit = None if budget.seconds is None else budget.remaining() + pacing.AFTER_SECONDS
        own = Budget(None if limit is None else max(limit, _LEAST_SECONDS))
        done, weights = fit.fit(run, dataset, own, where, meter, Quiet(), Interrupt())
        assert done.architecture is not None
        network = task.network(done.architecture["kind"])
        model = network.build(done.architecture)
        model.load_state_dict(weights)
        model = model.to(where.device).eval()
        with torch.inference_mode():
            looks = _looks(task, network, model, dataset)
            answers = tuple(
                _probabilities(network, model, task.feed(part, dataset.facts, where.device))
                for part in held
            )
    graded = sum(look.examples for look in looks)
    steps = int(done.curve[-1]["step"])
    return Probe(
        examples=len(dataset.train),
        quality=sum(look.quality * look.examples for look in looks) / graded,
        loss=sum(look.loss * look.examples for look in looks) / graded,
        graded=graded,
        steps=steps,
        epochs=float(done.curve[-1]["epoch"]),
        seconds=clock.cost.wall_seconds,
        answers=answers,
    )


def labels_of(task_name: str, examples: Examples, facts: Plain) -> NDArray[np.int64] | None:
    """(B,) the label of each example; None where an example has several, as a sentence has."""
    feed = plugins.task(task_name).feed(examples, facts, "cpu")
    found = []
    for ids in torch.split(torch.arange(len(feed)), ANSWER_BATCH):
        targets = feed.batch(ids).targets
        if targets.ndim != 1:
            return None
        found.append(targets.numpy())
    return np.concatenate(found).astype(np.int64)


def _looks(
    task: Task, network: Network, model: torch.nn.Module, dataset: Dataset
) -> Sequence[Quality]:
    """Looks at the validation split. Where one takes a part of it, several take other parts."""
    whole, device_type = dataset.validation, next(model.parameters()).device.type
    first = task.quality(network, model, task.feed(whole, dataset.facts, device_type))
    count = len(whole)
    pieces = min(MOST_LOOKS, -(-count // max(1, first.examples)))
    if pieces <= 1:
        return [first]
    places = np.arange(count, dtype=np.int64)
    parts = [whole.part(places[start::pieces][: first.examples]) for start in range(pieces)]
    return [
        task.quality(network, model, task.feed(part, dataset.facts, device_type)) for part in parts
    ]


def _probabilities(network: Network, model: torch.nn.Module, feed: Feed) -> NDArray[np.float32]:
    rows = []
    for ids in torch.split(torch.arange(len(feed)), ANSWER_BATCH):
        batch = feed.batch(ids)
        logits_BC, _ = network.logits(model, feed.prepare(batch.inputs), batch.targets)
        rows.append(torch.softmax(logits_BC.float(), dim=1).cpu().numpy())
    return np.concatenate(rows)
