"""tiny: a small, learnable source of this task, for the contract that all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.core.protocols import Batch

# and small options for each network
NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"embedding": 24, "encoder_units": 16, "decoder_units": 32, "dropout": 0.1},
    "transformer": {
        "units": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "heads": 2,
        "feed_forward": 64,
    },
    "marian": {
        "units": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "heads": 2,
        "feed_forward": 64,
    },
}
RECIPE: dict[str, Any] = {
    "network": {"kind": "lstm", "embedding": 24, "encoder_units": 16, "decoder_units": 32},
    "learning_rate": 0.01,
    "batch_size": 128,  # target pieces
}
BUNDLE = {"encoder.onnx", "decoder.onnx", "greedy.onnx", "forced.onnx", "weights.bin"}
BUNDLE |= {"whole.onnx", "tokenizer.model"}
WORDS = {
    "one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf",
    "red": "rot", "blue": "blau", "old": "alt", "new": "neu", "small": "klein",
    "dog": "Hund", "cat": "Katze", "tree": "Baum", "house": "Haus", "child": "Kind",
}  # fmt: skip


def pairs(count: int = 240, seed: int = 0) -> list[tuple[str, str]]:
    """Rows of two to four words, each with one translation, in the same order; all different."""
    draws, words, found = np.random.default_rng(seed), list(WORDS), dict[str, str]()
    while len(found) < count:
        row = [words[i] for i in draws.integers(0, len(words), int(draws.integers(2, 5)))]
        found[" ".join(row)] = " ".join(WORDS[word] for word in row)
    return list(found.items())


def write(folder: Path) -> Path:
    """A source with train and validation that some tens of steps learn."""
    path = folder / "words.tsv"
    rows = ["en\tde", *("\t".join(pair) for pair in pairs())]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def rows(batch: Batch) -> Sequence[Any]:
    """What each example of a batch became, one tensor an example, without padding."""
    lengths = batch.inputs.lengths_B.tolist()
    return [row[:length] for row, length in zip(batch.inputs.source_BS, lengths, strict=True)]


def asked(folder: Path) -> list[str]:
    """Words after `predict BUNDLE` that stand for two inputs."""
    file = folder / "in.txt"
    file.write_text("one red dog\n", encoding="utf-8")
    return [str(file), "two old trees"]
