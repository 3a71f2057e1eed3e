"""compress_tiny: the fewest bytes for an accuracy on MNIST, normalisation inside.

    python bench/compress_tiny.py [--only 99.4|99.0]

A network `tiny` is trained in floats, and trained on with its weights rounded to the few bits that
ship. Shapes and lengths were chosen on validation and by the bytes of graphs alone; each finished
run opens its test split once. What counts is the file model.onnx and the mean over seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, spread, verdict
from _lineage import Training, first, line_of, shown, then
from _shipped import answers, graph_bytes


@dataclass(frozen=True)
class Goal:
    """An accuracy, and the bytes that it may take."""

    accuracy: float
    most: int  # bytes
    aim: int  # bytes
    network: str
    epochs: float  # in floats
    quantize: str


AUGMENT = ["augment:shift=0.036"]  # affine changes ask more of a few thousand weights
GOALS: Mapping[str, Goal] = {
    "99.4": Goal(
        0.994, 8_000, 6_000, "tiny:width=10", 12, "quantize:method=qat,bits=4,want=size,epochs=3"
    ),
    "99.0": Goal(
        0.990, 4_600, 3_000, "tiny:width=8", 8, "quantize:method=qat,bits=4,want=size,epochs=3"
    ),
}


def main() -> None:
    parser = arguments("The fewest bytes for an accuracy on MNIST.", 3)
    parser.add_argument("--only", choices=tuple(GOALS), action="append")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_tiny", given, given.only)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as temporary:
        folder = given.keep or Path(temporary)
        for name in given.only or GOALS:
            row, summary[name] = _concluded(name, figures, folder, given)
            rows.append(row)
    head = ["network", "bits", "model.onnx, bytes", "test accuracy", "in floats, validation", ""]
    figures.finish(head, rows, summary)


def _concluded(
    name: str, figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[str], dict[str, Any]]:
    goal = GOALS[name]
    found: list[float] = []
    floats: list[float] = []
    sizes: list[int] = []
    for seed in range(given.seeds):
        home = folder / f"tiny-{name}-{seed}"
        training = Training(
            "mnist", goal.network, seed, {"epochs": goal.epochs}, recipe={"techniques": AUGMENT}
        )
        whole = first(training, home / "whole", given)
        small = then(goal.quantize, whole, home / "small", given)
        assert whole.scores is not None
        found.append(float(answers(small)["right"].mean()))
        floats.append(whole.scores.quality or 0.0)
        sizes.append(graph_bytes(small))
        told = {"goal": name, "seed": seed, "model_bytes": sizes[-1], "test": found[-1]}
        told |= {"status": line_of(small).status}
        figures.line("seed", {**told, **shown(whole=whole, small=small)})
    test, size = spread(found), max(sizes)
    good = test.mean >= goal.accuracy
    said = [
        verdict(good and size <= goal.most, f"{name}% in at most {goal.most:,} bytes"),
        verdict(good and size <= goal.aim, f"aim {goal.aim:,}"),
    ]
    bits = goal.quantize.partition("bits=")[2][:1]
    row = [goal.network, bits, f"{size:,}", f"{test.mean:.2%} (sd {test.deviation:.2%})"]
    row += [f"{spread(floats).mean:.2%}", "; ".join(said)]
    values = {"test": asdict(test), "model_bytes": size, "floats": asdict(spread(floats))}
    return row, {**values, "verdicts": said}


if __name__ == "__main__":
    main()
