"""calibration: the ranges of feature maps, measured on pictures, for steps of a byte.

A range that holds every value has wide steps, one that cuts a few has narrow ones; the methods
differ in what they weigh. Values are counted in histograms of fixed bins.
Shapes: B pictures, H height, W width, C channels, S bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.core.protocols import Examples
from shoestring.core.quantizing import CALIBRATION, LAYERS
from shoestring.core.receipt import Plain
from shoestring.tasks.images import graph, integers
from shoestring.tasks.images.integers import LEVELS, Range

if TYPE_CHECKING:
    import torch

    from shoestring.tasks.images.data import ImageExamples

CALIBRATIONS = ("minmax", "percentile", "mse", "entropy")
OUTSIDE = 1e-4  # of the values, that percentile cuts in all
BINS = 2048
_AT_ONCE_BYTES = 1 << 26  # of feature maps of one layer, roughly
_SHARES = np.linspace(0.3, 1.0, 71)  # of the ends, that mse and entropy try
_NONE = 1e-12  # a share of values where there are none, for logarithms
# Of pictures that were counted, the graph and what came of it: methods are compared on the same.
_COUNTED: WeakKeyDictionary[ImageExamples, tuple[bytes, dict[str, Histogram]]] = WeakKeyDictionary()


@dataclass
class Histogram:
    """How often values lie where."""

    range: Range
    counts_S: NDArray[np.int64]

    @property
    def centers(self) -> NDArray[np.float64]:
        """(S,) the middle of each bin."""
        edges = np.linspace(self.range.low, self.range.high, len(self.counts_S) + 1)
        found: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
        return found


def calibrated(
    model: torch.nn.Module, facts: Plain, examples: Examples, wanted: Plain
) -> dict[str, object]:
    """The quantization with the ranges of what each layer reads and gives, where its method needs
    them. UserError for a method or a calibration that is not known, and where there is nothing to
    measure on."""
    settings = integers.Settings.of(wanted)
    if settings.method == "none":
        return dict(wanted)
    calibration = wanted.get(CALIBRATION, CALIBRATIONS[0])
    if calibration not in CALIBRATIONS:
        raise UserError(f"calibration is one of {', '.join(CALIBRATIONS)}, not {calibration!r}")
    taps = integers.Taps()
    data = graph.written(model, facts, taps)
    if settings.method != "static":
        return {**wanted, LAYERS: {name: [] for name in taps.taps}}
    found = {
        name: range_of(histogram, calibration)
        for name, histogram in _counted(data, facts, cast("ImageExamples", examples)).items()
    }
    layers = {name: [*found[read], *found[given]] for name, (read, given) in taps.taps.items()}
    return {**wanted, CALIBRATION: calibration, LAYERS: layers}


def _counted(data: bytes, facts: Plain, pictures: ImageExamples) -> dict[str, Histogram]:
    """The histograms, once for a graph and the same pictures."""
    known = _COUNTED.get(pictures)
    if known is None or known[0] != data:
        known = data, histograms(data, facts, pictures)
        _COUNTED[pictures] = known
    return known[1]


def histograms(data: bytes, facts: Plain, pictures: ImageExamples) -> dict[str, Histogram]:
    """Of each output of a graph but the first, over all pictures: first where they end, then how
    they lie between."""
    import onnxruntime

    if not len(pictures):
        raise UserError("there are no pictures to measure the ranges of feature maps on")
    if list(pictures.size) != list(facts["size"]):
        raise UserError(
            f"pictures of {pictures.size[0]}x{pictures.size[1]} cannot stand for those that the "
            f"network reads, of {facts['size'][0]}x{facts['size'][1]}"
        )
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()][1:]
    ends: dict[str, Range] = {}
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    at_once = max(1, min(64, _AT_ONCE_BYTES // (256 * pictures.values_each)))
    for number in range(2):
        for _, pixels_BHWC in pictures.chunks(at_once):
            maps = session.run(names, {"pixels": np.ascontiguousarray(pixels_BHWC)})
            for name, values in zip(names, maps, strict=True):
                if number == 0:
                    low, high = ends.get(name, Range(0.0, 0.0))
                    least, most = float(values.min()), float(values.max())
                    ends[name] = Range(min(low, least), max(high, most))
                else:
                    counts[name] += np.histogram(values, BINS, ends[name])[0]
    if not all(np.isfinite(range_).all() for range_ in ends.values()):
        raise UserError("the network gives numbers that are not finite; train it again")
    return {name: Histogram(ends[name], counts[name]) for name in names}


def range_of(histogram: Histogram, calibration: str) -> Range:
    """The range that a byte should stand for.

    minmax: all of the values. percentile: all but OUTSIDE of them. mse: the least squared error of
    values rounded and cut. entropy: of what is known of a value once it was rounded and cut, the
    most (Kullback-Leibler divergence; Migacz 2017, "8-bit inference with TensorRT").
    """
    if not histogram.counts_S.any() or histogram.range.low == histogram.range.high:
        return histogram.range
    if calibration == "minmax":
        return histogram.range
    if calibration == "percentile":
        return _percentile(histogram)
    judge = _squared_error if calibration == "mse" else _divergence
    tried = [Range(*(share * end for end in histogram.range)) for share in _SHARES[::-1]]
    return min(tried, key=lambda range_: judge(histogram, range_))  # the widest of equal ones


def _percentile(histogram: Histogram) -> Range:
    share_S = np.cumsum(histogram.counts_S) / histogram.counts_S.sum()
    low = int(np.searchsorted(share_S, OUTSIDE / 2, side="right"))
    high = int(np.searchsorted(share_S, 1 - OUTSIDE / 2))
    centers_S = histogram.centers
    return Range(min(0.0, float(centers_S[low])), max(0.0, float(centers_S[high])))


def _squared_error(histogram: Histogram, range_: Range) -> float:
    steps, centers_S = integers.steps_of(range_), histogram.centers
    whole_S = np.clip(np.rint(centers_S / steps.scale) + steps.zero, 0, LEVELS)
    rounded_S = (whole_S - steps.zero) * steps.scale
    return float((histogram.counts_S * (centers_S - rounded_S) ** 2).sum())


def _divergence(histogram: Histogram, range_: Range) -> float:
    """Of the values as they are, those outside counted at the ends, from what the levels of a byte
    tell of them: the values inside, each level spread evenly over its bins that hold any."""
    steps, centers_S = integers.steps_of(range_), histogram.centers
    inside_S = (centers_S >= range_.low) & (centers_S <= range_.high)
    counts_S = histogram.counts_S.astype(np.float64)
    whole_S = np.clip(np.rint(centers_S / steps.scale) + steps.zero, 0, LEVELS).astype(np.int64)
    level_S = whole_S[inside_S]
    within_S = counts_S[inside_S]
    held_S = within_S > 0
    total = np.bincount(level_S, within_S, LEVELS + 1)
    bins = np.bincount(level_S, held_S, LEVELS + 1)
    told_S = np.where(held_S, (total / np.maximum(bins, 1))[level_S], 0.0)
    true_S = within_S.copy()
    true_S[0] += counts_S[centers_S < range_.low].sum()
    true_S[-1] += counts_S[centers_S > range_.high].sum()
    if not told_S.any():
        return float("inf")
    p_S, q_S = true_S / true_S.sum(), told_S / told_S.sum()
    some_S = p_S > 0
    return float((p_S[some_S] * np.log(p_S[some_S] / np.maximum(q_S[some_S], _NONE))).sum())
