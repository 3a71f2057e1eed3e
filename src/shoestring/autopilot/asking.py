"""asking: the recipe that a person's words stand for, before any data are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shoestring import plugins
from shoestring.core.errors import UserError
from shoestring.core.machine import cores
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.run import OPTIMIZERS, SCHEDULES, Recipe, name_of
from shoestring.engine import store

GROUPS = "group_by"  # a task's option that says which examples belong together
MOST_THREADS = 8  # times the cores; far above it torch crashes


def base_recipe(
    source: str | os.PathLike[str] | None,
    task: str | None,
    recipe: str | os.PathLike[str] | Recipe | None,
) -> Recipe:
    """The recipe that was named, or an empty one; the source and task that were said win."""
    plain: dict[str, Any] = {}
    if isinstance(recipe, Recipe):
        plain = to_plain(recipe)
    elif recipe is not None:
        plain = store.read_recipe(recipe)
    if source is not None:
        plain["source"] = os.fspath(source)
    if task is not None:
        plain["task"] = task
    if not plain.get("source"):
        raise UserError("say what to train on: a folder, a file, or a name of `data list`")
    plain.setdefault("task", "")
    where = f"recipe {recipe}" if isinstance(recipe, (str, os.PathLike)) else "recipe"
    return from_plain(Recipe, plain, where)


def asked(
    base: Recipe,
    changed: bool,
    without: Sequence[str],
    options: Mapping[str, Any],
    said: Mapping[str, Any],
    lengths: Mapping[str, Any],
    again: Sequence[str] = (),
) -> Recipe:
    """The base with what a person said beside it; `changed`: something else makes it another
    recipe. What techniques `again` had written into it is open again: they are given anew, or are
    trained with and without. Raises UserError for words and values that no training can start
    from."""
    task = plugins.task_for(base.source, base.task or None)
    for name in without:
        plugins.technique_class(name)
    named = {name: value for name, value in said.items() if value is not None}
    if "network" in named:
        named["network"] = plugins.network(named["network"], task)
    if named or changed or without or options or any(v is not None for v in lengths.values()):
        # A record holds only for exactly its recipe: another one makes a plan of its own.
        timed = lengths if any(v is not None for v in lengths.values()) else {}
        named |= {**timed, "plan": (), "evaluate_every": None}
    given = plugins.options_from(task.options, {**base.options, **options}, task.name)
    base = opened_again(base, (*without, *again))
    full = replace(
        base,
        task=task.name,
        options=to_plain(given),
        without=(*base.without, *without),
        hooks=tuple(h for h in base.hooks if name_of(h) not in without),
        then=tuple(h for h in base.then if name_of(h) not in without),
        **named,
    )
    _checked(full)
    return full


def opened_again(recipe: Recipe, without: Sequence[str]) -> Recipe:
    """The recipe with what these techniques of it had written into other fields left open."""
    changes: dict[str, Any] = {}
    for words in recipe.hooks:
        if name_of(words) in without:
            for place in getattr(plugins.technique(words), "writes", ()):
                name, _, option = place.partition(".")
                held = changes.get(name, getattr(recipe, name))
                if option:
                    changes[name] = {n: value for n, value in held.items() if n != option}
                else:
                    changes[name] = getattr(Recipe("", ""), name)
    return replace(recipe, **changes)


def _checked(recipe: Recipe) -> None:
    """Values that no training can start from."""
    if (recipe.threads or 0) > MOST_THREADS * cores():
        raise UserError(
            f"threads {recipe.threads} is far more than the cores that it may use here ({cores()})"
        )
    if recipe.seed < 0:
        raise UserError(f"seed is 0 or above, not {recipe.seed}")
    for name in ("learning_rate", "batch_size", "accumulate", "threads", "steps", "epochs"):
        value = getattr(recipe, name)
        if value is not None and not value > 0:
            raise UserError(f"{name} must be above zero, not {value!r}")
    words = {
        "precision": ("float32", "bfloat16"),
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
    }
    for name, allowed in words.items():
        value = getattr(recipe, name)
        if value is not None and value not in allowed:
            raise UserError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
