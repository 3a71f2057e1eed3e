"""sizes: the networks for pictures that a build may choose from. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe, name_of
from shoestring.core.sizing import Candidate, Probe
from shoestring.tasks.images import defaults, layers, pretrained

TINY_WIDTHS = (2, 3, 4, 6, 8)
WIDTHS = (6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 40, 48, 56, 64)
# Pictures that a fit has to see until a second network beside it buys more than going on: a floor
# for small sets, and so many passes over large ones. MNIST: 8 epochs came to within 0.05 points of
# 16; sign-digits: one minute was as good as five.
ENOUGH_SEEN, ENOUGH_PASSES = 60_000, 7.0


def candidates(recipe: Recipe, dataset: Dataset, seconds: float | None) -> Sequence[Candidate]:
    """Networks of our own by rising size, up to the usual one for these seconds, and where that is
    the usual start the one whose weights come from elsewhere; or the one that the recipe names."""
    completed = defaults.completed(recipe, dataset, seconds)
    usual, facts = completed.network, dataset.facts
    count = max(1, len(dataset.train))
    enough = (ENOUGH_SEEN + ENOUGH_PASSES * count) / count
    added = [words for words in completed.hooks if words.startswith("transfer:")]
    words = next((words for words in added if words not in recipe.hooks), "")
    last = Candidate(usual, parameters(usual, facts), enough, words)
    if recipe.network:
        return [last]
    names: list[Plain] = [{"kind": "tiny", "width": width} for width in TINY_WIDTHS]
    names += [{"kind": "compact", "width": width} for width in WIDTHS]
    most = last.parameters
    if usual["kind"] in pretrained.KINDS:
        own = replace(recipe, without=(*recipe.without, "transfer"))
        most = 1 + parameters(defaults.completed(own, dataset, seconds).network, facts)
    found = [Candidate(one, parameters(one, facts), enough) for one in names]
    smaller = [one for one in found if one.parameters < most]
    return [*sorted(smaller, key=lambda one: one.parameters), last]


def probe(recipe: Recipe, dataset: Dataset) -> Probe | None:
    """A last layer on the features of EfficientNet-Lite0, on a small set of photos."""
    said = {name_of(words) for words in recipe.hooks} | set(recipe.without)
    height, width = dataset.facts["size"]
    photos = dataset.facts["channels"] == 3 and min(height, width) >= defaults.PHOTO_SIDE
    small = len(dataset.train) < defaults.SMALL_PHOTOS
    if not photos or not small or "transfer" in said or not pretrained.installed():
        return None
    return Probe(
        {"kind": pretrained.EFFICIENTNET},
        f"transfer:start={pretrained.EFFICIENTNET},freeze=all",
        f"{len(dataset.train):,} photos are few, and the weights of {pretrained.EFFICIENTNET} are "
        "installed",
    )


def parameters(network: Plain, facts: Plain) -> int:
    """Weights of convolutions and dense layers; of a network from elsewhere roughly."""
    if network["kind"] in pretrained.KINDS:
        return pretrained.PARAMETERS
    architecture = layers.expand(network, facts)
    return layers.weights(architecture["layers"], tuple(architecture["input"]))
