"""defaults: what a recipe for parallel text is filled in with, from the data and the seconds.

The figures were found on the validation split of Multi30k; docs/log.md has the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.machine import cores
from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe
from shoestring.tasks.translation.architecture import KINDS, USUAL
from shoestring.tasks.translation.examples import TranslationExamples

BPE_DROPOUT = 0.1  # the usual share of merges left out
AUGMENT: Plain = {
    "strength": None,  # of the usual changes; 1 is the usual
    "bpe_dropout": 0.0,  # share of merges left out, so that words fall into other pieces
    "word_dropout": 0.0,  # share of pieces made unknown
    "case": 0.0,  # share of the sources in capitals, half of them, or in small letters
    "swap": 0.0,  # share of the source's words that change places with the next
    "back_translate": None,  # a run of the other direction, which writes sources for targets
    "monolingual": None,  # text of the target language for it; None: the targets of train
    "synthetic": None,  # key of the pairs that it made
}
BATCH, LEAST_BATCH = 1024, 256  # target pieces
# Steps that a fit has at the least, if need be with batches down to the least: 100,000 pieces of
# `dates` in 100, 200 and 400 steps gave 0.4, 41 and 96% exact.
STEPS = 1_000
RATES = {"lstm": 5e-3, "transformer": 3e-3, "marian": 3e-4}
BETA2, CLIP, WARM_UP = 0.98, 1.0, 0.1
# Of a transformer of 3,000 steps 34.5 greedy BLEU at two thirds, AdamW 32.0; an LSTM gains nothing.
OPTIMIZERS = {"transformer": "muon"}
# Dropout from so many epochs on. At 1.6 epochs of the LSTM none beat 0.1 beat 0.2, by 1.5 BLEU
# each; where the steps lie is a judgement.
DROPOUT = {
    "lstm": ((0.0, 0.0), (3.0, 0.1), (20.0, 0.2)),
    "transformer": ((0.0, 0.1), (20.0, 0.15)),
}
CORE_RATE = 4500.0  # target pieces a second of a fit on one core; a guess to count epochs by
AROUND_SECONDS = 60.0  # of a budget, that a fit does not have, and at most half of it
LONG_EPOCHS = 10.0  # assumed where only the data were said


def completed(recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
    """Every field that the person left open, decided. Nothing that was said is changed."""
    kind = recipe.network.get("kind", KINDS[0])
    pieces = _target_pieces(dataset)
    batch_size = recipe.batch_size or _batch_size(recipe, pieces, seconds)
    network: dict[str, Any] = {"kind": kind, **recipe.network}
    if kind in DROPOUT and "dropout" not in network:
        epochs = _epochs(recipe, batch_size, pieces, seconds)
        network["dropout"] = [share for since, share in DROPOUT[kind] if epochs >= since][-1]
    hooks = tuple(_written_out(words) for words in recipe.hooks)
    return _filled(
        replace(recipe, network=network, hooks=hooks),
        optimizer=OPTIMIZERS.get(kind, "adamw"),
        learning_rate=RATES[kind if kind in USUAL else KINDS[0]],
        batch_size=batch_size,
    )


def _written_out(words: str) -> str:
    """A technique's words with what `augment` leaves open decided: without options it is the usual
    one; with a strength, the usual one times it, where it was not named. Those of others stay."""
    name, _, rest = words.partition(":")
    if name != "augment":
        return words
    said = dict(piece.split("=", 1) for piece in rest.split(",") if piece)
    if not said:
        said = {"bpe_dropout": str(BPE_DROPOUT)}
    elif "strength" in said:
        strength = float(said.pop("strength"))
        if BPE_DROPOUT * strength > 1:
            raise UserError(
                f"augment: strength={strength:g} would leave out more than all merges; the usual "
                f"share is {BPE_DROPOUT}, so strength is at most {1 / BPE_DROPOUT:g} for text"
            )
        said = {"bpe_dropout": f"{round(BPE_DROPOUT * strength, 4):g}", **said}
    return "augment:" + ",".join(f"{name}={said[name]}" for name in AUGMENT if name in said)


def _target_pieces(dataset: Dataset) -> int:
    """Of the train split, with an end for each sentence."""
    train = dataset.train
    assert isinstance(train, TranslationExamples)
    return len(train.target_pieces.values) + len(train)


def _batch_size(recipe: Recipe, pieces: int, seconds: float | None) -> int:
    """The usual one; smaller where a fit is so short that it would see too few batches."""
    found = BATCH
    expected = []  # pieces that the fit will see
    if recipe.steps is None and recipe.epochs is not None:
        expected.append(recipe.epochs * pieces)
    # How many a GPU takes in these seconds is not known here.
    if recipe.steps is None and seconds is not None and recipe.device in ("auto", "cpu"):
        fit = max(seconds / 2, seconds - AROUND_SECONDS)
        expected.append(_epochs(replace(recipe, epochs=None), found, pieces, fit) * pieces)
    if expected:
        steps = min(expected) / (recipe.accumulate or 1)
        while found > LEAST_BATCH and steps / found < STEPS:
            found //= 2
    # At least some tens of steps an epoch, or small sets see too few.
    return min(found, max(128, pieces // 32))


def _epochs(recipe: Recipe, batch_size: int, pieces: int, seconds: float | None) -> float:
    """Passes over the data that the fit will have, roughly."""
    if recipe.steps is not None:
        return recipe.steps * batch_size / max(1, pieces)
    if recipe.epochs is not None:
        return recipe.epochs
    if seconds is None:
        return LONG_EPOCHS
    return seconds * CORE_RATE * (recipe.threads or cores()) / max(1, pieces)


def epochs(recipe: Recipe, dataset: Dataset, seconds: float | None) -> float:
    """Passes over the data in so many seconds, roughly."""
    return _epochs(recipe, recipe.batch_size or BATCH, _target_pieces(dataset), seconds)


def _filled(recipe: Recipe, *, optimizer: str, learning_rate: float, batch_size: int) -> Recipe:
    said = recipe
    return replace(
        recipe,
        optimizer=said.optimizer or optimizer,
        learning_rate=said.learning_rate or learning_rate,
        weight_decay=0.01 if said.weight_decay is None else said.weight_decay,
        batch_size=said.batch_size or batch_size,
        label_smoothing=0.1 if said.label_smoothing is None else said.label_smoothing,
        schedule=said.schedule or "one_cycle",
        warm_up=WARM_UP if said.warm_up is None else said.warm_up,
        clip=CLIP if said.clip is None else said.clip,
        beta2=said.beta2 or BETA2,
    )
