"""help_time: seconds until `shoestring --help` and every verb's help have answered.

    python bench/help_time.py

Whole processes, from their start to their end. They take turns with `python -c pass`, the least
that any command written in Python can take.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _figures import Figures, arguments, environment, spread

from shoestring import cli

AIM = 0.3


def main() -> None:
    parser = arguments("Seconds of every --help.", 10, "rounds over all commands")
    given = parser.parse_args()
    figures = Figures("help_time", given)
    command = _command()
    asked: dict[str, list[str]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "shoestring --help": [*command, "--help"],
    }
    for verb in cli.commands.commands:
        asked[f"shoestring {verb} --help"] = [*command, verb, "--help"]
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for words in asked.values():
        _seconds(words)  # bytecode and page cache
    for turn in range(2 if given.quick else given.seeds):
        for name, words in asked.items():
            taken[name].append(_seconds(words))
            figures.line("help", {"command": name, "round": turn, "seconds": taken[name][-1]})
    rows = []
    bare = spread(taken["python -c pass"]).median
    for name, seconds in taken.items():
        found = spread(seconds)
        verdict = "met" if found.median <= AIM else "MISSED"
        aim = f"{AIM} s: {verdict}" if name.endswith("--help") else "-"
        rows.append([name, found.text(), f"{found.median - bare:.3f}", aim])
    head = ["command", "seconds: median (range)", "above python's own", "aim"]
    figures.finish(head, rows, {name: spread(seconds) for name, seconds in taken.items()})


def _command() -> list[str]:
    """The installed command beside this Python, else the module."""
    script = Path(sys.executable).with_name("shoestring")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "shoestring"]


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(COLUMNS="100"),
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{words[-2:]} failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return seconds


if __name__ == "__main__":
    main()
