"""document: values as one JSON document, for programs."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from shoestring.core.plain import to_plain


def json_text(value: Any) -> str:
    """Strict JSON of plain values and dataclasses; it knows no NaN and no infinity, so that null
    stands for both."""
    return json.dumps(_finite(to_plain(value)), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value
