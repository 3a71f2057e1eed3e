"""intervals: confidence intervals that need nothing but counts."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from shoestring.core.receipt import Interval


def wilson(right: float, total: int, confidence: float = 0.95) -> Interval:
    """The score interval of a proportion (Wilson 1927), which holds near 0 and 1 as well."""
    if total <= 0:
        return Interval(0.0, 0.0, 1.0, confidence, "Wilson")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), confidence, "Wilson")
