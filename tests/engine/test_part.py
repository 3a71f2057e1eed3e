"""Parts of a data set: nested shares, the same validation, a closed test split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoestring.core.errors import DataError
from shoestring.engine.part import part_of, shared
from tests import tiny


def test_shares_are_nested_balanced_and_drawn_by_the_seed(tmp_path: Path) -> None:
    _, dataset = tiny.prepared(tmp_path / "run", tiny.write_npz(tmp_path / "bars.npz"))
    labels = np.asarray(dataset.train.labels)  # type: ignore[attr-defined]
    quarter, half = (shared(dataset.train, labels, share, 0) for share in (0.25, 0.5))
    assert set(quarter.tolist()) < set(half.tolist())
    counts = np.bincount(labels[quarter], minlength=tiny.CLASSES)
    assert counts.max() - counts.min() <= 1
    assert not np.array_equal(quarter, shared(dataset.train, labels, 0.25, 1))
    assert np.array_equal(shared(dataset.train, labels, 1.0, 0), np.arange(len(dataset.train)))
    assert len(shared(dataset.train, None, 0.5, 0)) == -(-len(dataset.train) // 2)


def test_a_part_keeps_validation_and_closes_test(tmp_path: Path) -> None:
    _, dataset = tiny.prepared(tmp_path / "run", tiny.write_npz(tmp_path / "bars.npz"))
    part = part_of(dataset, np.array([0, 5, 9]))
    assert len(part.train) == 3
    assert part.validation is dataset.validation
    assert part.facts == dataset.facts
    with pytest.raises(DataError, match="a part"):
        part.test()
