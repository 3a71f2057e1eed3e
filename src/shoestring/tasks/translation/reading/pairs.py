"""pairs: what a reader of any format gives: sources and targets with the places they stand at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shoestring.core.receipt import Finding


@dataclass(frozen=True)
class Pairs:
    """N pairs of one part of the data, in order; a broken one has empty texts."""

    sources: list[str]
    targets: list[str]
    lines: Sequence[int]  # (N,) where each stands: a line, or the number of a unit, from 1
    where: str  # the file, for messages
    broken: Mapping[int, str] = field(default_factory=dict)  # reasons, by line
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)
