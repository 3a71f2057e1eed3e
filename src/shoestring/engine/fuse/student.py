"""student: the network that is to learn from a trained one, and the recipe that it learns by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.core import voting
from shoestring.core.errors import UserError
from shoestring.core.protocols import Task
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe, Run
from shoestring.engine import derive, store, unseen

if TYPE_CHECKING:
    import torch

SAME = "same"
# Of a recipe, what a network of another kind wants otherwise.
TRAINED_BY: tuple[str, ...] = (
    "optimizer",
    "learning_rate",
    "beta2",
    "clip",
    "weight_decay",
    "batch_size",
)
TRAINED_BY += ("accumulate", "schedule", "warm_up")


@dataclass(frozen=True)
class Student:
    """A network that knows nothing yet, or what a run of its own taught it."""

    architecture: Plain
    recipe: Recipe  # its hooks, and the fields of TRAINED_BY
    weights: Mapping[str, torch.Tensor] | None = None
    run: Run | None = None  # that it is taken from, where that is not the teacher

    def changes(self) -> dict[str, Any]:
        """Fields of a recipe that it learns by."""
        return {name: getattr(self.recipe, name) for name in TRAINED_BY}

    def unlike(self, recipe: Recipe) -> Plain:
        """Those of them that this recipe says otherwise."""
        said = self.changes().items()
        return {name: value for name, value in said if value != getattr(recipe, name)}


def known(words: str, task: Task, goes_on: bool) -> None:
    """Raises UserError where these words are no student of any run of the task."""
    if words == SAME:
        return
    if (Path(words) / store.RUN).exists():
        other = store.read(words)
        if other.task != task.name:
            raise UserError(f"{other.path} is of {other.task}, and no student of {task.name}")
    elif goes_on:
        raise _no_weights(words)
    else:
        plugins.network(words.replace("+", ","), task)


def student(
    run: Run, words: str, goes_on: bool, epochs: float | None, seconds: float | None
) -> Student:
    """The student of a trained run that these words name: `same`, the network of the run itself
    (of an ensemble: of its first member); another run, pruned perhaps; or a network. With `goes_on`
    it begins with the weights that it has. Raises UserError where these are none."""
    if words == SAME:
        architecture = _one_of(run.architecture or {})
        if goes_on and architecture is not run.architecture:
            raise UserError(f"{run.path} is an ensemble; a student of it begins with nothing")
        weights = _weights(run) if goes_on else None
        return Student(architecture, _kept(run.own_recipe, goes_on), weights)
    if (Path(words) / store.RUN).exists():
        return _of_run(run, store.read(words), goes_on)
    if goes_on:
        raise _no_weights(words)
    return _of_network(run, words.replace("+", ","), epochs, seconds)


def _no_weights(words: str) -> UserError:
    return UserError(
        f"the student {words} has no weights to go on from; name a run, or student={SAME}"
    )


def _of_run(run: Run, other: Run, goes_on: bool) -> Student:
    if other.task != run.task:
        raise UserError(f"{other.path} is of {other.task} and {run.path} of {run.task}")
    if not other.trained:
        raise UserError(f"{other.path} has no network yet: train it first")
    unlike = plugins.task(run.task).unlike(run.facts, store.kept(run.path), other)
    if unlike:
        raise UserError(f"{other.path} cannot learn what {run.path} knows: {unlike}")
    architecture = _one_of(other.architecture or {})
    if goes_on and architecture is not other.architecture:
        raise UserError(f"{other.path} is an ensemble; name a run of one network to go on from")
    if goes_on:
        unseen.by_start(str(other.path), other, run)
    weights = _weights(other) if goes_on else None
    return Student(architecture, _kept(other.own_recipe, goes_on), weights, other)


def _of_network(run: Run, words: str, epochs: float | None, seconds: float | None) -> Student:
    """What is left open of its network is decided from the data and the time, as in a training
    of its own; and so is how it is trained, where it is of another kind than the run's."""
    task, said = plugins.task(run.task), run.own_recipe
    options, dataset = plugins.network(words, task), derive.dataset_of(run)
    other_kind = options["kind"] != _one_of(run.architecture or {}).get("kind")
    asked = Recipe(
        run.task,
        said.source,
        fingerprint=said.fingerprint,
        options=said.options,
        network=options,
        seed=said.seed,
        precision=said.precision,
        device=said.device,
        threads=said.threads,
        epochs=epochs,
        hooks=_kept(said, other_kind).hooks,
        without=said.without,
    )
    full = task.complete(asked, dataset, seconds)
    architecture = task.network(options["kind"]).architecture(full.network, dataset.facts)
    if not other_kind:
        full = replace(_kept(said, False), hooks=full.hooks)
    return Student(architecture, full)


def _one_of(architecture: Plain) -> Plain:
    """A network that is no ensemble: of one, the first of its members."""
    while architecture.get("kind") == voting.KIND:
        architecture = architecture[voting.MEMBERS][0]
    return architecture


def _kept(recipe: Recipe, begun: bool) -> Recipe:
    """The recipe without hooks that put weights in place, where there are others already, or these
    are for another network."""
    if not begun:
        return recipe
    return replace(recipe, hooks=tuple(w for w in recipe.hooks if not derive.begins(w)))


def _weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(derive.model_of(run).state_dict())
