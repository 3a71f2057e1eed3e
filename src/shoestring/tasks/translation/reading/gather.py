"""gather: reads the parts that are wanted and puts their pairs one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoestring.core.receipt import Finding
from shoestring.data.names import counted
from shoestring.tasks.translation.asked import sentence
from shoestring.tasks.translation.reading import direction, formats, moses
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.sources import Part
from shoestring.tasks.translation.rows import Mask, Rows

_SHOWN = 1_000  # broken lines that are listed: something to work from


def gather(
    parts: Sequence[Part], source: str, target: str, stop: bool
) -> tuple[Rows, Mask, list[Finding]]:
    """All pairs, which of them (N,) could be read, and what was found. With `stop` a line that
    cannot be read raises DataError."""
    read = [_read(part, source, target, stop) for part in parts]
    rows = Rows(
        [sentence(text) for pairs in read for text in pairs.sources],
        [text.strip() for pairs in read for text in pairs.targets],
        np.concatenate([np.asarray(pairs.lines, np.int64) for pairs in read]),
        np.repeat(np.arange(len(read)), [len(pairs) for pairs in read]),
        [pairs.where for pairs in read],
    )
    good = np.ones(len(rows), np.bool_)
    findings = [finding for pairs in read for finding in pairs.findings]
    reasons, start = [], 0
    for pairs in read:
        if pairs.broken:
            bad = np.isin(np.asarray(pairs.lines), list(pairs.broken))
            good[start : start + len(pairs)] = ~bad
            reasons += [f"{pairs.where}, line {n:,}: {w}" for n, w in sorted(pairs.broken.items())]
        start += len(pairs)
    if reasons:
        could = ("line could not be read and was", "lines could not be read and were")
        message = f"{counted(len(reasons), *could)} left out"
        shown = tuple(reasons[:_SHOWN])
        findings.append(Finding("broken", len(reasons), message, shown, dropped=len(reasons)))
    return rows, good, findings


def _read(part: Part, source: str, target: str, stop: bool) -> Pairs:
    if part.kind == "aligned":
        files = direction.files(part, source, target)
        return moses.read(files[0], files[1], stop)
    return formats.read(part.kind, part.files[""], source, target, stop)
