"""vocabulary: the tokenizer learned from train, and train and validation in its pieces, cached."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.data import cache
from shoestring.tasks.translation import marian
from shoestring.tasks.translation.examples import Texts
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.ragged import Ragged
from shoestring.tasks.translation.tokenizer import Tokenizer, encoded, train

FORM = 2  # of what is cached; any change of learning or of segmentation raises it
NAME = "tokenizer.model"
_FEWEST, _MOST = 500, 16_000

Sides = tuple[Sequence[str], Sequence[str]]


class Vocabulary(NamedTuple):
    tokenizer: Tokenizer
    pieces: list[tuple[Ragged, Ragged]]  # source and target, for each split that was given
    longest: list[int]  # pieces of the longest source and target of train
    length: list[float]  # [a, b]: a target has about a + b times the pieces of its source


def prepared(
    fingerprint: str, options: TranslationOptions, splits: Sequence[Sides], progress: Progress
) -> Vocabulary:
    """Learned from the first split, which is train, or taken from elsewhere; read from the cache
    where it is there."""
    model = None if options.vocabulary is None else given(options.vocabulary)
    which = f"{options.pieces or 'auto'}" if model is None else hashlib.sha256(model).hexdigest()
    key = f"translation/pieces-{fingerprint}-{FORM}-{which}"
    folder = cache.existing(key)
    if folder is None:
        progress("learning a vocabulary", 0, 1)
        with cache.writing(key) as writing:
            _prepare(writing, options.pieces, model, splits)
        folder = cache.existing(key)
        assert folder is not None
        progress("learning a vocabulary", 1, 1)
    stored = json.loads((folder / "lengths.json").read_text("utf-8"))
    found = [
        (_read(folder, f"{i}.source"), _read(folder, f"{i}.target")) for i in range(len(splits))
    ]
    tokenizer = Tokenizer((folder / "tokenizer.model").read_bytes())
    return Vocabulary(tokenizer, found, stored["longest"], stored["length"])


def usual_size(characters: int) -> int:
    """Pieces for so many characters of train, both sides together: four times their
    square root, which gives 7,800 for Multi30k. docs/log.md compares with half as many."""
    return round(min(max(4 * math.sqrt(characters), _FEWEST), _MOST) / 100) * 100


def given(words: str) -> bytes:
    """The tokenizer of a run, of a bundle, or of a translator from elsewhere."""
    if words.startswith("hf:"):
        return marian.tokenizer(marian.folder(words))
    for place in (Path(words), Path(words) / "bundle"):
        if (place / NAME).is_file():
            return (place / NAME).read_bytes()
    if (Path(words) / marian.CONFIG).is_file():
        return marian.tokenizer(Path(words))
    raise DataError(f"vocabulary: {words} is no run and no bundle with a {NAME}")


def _prepare(
    folder: Path, pieces: int | None, model: bytes | None, splits: Sequence[Sides]
) -> None:
    texts = [[_all(side) for side in split] for split in splits]
    if model is None:
        learned = [*texts[0][0], *texts[0][1]]
        tokenizer = train(learned, pieces or usual_size(sum(map(len, learned))))
    else:
        tokenizer = Tokenizer(model)
    (folder / "tokenizer.model").write_bytes(tokenizer.model)
    train_pieces = []
    for i, split in enumerate(texts):
        for name, side in zip(("source", "target"), split, strict=True):
            found = encoded(tokenizer, side)
            np.save(folder / f"{i}.{name}.values.npy", found.values)
            np.save(folder / f"{i}.{name}.offsets.npy", found.offsets)
            train_pieces += [found] if i == 0 else []
    source, target = (found.lengths for found in train_pieces)
    stored = {"longest": [int(source.max()), int(target.max())], "length": _line(source, target)}
    (folder / "lengths.json").write_text(json.dumps(stored), "utf-8")


def _line(source: np.typing.NDArray[np.int64], target: np.typing.NDArray[np.int64]) -> list[float]:
    """Intercept and slope by least squares."""
    spread = float(source.var())
    slope = float(((source - source.mean()) * (target - target.mean())).mean()) / max(spread, 1e-9)
    return [round(float(target.mean()) - slope * float(source.mean()), 6), round(slope, 6)]


def _read(folder: Path, name: str) -> Ragged:
    return Ragged(
        np.load(folder / f"{name}.values.npy", mmap_mode="r"),
        np.load(folder / f"{name}.offsets.npy", mmap_mode="r"),
    )


def _all(texts: Sequence[str]) -> list[str]:
    return texts.all() if isinstance(texts, Texts) else list(texts)
