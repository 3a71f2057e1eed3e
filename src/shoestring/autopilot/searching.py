"""searching: techniques that look for better values of a complete recipe before its fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import Skipped, UserError
from shoestring.core.listener import Listener
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain, Receipt
from shoestring.core.run import Recipe, Run, name_of
from shoestring.core.techniques import Placer, Searcher, Technique
from shoestring.engine import apply, derive, store
from shoestring.engine.search.space import NUMBERS

NETWORK = "network"
SEARCHED = tuple(NUMBERS)  # fields of a recipe that a search may vary


def ready(techniques: Sequence[Technique], said: Mapping[str, Any]) -> tuple[Technique, ...]:
    """The techniques, those that search told what a person said of the recipe themselves. Raises
    UserError for what is wrong and can be seen before any data are read."""
    names = [name for name in SEARCHED if said.get(name) is not None]
    names += [f"{NETWORK}.{option}" for option in (said.get(NETWORK) or {}) if option != "kind"]
    found: list[Technique] = []
    for technique in techniques:
        if isinstance(technique, Searcher):
            technique.ready()
            technique = _technique(technique.told(names))
        elif isinstance(technique, Placer):
            technique.ready()
        found.append(technique)
    return tuple(found)


def decided(run: Run, before: Recipe) -> Run:
    """The run whose searching techniques leave alone what other techniques wrote into its recipe
    since, and options that were given to one."""
    if not pending(run.recipe):
        return run
    names = [n for n in SEARCHED if getattr(run.recipe, n) != getattr(before, n)]
    network = run.recipe.network.items()
    names += [f"{NETWORK}.{n}" for n, value in network if before.network.get(n, None) != value]
    names += [name_of(w) for w in run.recipe.hooks if ":" in w and w not in before.hooks]
    hooks = []
    for words in run.recipe.hooks:
        technique = plugins.technique(words)
        if isinstance(technique, Searcher):
            others = [name for name in names if name != name_of(words)]
            words = plugins.words(_technique(technique.told(others)))
        hooks.append(words)
    receipts = list(run.receipts)
    for old, new in zip(run.recipe.hooks, hooks, strict=True):
        if old != new:
            given = to_plain(plugins.technique(new))
            receipts = [
                replace(r, technique=new, options=given) if r.technique == old else r
                for r in receipts
            ]
    return replace(run.with_recipe(hooks=tuple(hooks)), receipts=tuple(receipts))


def pending(recipe: Recipe) -> list[str]:
    """Words of the recipe's techniques that have not searched yet."""
    return [words for words in recipe.hooks if isinstance(plugins.technique(words), Searcher)]


def seconds_left(
    recipe: Recipe, chosen: Sequence[Technique], seconds: float | None
) -> float | None:
    """What searches leave of so many seconds to the fit."""
    every = [*map(plugins.technique, recipe.hooks), *chosen]
    for technique in {name_of(plugins.words(t)): t for t in every}.values():
        if isinstance(technique, Searcher) and seconds is not None:
            seconds *= 1 - technique.seconds_share
    return seconds


def searched(run: Run, dataset: Dataset, clock: Budget, listener: Listener) -> Run:
    """The run with what its pending techniques found in its recipe, the line of each where it
    stood. One that cannot search leaves its reason."""
    from shoestring.engine import interrupt

    for words in pending(run.recipe):
        technique = plugins.technique(words)
        at = next((i for i, r in enumerate(run.receipts) if r.technique == words), None)
        kept = [r for r in run.receipts if r.technique != words]
        place = derive.Desk(listener=listener, datasets={run.recipe.fingerprint: dataset})
        with interrupt.listening() as asked, derive.at(place):
            place.interrupt = asked
            listener.say(f"{words}: begins")
            try:
                after = apply.apply(technique, replace(run, receipts=tuple(kept)), clock)
            except Skipped as skipped:
                listener.say(f"{words}: not done: {skipped}")
                after = _skipped(run, words, to_plain(technique), str(skipped), kept)
        *others, line = after.receipts
        others.insert(len(others) if at is None else at, line)
        run = replace(after, receipts=tuple(others))
        store.write_started(run)
        store.write_spent(run.path, store.Spent(clock.elapsed(), clock.seconds))
    return run


def _skipped(run: Run, words: str, options: Plain, reason: str, kept: Sequence[Receipt]) -> Run:
    line = Receipt(words, options, status="skipped", reason=reason, at=apply.now())
    hooks = tuple(hook for hook in run.recipe.hooks if hook != words)
    return replace(run.with_recipe(hooks=hooks), receipts=(*kept, line))


def _technique(searcher: Searcher) -> Technique:
    assert isinstance(searcher, Technique)
    return searcher


def refused(words: Iterable[str]) -> None:
    """Raises UserError for techniques that search before a fit, since comparing many fits that
    would each search for themselves says nothing of one thing, and for those that say where it is
    done."""
    for spelled in words:
        technique, name = plugins.technique(spelled), spelled.partition(":")[0]
        if isinstance(technique, Placer):
            raise UserError(
                f"{name} says which processes do a fit, and the fits that are compared here are "
                "each done by one; leave it out"
            )
        if isinstance(technique, Searcher):
            raise UserError(
                f"{name} searches before a fit, and the fits that are compared here are of given "
                f"recipes; search first (train --with {spelled}), then give that run as --recipe"
            )
