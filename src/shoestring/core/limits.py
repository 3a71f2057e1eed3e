"""limits: what a model has to keep to, in bytes, milliseconds and quality, and what is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any

from shoestring.core.errors import UserError
from shoestring.core.receipt import Scores

_BYTES = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}
_BYTES |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_MILLISECONDS = {"": 1.0, "us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1_000.0}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Zµ]*)", re.ASCII | re.IGNORECASE)
# The smallest graph of a network that answers anything is about 2.3 KB, and its manifest stands
# beside it; a call into the runtime alone takes some microseconds. Measured on one machine.
LEAST_BYTES = 3_000
LEAST_MS = 0.005


@dataclass(frozen=True)
class Limits:
    """What was asked of the bundle; None: nothing. The names are those of its scores."""

    size_bytes: int | None = None  # every file that is needed to predict, at most
    latency_ms: float | None = None  # median of one example on one thread, at most
    quality: float | None = None  # of the task's metric on validation, at least

    def __post_init__(self) -> None:
        if self.size_bytes is not None and self.size_bytes < LEAST_BYTES:
            raise UserError(
                f"max_size {self.size_bytes:,} bytes: no bundle is that small, for a graph without "
                f"any weights and its manifest take about {LEAST_BYTES:,}; ask for more"
            )
        if self.latency_ms is not None and self.latency_ms < LEAST_MS:
            raise UserError(
                f"max_latency {self.latency_ms:g} ms: calling any graph takes longer than "
                f"{LEAST_MS:g} ms; ask for more"
            )
        if self.quality is not None and not (isfinite(self.quality) and self.quality > 0):
            raise UserError(f"min_quality is above 0, not {self.quality:g}")

    @staticmethod
    def recorded(plain: Any) -> Limits:
        """Those of a receipt; without what is damaged there."""
        kept = Limits()
        for field in fields(Limits):
            value: Any = plain.get(field.name) if isinstance(plain, dict) else None
            if isinstance(value, (int, float)) and isfinite(value):
                change: dict[str, Any] = {field.name: value}
                with suppress(UserError):
                    kept = replace(kept, **change)
        return kept

    def __bool__(self) -> bool:
        return (self.size_bytes, self.latency_ms, self.quality) != (None, None, None)

    def told(self) -> tuple[str, ...]:
        """Each limit in words."""
        size = f"at most {self.size_bytes:,} bytes" if self.size_bytes is not None else ""
        late = f"at most {self.latency_ms:g} ms for one input" if self.latency_ms else ""
        least = f"a quality of at least {self.quality:g}" if self.quality is not None else ""
        return tuple(filter(None, (size, late, least)))

    def missed(self, scores: Scores) -> dict[str, float]:
        """By the name of each limit that the scores miss, by which factor (above 1) they do."""
        found = {}
        if self.size_bytes is not None and (scores.size_bytes or 0) > self.size_bytes:
            found["size_bytes"] = (scores.size_bytes or 0) / self.size_bytes
        latency = median(scores)
        if self.latency_ms is not None and latency is not None and latency > self.latency_ms:
            found["latency_ms"] = latency / self.latency_ms
        if self.quality is not None and (scores.quality or 0.0) < self.quality:
            found["quality"] = self.quality / max(scores.quality or 0.0, 1e-9)
        return found

    def ships(self, scores: Scores) -> bool:
        """Whether size and latency are kept to: what another choice can mend."""
        return not self.missed(scores).keys() - {"quality"}


def median(scores: Scores) -> float | None:
    """Milliseconds of one example, of the model alone."""
    found = scores.latency_ms.get("model")
    return None if found is None else float(found["median"])


def parse_bytes(text: str | float) -> int:
    """Bytes in `200KB`, `5MB`, `1.5MiB`, `50000`. UserError for anything else."""
    number = _parsed(text, _BYTES, "max_size", "200KB, 5MB")
    if number < 1:
        raise UserError(f"max_size {text!r} is less than a byte; write it like 200KB, 5MB")
    return int(number)


def parse_milliseconds(text: str | float) -> float:
    """Milliseconds in `2ms`, `500us`, `0.1s`, `2`. UserError for anything else."""
    number = _parsed(text, _MILLISECONDS, "max_latency", "2ms, 500us")
    if number <= 0:
        raise UserError(f"max_latency {text!r} must be above zero; write it like 2ms, 500us")
    return number


def parse_quality(text: str | float, perfect: float, metric: str) -> float:
    """A quality in the metric's own units: `0.9`, or `90%` of what a perfect answer has. UserError
    for anything else, and for more than perfect."""
    words = str(text).strip()
    try:
        share = words.endswith("%")
        value = float(words[:-1]) * perfect / 100 if share else float(words)
    except ValueError:
        raise UserError(f"min_quality {text!r} is not a number; write it like 0.9 or 90%") from None
    if not 0 < value <= perfect:
        meant = f"; write {words}% for so many hundredths" if perfect == 1 < value <= 100 else ""
        raise UserError(
            f"min_quality {text!r}: {metric} is above 0 and at most {perfect:g}, which is "
            f"perfect{meant}"
        )
    return value


def _parsed(
    text: str | float, units: dict[str, float] | dict[str, int], name: str, how: str
) -> float:
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text) if isfinite(text) else 0.0
    found = _NUMBER.fullmatch(str(text).strip())
    if found is None or found.group(2).lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise UserError(
            f"{name} {text!r} is not a number with a unit ({known}); write it like {how}"
        )
    return float(found.group(1)) * units[found.group(2).lower()]
