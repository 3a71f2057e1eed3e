"""words: figures as people read them, the same wherever they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from shoestring.core.quantity import last_word, plain_quality
from shoestring.core.receipt import Interval, Plain

T = TypeVar("T")

# What is a share of a whole and so is shown in percent; anything else is shown as it is.
_SHARES = ("accuracy", "precision", "recall", "f1", "coverage", "match")
_ZEROS = re.compile(r"\.?0+(?=\D*$)")  # after the last digit that says something


def is_share(metric: str) -> bool:
    return last_word(metric) in _SHARES


def quality(value: float, metric: str) -> str:
    if is_share(metric):
        return f"{100 * value:.2f}%"
    return plain_quality(value, metric) if abs(value) < 1 else f"{value:.2f}"


def gain(interval: Interval, metric: str, unit: bool = True) -> str:
    """`+0.31 [+0.12, +0.50]`; for shares in percentage points, which `unit` says."""
    scale, points = (100, " points" * unit) if is_share(metric) else (1, "")
    low, high = signed(scale * interval.low), signed(scale * interval.high)
    return f"{signed(scale * interval.value)}{points} [{low}, {high}]"


def signed(number: float, digits: int = 2) -> str:
    """With its sign; what rounds to nothing is +0, for a -0 reads as a loss."""
    return f"{round(number, digits) + 0.0:+.{digits}f}"


def count(number: float) -> str:
    return f"{number:,}"


def duration(seconds: float) -> str:
    """`0.4 s`, `58.3 s`, `5 min 12 s`, `2 h 05 min`."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def size(size_bytes: float, signed: bool = False) -> str:
    """`312 B`, `373.1 KB`, `12.6 MB`, in powers of 1000."""
    sign = "+" if signed and size_bytes > 0 else ""
    if abs(size_bytes) < 1000:
        return f"{sign}{size_bytes:.0f} B"
    for unit in ("KB", "MB", "GB"):
        size_bytes /= 1000
        if abs(size_bytes) < 999.95 or unit == "GB":
            break
    return f"{sign}{size_bytes:.1f} {unit}"


def short(words: str) -> str:
    """A figure without the zeros at its end: `60 KB` for `60.0 KB`, as people ask for it."""
    return _ZEROS.sub("", words) if "." in words else words


def milliseconds(value: float, signed: bool = False) -> str:
    sign = "+" if signed and value > 0 else ""
    digits = 3 if abs(value) < 10 else 1
    return f"{sign}{value:.{digits}f} ms"


def visible(text: str) -> str:
    """On one line and harmless, whatever is in it: a file's name may hold a line's end, and a
    foreign bundle's words what a terminal takes for orders."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def harmless(text: str) -> str:
    """Text in any script as it is, with its tabs, but on one line, and without what a terminal
    takes for orders. Unlike `visible` it keeps letters that are seen only by what they do to
    others, without which some scripts are misspelt."""
    if text.isprintable():
        return text
    return "".join(c if c == "\t" or _is_harmless(c) else _escaped(c) for c in text)


def _is_harmless(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def all_visible(value: T) -> T:
    """The same of every string inside plain values and dataclasses."""
    found: Any = value
    if isinstance(value, str):
        found = visible(value)
    elif isinstance(value, Mapping):
        found = {all_visible(name): all_visible(inner) for name, inner in value.items()}
    elif isinstance(value, (list, tuple)):
        found = type(value)(map(all_visible, value))
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(
            value, **{f.name: all_visible(getattr(value, f.name)) for f in fields(value)}
        )
    return cast(T, found)


def verified(found: Plain) -> str:
    """What `verify` found, in a sentence."""
    golden = found["golden"]
    return (
        f"{found['path']} is as it was made: {len(found['files'])} files with the sizes and hashes "
        f"that it lists, {size(found['size_bytes'])} needed to predict; {golden['inputs']} golden "
        f"inputs answered within {golden['tolerance']:.0e} "
        f"(largest difference {golden['max_difference']:.1e})"
    )
