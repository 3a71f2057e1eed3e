"""again: the commands that make a run again, as a person types them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoestring import plugins
from shoestring.core.receipt import Plain
from shoestring.report.sheet import Sheet


def commands(sheet: Sheet) -> str:
    """What makes the same weights again; of a build also what measures and decides anew."""
    again = f"shoestring train --recipe {shlex.quote(sheet.path)} --out again"
    if not sheet.decisions or sheet.recipe is None:
        return again
    words = ["shoestring build", shlex.quote(sheet.recipe.source)]
    words += [f"--budget {sheet.asked_seconds:g}s"] if sheet.asked_seconds else []
    words += _limits(sheet)
    words += _asked(sheet.asked)
    return f"{again}\n{' '.join(words)}  # measures and decides anew"


def _limits(sheet: Sheet) -> Iterator[str]:
    asked = sheet.limits
    if asked.size_bytes is not None:
        yield f"--max-size {asked.size_bytes}"
    if asked.latency_ms is not None:
        yield f"--max-latency {asked.latency_ms:g}ms"
    if asked.quality is not None:
        yield f"--min-quality {asked.quality:g}"


def _asked(asked: Plain) -> Iterator[str]:
    """What else a build was told: options of its task, techniques, network, seed, threads."""
    for name, value in _mapping(asked.get("options")).items():
        yield _option(name, value)
    for flag, key in (("--with", "techniques"), ("--without", "without")):
        for words in _list(asked.get(key)):
            yield f"{flag} {shlex.quote(str(words))}"
    network = _mapping(asked.get("network"))
    if network:
        yield f"--network {shlex.quote(plugins.spelled(network))}"
    for name in ("seed", "threads"):
        if asked.get(name):
            yield f"--{name} {asked[name]}"


def _option(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {shlex.quote(str(value))}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
