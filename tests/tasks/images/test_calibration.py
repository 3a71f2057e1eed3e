"""Ranges of feature maps, measured on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoestring import plugins
from shoestring.core.errors import UserError
from shoestring.core.quantizing import CALIBRATION, LAYERS, METHOD
from shoestring.tasks.images import calibration
from shoestring.tasks.images.calibration import Histogram, calibrated, range_of
from shoestring.tasks.images.integers import Range
from tests import tiny


def test_methods_are_compared_on_pictures_that_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", count=60)
    run, dataset = tiny.prepared(tmp_path / "run", source)
    network = plugins.task(run.task).network("compact")
    model = network.build(network.architecture(run.recipe.network, run.facts)).eval()
    counted: list[bytes] = []
    real = calibration.histograms
    monkeypatch.setattr(
        calibration, "histograms", lambda data, *rest: counted.append(data) or real(data, *rest)
    )
    found = {
        name: calibrated(model, run.facts, dataset.train, {METHOD: "static", CALIBRATION: name})
        for name in calibration.CALIBRATIONS
    }
    assert len(counted) == 1
    assert {one[CALIBRATION] for one in found.values()} == set(calibration.CALIBRATIONS)
    wide, narrow = found["minmax"][LAYERS], found["percentile"][LAYERS]
    assert wide.keys() == narrow.keys()  # type: ignore[attr-defined]  # plain values
    part = dataset.train.part(np.arange(10))
    calibrated(model, run.facts, part, {METHOD: "static"})  # others are counted anew
    assert len(counted) == 2
    next(model.parameters()).data.mul_(2)
    calibrated(model, run.facts, part, {METHOD: "static"})  # and so is another network
    assert len(counted) == 3
    facts = {**run.facts, "size": [9, 9]}
    with pytest.raises(UserError, match=r"of 12x12 cannot stand for those .* of 9x9"):
        calibration.histograms(b"", facts, dataset.train)


def test_a_range_that_cuts_leaves_the_far_values_out() -> None:
    counts = np.zeros(calibration.BINS, np.int64)
    counts[:100], counts[-1] = 10_000, 1
    histogram = Histogram(Range(0.0, 1.0), counts)
    assert range_of(histogram, "minmax") == (0.0, 1.0)
    for name in ("percentile", "mse"):
        assert range_of(histogram, name).high < 0.7
