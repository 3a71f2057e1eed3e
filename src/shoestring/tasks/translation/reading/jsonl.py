"""jsonl: sentence pairs as JSON objects, one a line: by language, or as source and target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.core.errors import DataError
from shoestring.data.names import printable
from shoestring.tasks.translation.languages import known, matches
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import Broken, first_lines, lines, one_line, spoiled

_NAMES = (("source", "target"), ("src", "tgt"), ("src", "trg"))
_INNER = "translation"  # {"translation": {"en": ..., "de": ...}} is how some hubs write it


def languages(path: Path) -> Sequence[str]:
    """Of the first object, in its order; none where the keys are source and target."""
    _, first = _first(first_lines(path))
    return [] if _by_name(first) is not None else _codes(first)


def plausible(path: Path) -> bool:
    """Whether one of the first lines has two sides."""
    return bool(_first(first_lines(path))[1])


def _first(every: Sequence[str]) -> tuple[int, Mapping[str, Any]]:
    """The first object with two sides and its line; lines before it may be broken."""
    for number, line in enumerate(every, 1):
        found = _object(line) or {}
        if _by_name(found) is not None or len(_codes(found)) > 1:
            return number, found
    return 0, {}


def _codes(found: Mapping[str, Any]) -> list[str]:
    codes = [known(key) for key, value in found.items() if isinstance(value, str)]
    return [code for code in codes if code is not None]


def read(path: Path, source: str, target: str, stop: bool) -> Pairs:
    """Raises DataError where the first object has no such languages."""
    broken = Broken(path, stop)
    every = lines(path, broken)
    at, first = _first(every)
    keys = (_by_name(first) or _by_language(first, source, target, path, at)) if first else None
    sources, targets = [], []
    for number, line in enumerate(every, 1):
        pair = ("", "")
        if line.strip():
            found = _object(line)
            if found is not None and keys is None:
                keys = _by_name(found) or _by_language(found, source, target, path, number)
            texts = [found.get(key) for key in keys] if found is not None and keys else []
            if len(texts) == 2 and isinstance(texts[0], str) and isinstance(texts[1], str):
                reason = spoiled(texts[0]) or spoiled(texts[1])
                if reason:
                    broken.add(number, reason)
                else:
                    pair = one_line(texts[0]), one_line(texts[1])
            else:
                needs = (
                    f"text under {' and '.join(map(repr, keys))}" if keys else "source and target"
                )
                broken.add(number, f"no JSON object with {needs}: {line[:40]!r}")
        sources.append(pair[0])
        targets.append(pair[1])
    return Pairs(sources, targets, range(1, len(every) + 1), printable(path.name), broken.reasons)


def _object(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get(_INNER), dict):
        found = found[_INNER]
    return found if isinstance(found, dict) else None


def _by_name(found: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((names for names in _NAMES if all(name in found for name in names)), None)


def _by_language(
    found: Mapping[str, Any], source: str, target: str, path: Path, number: int
) -> tuple[str, str]:
    codes = {key: code for key in found if (code := known(key)) is not None}
    chosen = []
    for wanted in (source, target):
        exact = [key for key, code in codes.items() if code == wanted]
        near = [key for key, code in codes.items() if matches(code, wanted)]
        if not exact and not near:
            has = ", ".join(printable(key) for key in found) or "no key"
            raise DataError(
                f"{printable(str(path))}, line {number:,}: no text of {wanted!r}; the object "
                f"has {has}. Its keys should be language codes, or source and target"
            )
        chosen.append((exact or near)[0])
    return chosen[0], chosen[1]
