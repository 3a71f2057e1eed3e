"""vocabulary: the tokenizer learned from train, and train and validation in its pieces, cached."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shoestring.core.protocols import Progress
from shoestring.data import cache
from shoestring.tasks.translation.examples import Texts
from shoestring.tasks.translation.ragged import Ragged
from shoestring.tasks.translation.tokenizer import Tokenizer, encoded, train

FORM = 1  # of what is cached; any change of learning or of segmentation raises it
_FEWEST, _MOST = 500, 16_000

Sides = tuple[Sequence[str], Sequence[str]]


class Vocabulary(NamedTuple):
    tokenizer: Tokenizer
    pieces: list[tuple[Ragged, Ragged]]  # source and target, for each split that was given
    longest: list[int]  # pieces of the longest source and target of train
    length: list[float]  # [a, b]: a target has about a + b times the pieces of its source


def prepared(
    fingerprint: str, pieces: int | None, splits: Sequence[Sides], progress: Progress
) -> Vocabulary:
    """Learned from the first split, which is train; read from the cache where it is there."""
    key = f"translation/pieces-{fingerprint}-{FORM}-{pieces or 'auto'}"
    folder = cache.existing(key)
    if folder is None:
        progress("learning a vocabulary", 0, 1)
        with cache.writing(key) as writing:
            _prepare(writing, pieces, splits)
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
    """Pieces for so many characters of train, both sides together: twice their square root,
    which gives 3,900 for Multi30k."""
    return round(min(max(2 * math.sqrt(characters), _FEWEST), _MOST) / 100) * 100


def _prepare(folder: Path, pieces: int | None, splits: Sequence[Sides]) -> None:
    texts = [[_all(side) for side in split] for split in splits]
    learned = [*texts[0][0], *texts[0][1]]
    tokenizer = train(learned, pieces or usual_size(sum(map(len, learned))))
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
