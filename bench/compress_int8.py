"""compress_int8: what whole numbers save and cost, and where they do not pay and do not ship.

    python bench/compress_int8.py [--only sign-digits|tiny]

sign-digits: `compact` with static int8, in folds with people kept together, so that no picture is a
test picture twice; the bundles before and after take turns on batches of 64, on one thread. tiny:
the same technique on networks of a few thousand weights on MNIST, where the float file is to ship
unless bytes were asked for, and the receipt is to say why. Each run opens its test split once.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from _figures import Figures, arguments, data_folder, spread, verdict
from _lineage import BATCH, Training, between, faster, first, gain, line_of, shown, size, then
from _shipped import Outcomes, answers, graph_bytes, pooled

NAMES = ("sign-digits", "tiny")
FASTER, SMALLER, POINTS = 1.5, 3.0, -0.005
TINY = ("tiny:width=6", "tiny:width=10")


def main() -> None:
    parser = arguments("What int8 saves and costs.", 1, "trainings of each")
    parser.add_argument("--only", choices=NAMES, action="append")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--take", type=int, help="of the folds, the first ones; None: all")
    parser.add_argument("--network", default="compact:width=32", help="on sign-digits")
    parser.add_argument("--epochs", type=float, default=10, help="of each fold")
    parser.add_argument("--quantize", default="quantize:method=static", metavar="WORDS")
    parser.add_argument("--tiny", action="append", metavar="NETWORK", help=f"None: {TINY}")
    parser.add_argument("--tiny-epochs", type=float, default=1, help="of each tiny network")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_int8", given, given.only)
    rows: list[list[str]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as temporary:
        folder = given.keep or Path(temporary)
        for name in given.only or NAMES:
            concluded = _folds if name == "sign-digits" else _tiny
            found, summary[name] = concluded(figures, folder, given)
            rows += found
    head = ["what", "before", "after", "gain", "smaller: graph", f"faster, batch {BATCH}", "asked"]
    figures.finish(head, rows, summary)


def _folds(
    figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[list[str]], dict[str, Any]]:
    before: list[Outcomes] = []
    after: list[Outcomes] = []
    ratios: list[float] = []
    graphs: list[float] = []
    bundles: list[float] = []
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
            quantized = then(given.quantize, whole, home / "quantized", given)
            before.append(answers(whole))
            after.append(answers(quantized))
            ratios.append(median(faster(whole, quantized, given)))
            graphs.append(graph_bytes(whole) / graph_bytes(quantized))
            bundles.append(size(whole) / size(quantized))
            line = line_of(quantized)
            told = {"faster": ratios[-1], "graph": graphs[-1], "bundle": bundles[-1]}
            told |= {"status": line.status, "said": line.reason}
            runs = shown(whole=whole, quantized=quantized)
            figures.line("fold", {"fold": fold, "seed": seed, **told, **runs})
    found, values = gain(pooled(before), pooled(after), whole.task)
    spreads = {"faster": spread(ratios), "graph": spread(graphs), "bundle": spread(bundles)}
    values |= {name: asdict(one) for name, one in spreads.items()}
    said = [
        verdict(median(bundles) >= SMALLER, f"{SMALLER:.0f} times smaller"),
        verdict(median(ratios) >= FASTER, f"{FASTER} times faster"),
        verdict(found.value >= POINTS, "at most 0.5 points lost"),
    ]
    row = ["sign-digits, compact", values["before"], values["after"], between(found)]
    row += [spread(graphs).text(2), spread(ratios).text(2), "; ".join(said)]
    return [row], {**values, "verdicts": said}


def _tiny(
    figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[list[str]], dict[str, Any]]:
    """Networks so small that whole numbers do not pay in time. Nothing is read off their test
    splits: what ships is the matter."""
    rows, kept = [], []
    for seed in range(given.seeds):
        for network in given.tiny or TINY:
            home = folder / f"{network.replace(':', '-').replace('=', '-')}-{seed}"
            recipe = {"techniques": ["augment:shift=0.036"]}
            training = Training(
                "mnist", network, seed, {"epochs": given.tiny_epochs}, recipe=recipe
            )
            whole = first(training, home / "whole", given)
            asked = then(given.quantize, whole, home / "quantized", given)
            bytes_alone = then("quantize:want=size", whole, home / "bytes", given)
            lines = [line_of(run) for run in (asked, bytes_alone)]
            stays = lines[0].status == "skipped" and "times as fast" in lines[0].reason
            kept.append(stays and graph_bytes(asked) == graph_bytes(whole))
            sizes = [graph_bytes(run) for run in (whole, asked, bytes_alone)]
            told = {"network": network, "seed": seed, "model_bytes": sizes}
            told |= {"said": [line.reason for line in lines]}
            told |= {"status": [line.status for line in lines]}
            figures.line("tiny", told)
            row = [f"MNIST, {network}", f"{sizes[0]:,} bytes", f"{sizes[1]:,} bytes", "-"]
            row += [f"bytes alone: {sizes[2]:,}", lines[0].reason, ""]
            rows.append(row)
    said = verdict(all(kept), "the float file ships, and the receipt says that int8 was slower")
    rows[-1][-1] = said
    return rows, {"verdicts": [said]}


if __name__ == "__main__":
    main()
