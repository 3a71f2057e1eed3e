"""compress_prune: what taking units out saves and costs, and a lineage as far as Deep Compression.

    python bench/compress_prune.py [--only sign-digits|deep]

sign-digits: `compact` loses half of its channels, in folds with people kept together, so that no
picture is a test picture twice; the bundles before and after take turns on batches of 64. deep:
from `classic` (3,274,634 parameters) on MNIST, as Han et al. 2016 from LeNet-5: units are taken
out, a network of a few thousand weights learns from what is left, and its weights become few bits.
Each run opens its test split once, when it is finished.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from _figures import Figures, arguments, data_folder, spread, verdict
from _lineage import BATCH, Training, between, faster, first, gain, shown, size, then
from _shipped import Outcomes, answers, graph_bytes, pooled

from shoestring.core.run import Run

NAMES = ("sign-digits", "deep")
FASTER, SMALLER, POINTS = 1.7, 2.0, -0.005
SMALLER_GRAPH, SMALLER_GRAPH_AIM, SMALLER_BUNDLE, LOWEST = 1_000, 1_500, 400, -0.002
# The textbook's own settings (batches of 50 at a constant 1e-4) take many times as long to get
# there. Affine changes ask more of a few thousand weights, so that both ends shift alone.
CLASSIC = {
    "batch_size": 128,
    "learning_rate": 1e-3,
    "techniques": ["augment:shift=0.036", "schedule:shape=cosine"],
}
DEEP = (
    "prune:ratio=0.9,of=macs,epochs=1,rate=1",
    "distill:student=tiny:width=13,epochs=7",
    "quantize:method=qat,bits=4,want=size,epochs=3,rate=2",
)


def main() -> None:
    parser = arguments("What pruning saves and costs.", 1, "trainings of each")
    parser.add_argument("--only", choices=NAMES, action="append")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--take", type=int, help="of the folds, the first ones; None: all")
    parser.add_argument("--network", default="compact:width=32", help="on sign-digits")
    parser.add_argument("--epochs", type=float, default=10, help="of each fold")
    parser.add_argument("--prune", default="prune:ratio=0.5,epochs=10", metavar="WORDS")
    parser.add_argument("--deep-epochs", type=float, default=3, help="of the whole network")
    parser.add_argument("--deep", action="append", metavar="WORDS", help=f"None: {DEEP}")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_prune", given, given.only)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as temporary:
        folder = given.keep or Path(temporary)
        for name in given.only or NAMES:
            concluded = _folds if name == "sign-digits" else _deep
            row, summary[name] = concluded(figures, folder, given)
            rows.append(row)
    head = ["what", "before", "after", "gain", "smaller", f"faster, batch {BATCH}", "asked"]
    figures.finish(head, rows, summary)


# --- half of the channels ------------------------------------------------------------------------


def _folds(
    figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[str], dict[str, Any]]:
    before: list[Outcomes] = []
    after: list[Outcomes] = []
    ratios: list[float] = []
    smaller: list[float] = []
    for seed in range(given.seeds):
        for fold in range(given.take or given.folds):
            home = folder / f"sign-digits-{seed}-{fold}"
            training = Training(
                str(data_folder("sign-digits")),
                given.network,
                seed,
                {"epochs": given.epochs},
                {"fold": f"{fold}/{given.folds}", "group_by": "groups.csv"},
            )
            whole = first(training, home / "whole", given)
            pruned = then(given.prune, whole, home / "pruned", given)
            before.append(answers(whole))
            after.append(answers(pruned))
            ratios.append(median(faster(whole, pruned, given)))
            smaller.append(size(whole) / size(pruned))
            told = {"faster": ratios[-1], "smaller": smaller[-1]}
            runs = shown(whole=whole, pruned=pruned)
            figures.line("fold", {"fold": fold, "seed": seed, **told, **runs})
    found, values = gain(pooled(before), pooled(after), whole.task)
    values |= {"faster": asdict(spread(ratios)), "smaller": asdict(spread(smaller))}
    said = [
        verdict(found.value >= POINTS, "at most 0.5 points lost"),
        verdict(median(ratios) >= FASTER, f"{FASTER} times faster"),
        verdict(median(smaller) >= SMALLER, f"{SMALLER:.0f} times smaller"),
    ]
    row = ["sign-digits, compact", values["before"], values["after"], between(found)]
    row += [spread(smaller).text(2), spread(ratios).text(2), "; ".join(said)]
    return row, {**values, "verdicts": said}


# --- Deep Compression's row ----------------------------------------------------------------------


def _deep(
    figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[str], dict[str, Any]]:
    before: list[Outcomes] = []
    after: list[Outcomes] = []
    graphs: list[float] = []
    bundles: list[float] = []
    ratios: list[float] = []
    for seed in range(given.seeds):
        lineage = _lineage(folder / f"deep-{seed}", seed, given)
        whole, last = lineage[0], lineage[-1]
        before.append(answers(whole))
        after.append(answers(last))
        graphs.append(graph_bytes(whole) / graph_bytes(last))
        bundles.append(size(whole) / size(last))
        ratios.append(median(faster(whole, last, given)))
        told = {"graph": graphs[-1], "bundle": bundles[-1], "faster": ratios[-1]}
        runs = shown(**{run.path.name: run for run in lineage})
        figures.line("lineage", {"seed": seed, **told, **runs})
    found, values = gain(pooled(before), pooled(after), whole.task)
    values |= {"graph": asdict(spread(graphs)), "bundle": asdict(spread(bundles))}
    values |= {"faster": asdict(spread(ratios))}
    said = [
        verdict(median(graphs) >= SMALLER_GRAPH, f"model.onnx {SMALLER_GRAPH:,} times smaller"),
        verdict(median(graphs) >= SMALLER_GRAPH_AIM, f"aim {SMALLER_GRAPH_AIM:,}"),
        verdict(median(bundles) >= SMALLER_BUNDLE, f"bundle {SMALLER_BUNDLE} times"),
        verdict(found.value >= 0 and found.low > LOWEST, "gain from 0, interval above -0.2 points"),
    ]
    row = ["MNIST, classic", values["before"], values["after"], between(found)]
    row += [spread(graphs).text(0), spread(ratios).text(2), "; ".join(said)]
    return row, {**values, "verdicts": said}


def _lineage(home: Path, seed: int, given: argparse.Namespace) -> list[Run]:
    """The whole network and what each technique made of the run before."""
    training = Training("mnist", "classic", seed, {"epochs": given.deep_epochs}, recipe=CLASSIC)
    runs = [first(training, home / "whole", given)]
    for number, words in enumerate(given.deep or DEEP, 1):
        name = f"{number}-{words.partition(':')[0]}"
        runs.append(then(words, runs[-1], home / name, given))
    return runs


if __name__ == "__main__":
    main()
