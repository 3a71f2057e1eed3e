"""defaults: what a recipe for pictures is filled in with, from the data and the seconds at hand."""

from __future__ import annotations

from dataclasses import replace

from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe

AUGMENT: Plain = {
    "shift": 0.0,  # of the side, at most, each way
    "rotation": 0.0,  # degrees, at most, each way
    "scale": 0.0,  # 0.1: between 1/1.1 and 1.1
    "shear": 0.0,  # of the side, at most, each way
    "flip": False,  # left to right; only where classes survive it
    "color": 0.0,  # brightness, contrast and, with colours, saturation: 0.2 is +-20%
    "erase": 0.0,  # side of a square that is set to grey, as a share of the picture's side
}


def completed(recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
    """Every field that the person left open, decided. Nothing that was said is changed."""
    network = recipe.network or {"kind": "compact"}
    classic = network["kind"] == "classic"
    hooks = list(recipe.hooks)
    chosen = {words.partition(":")[0] for words in hooks} | set(recipe.without)
    if not classic and "augment" not in chosen:
        hooks.append("augment:shift=0.036")
    return replace(
        recipe,
        network=network,
        hooks=tuple(hooks),
        optimizer=recipe.optimizer or ("adam" if classic else "muon"),
        learning_rate=recipe.learning_rate or (1e-4 if classic else 0.02),
        weight_decay=recipe.weight_decay if recipe.weight_decay is not None else 0.01,
        batch_size=recipe.batch_size or min(128, max(8, len(dataset.train) // 8)),
        schedule=recipe.schedule or "one_cycle",
        label_smoothing=recipe.label_smoothing if recipe.label_smoothing is not None else 0.1,
    )
