"""space: what is worth searching in a recipe for pictures, and between which bounds. No torch."""

from __future__ import annotations

from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe
from shoestring.core.space import Range
from shoestring.tasks.images.defaults import AUGMENT

RATES_BELOW, RATES_ABOVE = 30.0, 10.0  # times the usual rate
BATCHES = (8, 16, 32, 64, 128, 256, 512)
FEWEST_BATCHES = 8  # of an epoch
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96)
STRENGTH = "augmentation strength"
# Ranges that a strength multiplies; the other options of `augment` are no ranges.
SCALED = ("shift", "rotation", "scale", "shear", "elastic", "color", "erase", "strength")


def ranges(recipe: Recipe, dataset: Dataset) -> tuple[Range, ...]:
    """Around the values of a complete recipe."""
    rate = recipe.learning_rate or 0.01
    batch = recipe.batch_size or 64
    most = max(batch, len(dataset.train) // FEWEST_BATCHES)
    batches = tuple(b for b in BATCHES if batch / 4 <= b <= min(4 * batch, most))
    found = [Range("learning_rate", rate / RATES_BELOW, rate * RATES_ABOVE, log=True)]
    found += [Range("batch_size", choices=batches)] if len(batches) > 1 else []
    found += _network(recipe)
    found.append(Range("weight_decay", 1e-4, 0.3, log=True))
    scales = _augmentation(recipe)
    return (*found, Range(STRENGTH, 0.25, 2.5, log=True, scales=scales)) if scales else (*found,)


def _network(recipe: Recipe) -> list[Range]:
    """Weights that come from elsewhere have their sizes."""
    kind = recipe.network.get("kind")
    started = recipe.hook("transfer") is not None
    found = []
    if kind in ("compact", "plain") and not started:
        width = recipe.network.get("width", 16)
        near = tuple(w for w in WIDTHS if width / 2 <= w <= 2 * width)
        found += [Range("network.width", choices=near)] if len(near) > 1 else []
    if kind == "compact" and not started:
        found.append(Range("network.depth", choices=(1, 2)))
    if kind in ("compact", "plain", "classic"):
        found.append(Range("network.dropout", 0.0, 0.5))
    return found


def _augmentation(recipe: Recipe) -> dict[str, float]:
    """The ranges of the recipe's augmentation, that are not zero."""
    words = recipe.hook("augment") or ""
    pieces = [piece.partition("=") for piece in words.partition(":")[2].split(",") if piece]
    said = {name: value for name, _, value in pieces}
    if "policy" in said and "strength" not in said:
        said["strength"] = "1.0"
    found = {name: float(said[name]) for name in SCALED if name in said and name in AUGMENT}
    return {f"augment.{name}": value for name, value in found.items() if value}
