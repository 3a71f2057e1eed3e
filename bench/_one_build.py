"""_one_build: one `shoestring build` or `train` as a person runs it, and what its bundle answers.

    python bench/_one_build.py RUN FOLDER      answers the test split of FOLDER

The answers come from a process that opened the bundle and nothing else. The last line printed is a
JSON object: answers, the median of milliseconds for one input, the bundle's bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _figures import HERE, child, environment

LIMITS_MISSED = 7  # the exit code of a build that ships the nearest it came to its limits
TIMED = 50  # sentences, translated one by one


@dataclass(frozen=True)
class Built:
    """What became of a command with a budget."""

    seconds: float  # of the whole process, interpreter and imports included
    code: int
    said: str  # the last of what it printed, where it failed

    @property
    def shipped(self) -> bool:
        """Whether it promises that a bundle is there, within its limits or not."""
        return self.code in (0, LIMITS_MISSED)


def built(
    verb: str,
    source: str | Path,
    budget: float,
    out: Path,
    *words: str,
    core: int | None = None,
) -> Built:
    """`budget` in seconds. The clock is outside of the process. `core`: the only one that the
    process and its children may use."""
    bound = [] if core is None else ["taskset", "-c", str(core)]
    whole = [
        *bound,
        sys.executable,
        "-m",
        "shoestring",
        verb,
        str(source),
        "--budget",
        f"{budget:.1f}s",
    ]
    began = time.perf_counter()
    done = subprocess.run(
        [*whole, "--out", str(out), "--quiet", *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    return Built(seconds, done.returncode, (done.stderr or done.stdout).strip()[-2000:])


def asked(run: Path, folder: Path) -> dict[str, Any]:
    """What the bundle of a run answers to the test split of a folder."""
    found: dict[str, Any] = child(
        [sys.executable, Path(__file__).resolve(), run, folder], "a bundle"
    ).found
    return found


def test_lines(folder: Path) -> tuple[list[str], list[str]]:
    """Sources and references of the test split of a language pair."""
    languages = json.loads((folder / "made.json").read_text(encoding="utf-8"))["languages"]
    one, other = (
        (folder / f"test.{language}").read_text(encoding="utf-8").splitlines()
        for language in languages
    )
    return one, other


def _answered(run: Path, folder: Path) -> dict[str, Any]:
    import shoestring

    bundle = shoestring.load(run)
    size = shoestring.verify(run)["size_bytes"]
    if (folder / "test").is_dir():
        sys.path.insert(0, os.fspath(HERE / "peers" / "pictures"))
        import _peer

        def labels(pictures: Sequence[Path]) -> list[str]:
            return [str(found["label"]) for found in bundle.predict([str(p) for p in pictures])]

        return {**_peer.answers(labels, _peer.test_pictures(folder)), "size_bytes": size}
    sources, _ = test_lines(folder)
    answers = [str(found["translations"][0]["text"]) for found in bundle.predict(sources)]
    spent = []
    for source in sources[:TIMED]:
        began = time.perf_counter()
        bundle.predict([source])
        spent.append(1000 * (time.perf_counter() - began))
    return {"answers": answers, "latency_ms": median(spent), "size_bytes": size}


if __name__ == "__main__":
    print(json.dumps(_answered(Path(sys.argv[1]), Path(sys.argv[2]))))
