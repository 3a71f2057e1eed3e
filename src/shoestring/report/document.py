"""document: values as one JSON document, for programs."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from shoestring.core.plain import to_plain

_NOT_ASCII = re.compile(r"[^\n -~]")


def json_text(value: Any, ascii_only: bool = False) -> str:
    """Strict JSON of plain values and dataclasses; it knows no NaN and no infinity, so that null
    stands for both. Letters of every script stand as they are, unless the reader takes ASCII
    only; what cannot be printed, and could be an order to a terminal, is escaped."""
    text = json.dumps(_finite(to_plain(value)), indent=1, allow_nan=False, ensure_ascii=ascii_only)
    return _NOT_ASCII.sub(lambda found: _visible(found[0]), text)


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value
