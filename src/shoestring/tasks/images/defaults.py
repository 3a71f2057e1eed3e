"""defaults: what a recipe for pictures is filled in with, from the data and the seconds at hand.

The figures were found on validation splits of MNIST and sign-digits; docs/log.md has the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shoestring.core.machine import cores
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe, name_of
from shoestring.tasks.images import layers, pretrained

AUGMENT: Plain = {
    "shift": 0.0,  # of the side, at most, each way
    "rotation": 0.0,  # degrees, at most, each way
    "scale": 0.0,  # 0.1: between 1/1.1 and 1.1
    "shear": 0.0,  # of the side, at most, each way
    "elastic": 0.0,  # how far points of the picture move by themselves, of the side, each way
    "flip": None,  # left to right, half of them: "yes", "no", "auto" (found on validation)
    "color": 0.0,  # brightness, contrast and, with colours, saturation: 0.2 is +-20%
    "erase": 0.0,  # side of a square that is set to grey, as a share of the picture's side
    "policy": None,  # "rand" or "trivial": operations drawn for each picture
    "operations": 2,  # that RandAugment draws
    "strength": None,  # of the usual ranges, or of the policy's; 1 is the usual
    "mixup": 0.0,  # alpha of the Beta distribution of a second picture's share
    "cutmix": 0.0,  # the same, of a box of a second picture
}
# Width, and the pictures that a fit must see for it to pay. Measured on MNIST: 16 wins up to two
# epochs, 24 at two, 48 above five. Small sets are seen often and saturate earlier.
WIDTHS = ((24, 130e3), (32, 200e3), (48, 400e3), (64, 1.5e6))
SMALL_WIDTHS = ((24, 40e3), (32, 55e3))
SMALL = 20_000  # training pictures, below which a set is small
SMALL_PHOTOS = 5_000  # training pictures, below which weights from elsewhere are the usual start
PHOTO_SIDE = 48  # pixels, below which pictures are taken to be no photos
# Below it a network of our own gets further. Counted at CORE_RATE, of which thin convolutions
# reach a fifth: these are about 20.
FEWEST_PRETRAINED_EPOCHS = 100.0
PRETRAINED_RATE = 2e-3  # of a network whose weights come from elsewhere
PROBE_RATE = 1e-2  # where its last part alone learns, a new matrix on features that stay
CORE_RATE = 80e9  # floating-point operations a second of a fit on one core; a guess to size by
AFFINE_EPOCHS = 4.0  # below it, shifting alone was as good and is cheaper
LONG_EPOCHS = 10.0  # assumed where only steps or nothing was said


def completed(recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
    """Every field that the person left open, decided. Nothing that was said is changed."""
    count = len(dataset.train)
    if _starts_elsewhere(recipe, dataset, count, seconds):
        start = f"transfer:start={pretrained.EFFICIENTNET}"
        network = {**recipe.network, "kind": pretrained.EFFICIENTNET}
        recipe = replace(recipe, network=network, hooks=(*recipe.hooks, start))
    network = {"kind": "compact", **recipe.network}
    if network["kind"] == "compact" and "width" not in network:
        network["width"] = _width(recipe, dataset, count, seconds)
    usual = _augment(dataset.facts, _epochs(recipe, network, dataset, seconds))
    hooks = [_written_out(words, usual, dataset) for words in recipe.hooks]
    if network["kind"] == "classic":
        return _classic(replace(recipe, hooks=tuple(hooks)))
    from_elsewhere = network["kind"] in pretrained.KINDS
    gentle = PROBE_RATE if any(map(_is_probe, hooks)) else PRETRAINED_RATE
    chosen = {name_of(words) for words in hooks} | set(recipe.without)
    if "augment" not in chosen:
        hooks.append(_words(usual))
    return _filled(
        replace(recipe, network=network, hooks=tuple(hooks)),
        optimizer="adamw" if from_elsewhere else "muon",
        learning_rate=gentle if from_elsewhere else 0.01,
        weight_decay=0.01,
        # At least some tens of steps an epoch, or small sets see too few.
        batch_size=min(128, max(8, 2 ** ((count // 24).bit_length() - 1))),
        label_smoothing=0.1,
        schedule="one_cycle",
    )


def _is_probe(words: str) -> bool:
    """Whether a technique's words freeze all but the last part."""
    name, _, rest = words.partition(":")
    return name == "transfer" and "freeze=all" in rest.split(",")


def _classic(recipe: Recipe) -> Recipe:
    """The textbook's own: Adam, a constant small rate, batches of 50, nothing else."""
    return _filled(
        recipe,
        optimizer="adam",
        learning_rate=1e-4,
        weight_decay=0.0,
        batch_size=50,
        label_smoothing=0.0,
        schedule="constant",
    )


def _filled(
    recipe: Recipe,
    *,
    optimizer: str,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    label_smoothing: float,
    schedule: str,
) -> Recipe:
    said = recipe
    return replace(
        recipe,
        optimizer=said.optimizer or optimizer,
        learning_rate=said.learning_rate or learning_rate,
        weight_decay=weight_decay if said.weight_decay is None else said.weight_decay,
        batch_size=said.batch_size or batch_size,
        label_smoothing=label_smoothing if said.label_smoothing is None else said.label_smoothing,
        schedule=said.schedule or schedule,
    )


def _width(recipe: Recipe, dataset: Dataset, count: int, seconds: float | None) -> int:
    """The widest network that still sees enough pictures."""
    best = 16
    for width, needed in SMALL_WIDTHS if count < SMALL else WIDTHS:
        network = {"kind": "compact", **recipe.network, "width": width}
        seen = _epochs(recipe, network, dataset, seconds) * count
        if seen >= needed:
            best = width
    return best


def _epochs(recipe: Recipe, network: Plain, dataset: Dataset, seconds: float | None) -> float:
    """Passes over the data that the fit will have, roughly."""
    if recipe.epochs is not None:
        return recipe.epochs
    count = max(1, len(dataset.train))
    if recipe.steps is not None:
        return recipe.steps * (recipe.batch_size or 128) / count
    if seconds is None:
        return LONG_EPOCHS
    forward = _macs(network, dataset.facts)
    rate = CORE_RATE * (recipe.threads or cores())
    return seconds * rate / (2 * 3 * forward) / count


def _starts_elsewhere(recipe: Recipe, dataset: Dataset, count: int, seconds: float | None) -> bool:
    """Whether to begin with weights from elsewhere where nothing was said: on a small set of
    photos, with the weights at hand and the time to go through the set a few times."""
    chosen = {name_of(words) for words in recipe.hooks} | set(recipe.without)
    photos = dataset.facts["channels"] == 3 and min(dataset.facts["size"]) >= PHOTO_SIDE
    named = set(recipe.network) - {"dropout"}  # which both networks have, and `regularize` sets
    if named or "transfer" in chosen or not photos or count >= SMALL_PHOTOS:
        return False
    network = {"kind": pretrained.EFFICIENTNET}
    return pretrained.installed() and (
        _epochs(recipe, network, dataset, seconds) >= FEWEST_PRETRAINED_EPOCHS
    )


def _macs(network: Plain, facts: Plain) -> int:
    """Multiply-accumulates for one picture, roughly for a network from elsewhere."""
    if network["kind"] in pretrained.KINDS:
        height, width = pretrained.expand(network, facts)["entry"]["size"]
        return int(pretrained.MACS_A_PIXEL * height * width)
    architecture = layers.expand(network, facts)
    return layers.macs(architecture["layers"], tuple(architecture["input"]))


def _augment(facts: Plain, epochs: float) -> Plain:
    """The default augmentation; it never flips, for a flipped 2 is no 2."""
    usual = {"shift": round(1 / 28, 3)}
    if epochs < AFFINE_EPOCHS:
        return usual
    usual |= {"rotation": 10.0, "scale": 0.1, "shear": 0.1}
    return {**usual, "color": 0.2} if facts["channels"] == 3 else usual


def _written_out(words: str, usual: Plain, dataset: Dataset) -> str:
    """A technique's words with everything decided that `augment` leaves open: without options it
    is the usual one; with a strength, the usual ranges times it, but for those that were named;
    and whether classes survive a flip is looked up. The words of others stay."""
    name, _, rest = words.partition(":")
    if name != "augment":
        return words
    said: dict[str, Any] = dict(piece.split("=", 1) for piece in rest.split(",") if piece)
    if not said:
        said = dict(usual)
    elif "strength" in said and "policy" not in said:
        strength = float(said.pop("strength"))
        said = {n: round(value * strength, 4) for n, value in usual.items()} | said
    if said.get("flip") == "auto":
        from shoestring.tasks.images import flip

        said["flip"] = "yes" if flip.survives(dataset) else "no"
    return _words(said)


def _words(options: Plain) -> str:
    """Options of `augment` as they are written on a command line."""
    return "augment:" + ",".join(f"{name}={options[name]}" for name in AUGMENT if name in options)
