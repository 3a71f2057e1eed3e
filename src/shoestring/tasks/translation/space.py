"""space: what is worth searching in a recipe for text, and between which bounds. No torch."""

from __future__ import annotations

from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe
from shoestring.core.space import Range
from shoestring.tasks.translation.architecture import USUAL

RATES_BELOW, RATES_ABOVE = 10.0, 5.0  # times the usual rate
BATCHES = (128, 256, 512, 1024, 2048, 4096)  # target pieces
SIZES = (0.5, 0.75, 1.0, 1.5)  # times the usual units
LAYERS = (1, 2, 3, 4, 6)
WIDTH = "network size"
# What one factor multiplies; heads divide all of these.
UNITS = {
    "lstm": ("embedding", "encoder_units", "decoder_units"),
    "transformer": ("units", "feed_forward"),
}


def ranges(recipe: Recipe, dataset: Dataset) -> tuple[Range, ...]:
    """Around the values of a complete recipe."""
    rate, batch = recipe.learning_rate or 3e-3, recipe.batch_size or 1024
    batches = tuple(b for b in BATCHES if batch / 4 <= b <= 4 * batch)
    found = [Range("learning_rate", rate / RATES_BELOW, rate * RATES_ABOVE, log=True)]
    found += [Range("batch_size", choices=batches)] if len(batches) > 1 else []
    found += _network(recipe)
    found.append(Range("weight_decay", 1e-4, 0.3, log=True))
    words = recipe.hook("augment") or ""
    if not words or "bpe_dropout=" in words:
        # Not to zero: without options `augment` is the usual one.
        found.append(Range("augment.bpe_dropout", 0.01, 0.25))
    return tuple(found)


def _network(recipe: Recipe) -> list[Range]:
    """Weights that come from elsewhere have their sizes."""
    kind = str(recipe.network.get("kind"))
    found = [Range("network.dropout", 0.0, 0.4)]
    started = recipe.hook("transfer") is not None
    if kind not in UNITS or started:
        return found
    full = {**USUAL[kind], **recipe.network}
    scales = {f"network.{name}": int(full[name]) for name in UNITS[kind]}
    found.append(Range(WIDTH, choices=SIZES, scales=scales))
    layers = int(full["encoder_layers"])
    near = tuple(n for n in LAYERS if layers / 2 <= n <= 2 * layers)
    return [*found, Range("network.encoder_layers", choices=near)]
