"""placing: by which processes a fit is done: this one, or those that a technique sees to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import UserError
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Placer, Technique
from shoestring.engine import store
from shoestring.engine.interrupt import Interrupt

if TYPE_CHECKING:
    import torch


def placer(recipe: Recipe) -> Placer | None:
    """The technique of the recipe that sees to the processes of its fit."""
    found = (plugins.technique(words) for words in recipe.hooks)
    return next((technique for technique in found if isinstance(technique, Placer)), None)


def joined(techniques: Sequence[Technique]) -> list[Technique]:
    """The techniques, with one that sees to the processes where several were started together."""
    from shoestring.engine.spread import launched

    started = launched.count() or 1
    if started == 1 or any(isinstance(technique, Placer) for technique in techniques):
        return list(techniques)
    names = plugins.technique_names()
    name = next(n for n in names if issubclass(plugins.technique_class(n), Placer))
    return [*techniques, plugins.technique(f"{name}:workers={started}")]


def followed() -> Run | None:
    """The finished run of the process that leads, where this one was started to follow it."""
    from shoestring.engine.spread import launched

    return store.read(launched.followed()) if launched.follows() else None


def ended(run: Run) -> Run:
    """The finished run, once those who follow this process have been told of it."""
    from shoestring.engine.spread import launched

    launched.ended(run.path)
    return run


def settled(run: Run) -> Run:
    """The run before its fit is planned, with what its processes change in the recipe."""
    found = placer(run.recipe)
    return run if found is None or run.recipe.plan else found.settled(run)


def changed(run: Run, techniques: Sequence[Technique]) -> Run:
    """An unfinished run that goes on by other processes than it began with. Nothing else of it
    can be changed: UserError for any other technique."""
    for technique in techniques:
        words = plugins.words(technique)
        if not isinstance(technique, Placer):
            raise UserError(
                f"--with {words} cannot be added by --resume: a run goes on as it began; start a "
                "new one for another recipe"
            )
        technique.ready()
        run = run.with_hook(words)
    return run


def fitted(
    run: Run,
    dataset: Dataset,
    budget: Budget,
    meter: Meter,
    listener: Listener,
    interrupt: Interrupt,
    log_every: int | None,
) -> tuple[Run, Mapping[str, torch.Tensor]]:
    """The run with its curve, and the best weights."""
    from shoestring.engine import fit, placement

    found = placer(run.recipe)
    if found is not None:
        return found.fitted(run, dataset, budget, meter, listener, interrupt, log_every)
    place = placement.Local(run.recipe.device)
    return fit.fit(run, dataset, budget, place, meter, listener, interrupt, log_every)
