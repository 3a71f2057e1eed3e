"""_peer: what the scripts of this folder share: their words, test pictures, timed answers.

Each has two verbs, so that what ships is what answers:

    train  --data FOLDER --seconds S --seed N --out OUT     leaves OUT/ship
    answer --data FOLDER --out OUT                          opens OUT/ship, answers all of test

The last line printed is a JSON object. FOLDER holds train, validation and test, each with a folder
for every class. Between `# user` and `# end` stands what a user writes, which is counted. It needs
no other package, because it is read in every peer's environment.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

TIMED = 50  # pictures, answered one by one


@dataclass(frozen=True)
class Asked:
    data: Path
    out: Path
    seconds: float  # of the whole process
    seed: int
    began: float  # on the monotonic clock

    @property
    def ship(self) -> Path:
        """The folder of what a user would hand on."""
        return self.out / "ship"

    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.monotonic() - self.began)


def test_pictures(data: Path) -> list[Path]:
    return sorted((data / "test").glob("*/*.png"), key=Path.as_posix)


def side(data: Path) -> int:
    """Of the pictures, in pixels; those of a set have one size."""
    header = test_pictures(data)[0].read_bytes()[:24]
    return int.from_bytes(header[16:20], "big")


def run(
    train: Callable[[Asked], dict[str, Any]],
    opened: Callable[[Asked], Callable[[Sequence[Path]], list[str]]],
) -> None:
    """`opened` gives a function from pictures to labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["train", "answer"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    asked = Asked(given.data, given.out, given.seconds, given.seed, time.monotonic() - _age())
    if given.verb == "train":
        asked.ship.mkdir(parents=True)
        found = train(asked)
    else:
        found = answers(opened(asked), test_pictures(given.data))
    print("\n" + json.dumps(found))


def answers(ask: Callable[[Sequence[Path]], list[str]], pictures: list[Path]) -> dict[str, Any]:
    """All answers, and the median of milliseconds from one file to its label."""
    said = ask(pictures)
    spent = []
    for picture in pictures[:TIMED]:
        began = time.perf_counter()
        ask([picture])
        spent.append(1000 * (time.perf_counter() - began))
    return {"answers": said, "latency_ms": median(spent)}


def _age() -> float:
    """Seconds since this process began: imports are on the clock too."""
    try:
        import os

        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return 0.0
