"""choosing: which of a build's results ships."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from shoestring.autopilot.knowledge import FIRST, PROBE, Result
from shoestring.core.errors import RunError
from shoestring.core.limits import Limits

NOISE = 1.0  # standard errors of a quality: what lies within is told apart by its loss


def best(results: Sequence[Result], limits: Limits) -> tuple[Result, str]:
    """The result that ships, and why: of those within the limits of size and latency the best on
    the examples that decide; where none is, the one that misses them least."""
    done = [r for r in results if not r.failure and r.quality is not None and r.bundled]
    if not done:
        reasons = "; ".join(f"{one.name}: {one.failure}" for one in results)
        raise RunError(f"no step came to a bundle: {reasons or 'none was begun'}")
    within = [one for one in done if one.ships]
    if not within:
        found = min(done, key=lambda one: _excess(one, limits))
        return found, "none keeps to the limits; this one is the nearest"
    found = within[0]
    for one in within[1:]:
        if _better(one, found):
            found = one
    of_those = ", of those within the limits" if limits else ""
    if len(within) == 1:
        return found, "the only one within the limits" if limits else "the only one"
    others = [one for one in within if one is not found and not _apart(one, found)]
    if not others:
        return found, f"the best on the examples that decide{of_those}"
    names = " and ".join(one.name for one in others)
    how = "the longer fit" if any(map(_is_short, others)) else "the lower loss"
    return found, (
        f"not told apart from the {names} on {found.deciding} examples that decide{of_those}; "
        f"{how} goes first"
    )


def _is_short(result: Result) -> bool:
    """Whether it is what to fall back on, or made of it."""
    return FIRST in (result.name, *result.step.on)


def _apart(one: Result, other: Result) -> bool:
    return abs((one.quality or 0.0) - (other.quality or 0.0)) > noise(other)


def _better(one: Result, other: Result) -> bool:
    """Whether the later of two ships instead: by quality; what lies within the noise of few
    examples is told apart by its loss, where there is one. The first fit, which is the shortest,
    does not stay for noise."""
    a, b = one.quality or 0.0, other.quality or 0.0
    if not _apart(one, other):
        if _is_short(other) and not _is_short(one) and one.name != PROBE:
            return True
        if one.loss is not None and other.loss is not None:
            return one.loss < other.loss
    return a > b


def noise(result: Result) -> float:
    """What a quality may be off by chance, where it is a share of right answers; Agresti & Coull
    1998 for shares near to 0 and 1."""
    quality, count = result.quality or 0.0, result.deciding
    if quality > 1.0:
        return 0.0
    share = (quality * count + 2) / (count + 4)
    return NOISE * sqrt(share * (1 - share) / (count + 4))


def _excess(one: Result, limits: Limits) -> float:
    size = one.size_bytes / limits.size_bytes if limits.size_bytes else 0.0
    late = (one.latency_ms or 0.0) / limits.latency_ms if limits.latency_ms else 0.0
    return max(1.0, size) * max(1.0, late)
