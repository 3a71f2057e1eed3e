"""reaching: what is said of a limit that a build did not reach, and what it would take."""

from __future__ import annotations

from collections.abc import Iterator

from shoestring import plugins
from shoestring.autopilot.build_record import Record
from shoestring.autopilot.knowledge import NO_TIME, Result
from shoestring.core.limits import Limits, median
from shoestring.core.quantity import plain_quality
from shoestring.core.run import Run

MOST_TIMES = 50.0  # of the budget: what would take longer is not a matter of time


def missed(run: Run, record: Record) -> str:
    """One paragraph where the finished run misses a limit; "" where it keeps to all."""
    scores = run.scores
    if scores is None or not record.limits.missed(scores):
        return ""
    found = [
        f"{scores.metric} {plain_quality(scores.quality or 0.0, scores.metric)}",
        f"{scores.size_bytes:,} bytes",
    ]
    latency = median(scores)
    found += [f"{latency:.3f} ms"] if latency is not None else []
    asked = ", ".join(record.limits.told())
    takes = "; ".join(_takes(run, record))
    return (
        f"not reachable within this budget: asked was {asked}; the nearest was "
        f"{', '.join(found)}, which lies at {run.path}. {takes}"
    )


def _takes(run: Run, record: Record) -> Iterator[str]:
    limits, scores = record.limits, run.scores
    assert scores is not None
    factors = limits.missed(scores)
    late = [one.name for one in record.results if one.failure == NO_TIME]
    if late:
        yield f"a longer budget leaves time for {' and '.join(late)}"
    if "size_bytes" in factors:
        yield f"for these bytes give --max-size {(scores.size_bytes or 0) // 1000 + 1}KB"
    if "latency_ms" in factors:
        yield f"for this latency give --max-latency {1.1 * (median(scores) or 0.0):.3f}ms"
    if "quality" in factors:
        yield _quality(run, record)


def _quality(run: Run, record: Record) -> str:
    """By the power law of errors over time, between the first fit and the last."""
    limits, scores = record.limits, run.scores
    assert scores is not None
    assert limits.quality is not None
    task = plugins.task(run.task)
    wrong, allowed = task.perfect - (scores.quality or 0.0), task.perfect - limits.quality
    larger = _larger(record.results, limits)
    if larger is not None and (limits.size_bytes or limits.latency_ms):
        quality = plain_quality(larger.quality or 0.0, task.metric)
        return (
            f"the {larger.name} reached {quality} on the examples that decide, with "
            f"{larger.size_bytes:,} bytes: allow these, or ask for less quality"
        )
    seconds = record.budget_seconds
    if allowed > 0 and seconds:
        times = (wrong / allowed) ** (1 / task.learning_power)
        if times <= MOST_TIMES:
            return (
                f"if errors go on to fall as they usually do with time, it takes a budget of about "
                f"{_duration(times * seconds)}; otherwise more or cleaner data "
                f"(shoestring diagnose {run.path})"
            )
    return (
        "more time alone will not do: it takes more or cleaner data "
        f"(shoestring diagnose {run.path}), or a lower limit"
    )


def _larger(results: tuple[Result, ...], limits: Limits) -> Result | None:
    """A result that keeps to the quality and misses size or latency."""
    assert limits.quality is not None
    for one in results:
        if not one.ships and (one.quality or 0.0) >= limits.quality:
            return one
    return None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.1f}h"
