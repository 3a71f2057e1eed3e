"""part: a data set with some of the training examples of another one. No torch.

Shapes: B examples of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.protocols import Dataset, Examples
from shoestring.core.receipt import Finding, Plain
from shoestring.data import split

DECIDING = 3  # one of so many validation examples is there to decide on


def decided(count: int) -> NDArray[np.bool_]:
    """(B,) which of so many validation examples decisions are made on; gains are measured on the
    others."""
    found: NDArray[np.bool_] = np.arange(count) % DECIDING == 0
    return found


@dataclass
class Part:
    """A Dataset to train on some of another's examples. What the whole fixed stays: its labels,
    its vocabulary, its facts. Its test split stays closed."""

    train: Examples
    validation: Examples
    facts: Plain
    fingerprint: str
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    def test(self) -> Examples:
        raise DataError("a part of a data set is there to train on; open the test split of all")


def part_of(
    dataset: Dataset, positions: NDArray[np.int64], validation: Examples | None = None
) -> Part:
    """The examples of train at these rising positions, beside the same validation split."""
    return Part(
        dataset.train.part(positions),
        dataset.validation if validation is None else validation,
        dataset.facts,
        dataset.fingerprint,
        files=dataset.files,
    )


def shared(
    examples: Examples, labels_B: NDArray[np.int64] | None, share: float, seed: int
) -> NDArray[np.int64]:
    """Rising positions of about this share of the examples, of each label where there are any.
    With one seed a larger share holds the smaller one."""
    hashes_B = np.asarray(examples.hashes)
    labels = np.zeros(len(hashes_B), np.int64) if labels_B is None else labels_B
    keep_B = split.keep_per_label(labels, hashes_B, None, share, seed)
    return np.flatnonzero(keep_B)
