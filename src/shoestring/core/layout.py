"""layout: how the processes of a fit divide its work between them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from math import prod

_AXIS = re.compile(r"([a-z]+)(\d+)", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """How many ways each thing is divided; as many processes as their product.

    Ranks count the last axis fastest, so that processes that speak most are neighbours.
    """

    data: int = 1  # each batch; every process has the whole model
    fsdp: int = 1  # each batch, and every weight with its gradient and the optimizer's state
    pipeline: int = 1  # the layers, one after the other
    tensor: int = 1  # each large matrix

    def __post_init__(self) -> None:
        cut = [f.name for f in fields(self) if getattr(self, f.name) > 1]
        if any(getattr(self, f.name) < 1 for f in fields(self)):
            raise ValueError("each axis of a mesh is a number from 1")
        if len(cut) > 2 or (len(cut) == 2 and ("data" not in cut or "pipeline" in cut)):
            raise ValueError(
                f"a mesh is of one axis, or of data with tensor or fsdp, not {self.words}"
            )

    @property
    def workers(self) -> int:
        return prod(getattr(self, f.name) for f in fields(self))

    @property
    def parts(self) -> int:
        """Of each batch."""
        return self.data * self.fsdp

    @property
    def uncut(self) -> bool:
        """Whether every process has the whole model."""
        return self.workers == self.data

    @property
    def words(self) -> str:
        """`data2xtensor2`; as `parsed` reads it."""
        cut = [f"{f.name}{n}" for f in fields(self) if (n := getattr(self, f.name)) > 1]
        return "x".join(cut) or "data1"

    @staticmethod
    def parsed(words: str) -> Layout:
        """Raises ValueError for anything that is no mesh."""
        names = [f.name for f in fields(Layout)]
        found: dict[str, int] = {}
        for piece in words.split("x"):
            match = _AXIS.fullmatch(piece)
            if match is None or match[1] not in names or match[1] in found:
                raise ValueError(
                    f"mesh is written like data2xtensor2, of {', '.join(names)}, not {words!r}"
                )
            found[match[1]] = int(match[2])
        return Layout(**found)
