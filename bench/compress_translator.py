"""compress_translator: a translator in whole numbers, and a smaller one that learned from it.

    python bench/compress_translator.py [--budget 10m] [--keep FOLDER]

A translator of ten minutes ships in floats, then in int8; another network is taught by its
translations of the training sources (Kim & Rush 2016), loses units, trains on, and ships in int8.
Chosen on validation; each of the three bundles opens the test split once. Decoding is timed in
turns, each bundle in a process of its own without torch, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from _figures import HERE, Figures, arguments, child, spread, verdict
from _lineage import Training, first, line_of, shown, size, then
from _shipped import Outcomes, answers
from _translation import OPTIONS, SOURCE, WAYS, Way, lines

from shoestring import plugins
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Interval
from shoestring.core.run import Run
from shoestring.engine import evidence

INT8_BYTES, INT8_LOST = 3_600_000, 0.2
SMALL_BYTES, SMALL_LOST, SMALL_FASTER = 1_600_000, 1.0, 1.8
TIMED: tuple[Way, ...] = ((64, 5), (1, 5), (64, 1), (1, 1))


def main() -> None:
    parser = arguments("A translator in int8, and a small one taught by it.", 1, "lineages")
    parser.add_argument("--budget", default="10m", help="of the first training")
    parser.add_argument("--steps", type=int, help="of the first training, instead of its budget")
    parser.add_argument("--network", default="lstm", help="of the first training")
    parser.add_argument("--pieces", type=int, default=4_000, help="that both networks write with")
    parser.add_argument("--student", default="lstm-small", metavar="NETWORK")
    parser.add_argument("--distill", default="level=sequence,epochs=12", metavar="OPTIONS")
    parser.add_argument("--prune", default="ratio=0.25,epochs=4", metavar="OPTIONS")
    parser.add_argument("--rounds", type=int, default=3, help="of decoding, in turns")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_translator", given)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as temporary:
        for seed in range(given.seeds):
            home = (given.keep or Path(temporary)) / f"{seed}"
            found, summary[f"{seed}"] = _lineage(home, seed, figures, given)
            rows += found
    head = ["seed", "what", "bytes", "BLEU on test", "gain over floats, 95%", "faster", "asked"]
    figures.finish(head, rows, summary)


def _lineage(
    home: Path, seed: int, figures: Figures, given: argparse.Namespace
) -> tuple[list[list[str]], dict[str, Any]]:
    training = Training(
        SOURCE,
        given.network,
        seed,
        {"budget": given.budget} if given.steps is None else {"steps": given.steps},
        {**OPTIONS, "pieces": given.pieces, "ship": "float32"},
        {"techniques": []},
    )
    whole = first(training, home / "whole", given)
    light = then("quantize:method=dynamic", whole, home / "int8", given)
    student = then(
        f"distill:student={given.student},{given.distill}", whole, home / "student", given
    )
    pruned = then(f"prune:{given.prune}", student, home / "pruned", given)
    small = then("quantize:method=dynamic,want=size", pruned, home / "small", given)
    every = {"floats": whole, "int8": light, "small": small}
    graded = {name: answers(run) for name, run in every.items()}
    seconds = _decoded(every, home, given)
    told = {name: _gain(graded["floats"], graded[name], whole) for name in ("int8", "small")}
    ratios = {
        name: {
            WAYS[way]: spread([a / b for a, b in zip(seconds["int8"][way], one, strict=True)])
            for way, one in seconds[name].items()
        }
        for name in every
    }
    faster = {name: median(one.median for one in found.values()) for name, found in ratios.items()}
    said = {
        "floats": "",
        "int8": "; ".join(
            [
                verdict(size(light) <= INT8_BYTES, "at most 3.6 MB"),
                verdict(told["int8"].value >= -INT8_LOST, "at most 0.2 BLEU lost"),
            ]
        ),
        "small": "; ".join(
            [
                verdict(size(small) <= SMALL_BYTES, "at most 1.6 MB"),
                verdict(told["small"].value >= -SMALL_LOST, "at most 1.0 BLEU lost"),
                verdict(faster["small"] >= SMALL_FASTER, "1.8 times faster than int8"),
            ]
        ),
    }
    runs = {**every, "student": student, "pruned": pruned}
    values = {
        "bleu": {name: _bleu(one, whole) for name, one in graded.items()},
        "gains": {name: to_plain(one) for name, one in told.items()},
        "faster_than_int8": {
            name: {way: asdict(one) for way, one in found.items()} for name, found in ratios.items()
        },
        "said": {name: line_of(run).reason for name, run in runs.items() if name != "floats"},
        "runs": shown(**runs),
    }
    figures.line("lineage", {"seed": seed, **values})
    rows = [
        [
            f"{seed}",
            name,
            f"{size(run):,}",
            f"{values['bleu'][name]:.2f}",
            _between(told[name]) if name in told else "",
            f"{faster[name]:.2f}",
            said[name],
        ]
        for name, run in every.items()
    ]
    return rows, values


def _decoded(
    every: dict[str, Run], home: Path, given: argparse.Namespace
) -> dict[str, dict[Way, list[float]]]:
    """Seconds of each way for each bundle, which take turns."""
    text = home / "test.en"
    text.write_text("".join(f"{line}\n" for line in lines("en")), encoding="utf-8")
    found: dict[str, dict[Way, list[float]]] = {n: {way: [] for way in TIMED} for n in every}
    for _ in range(1 if given.quick else given.rounds):
        for name, run in every.items():
            words: list[str | Path] = [sys.executable, HERE / "_one_decode.py", run.path, text]
            words += [home / "answers" / name, *(f"{batch}-{beam}" for batch, beam in TIMED)]
            for one in child(words, "decoding with a bundle").found:
                found[name][one["batch"], one["beam"]] += one["seconds"]
    return found


def _gain(before: Outcomes, after: Outcomes, run: Run) -> Interval:
    return evidence.paired(before, after, plugins.task(run.task))


def _bleu(outcomes: Outcomes, run: Run) -> float:
    return float(plugins.task(run.task).scores(outcomes, run.facts).quality or 0.0)


def _between(interval: Interval) -> str:
    return f"{interval.value:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


if __name__ == "__main__":
    main()
