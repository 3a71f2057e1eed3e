"""compress_prune: what taking units out saves and costs, and a lineage as far as Deep Compression.

    python bench/compress_prune.py [--only sign-digits|deep]

sign-digits: `compact` loses half of its channels, in five folds with people kept together; every
picture is a test picture once, and the bundles before and after take turns on batches of 64. deep:
from `classic` (3,274,634 parameters) on MNIST, as Han et al. 2016 from LeNet-5: units are taken
out, the network that is left learns from the whole one, and its weights become integers. Each run
opens its test split once, when it is finished.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from _figures import Figures, arguments, data_folder, spread, verdict
from _one_fit import fitted
from _shipped import Outcomes, answers, batch_seconds, graph_bytes, pooled

import shoestring
from shoestring import plugins
from shoestring.core.intervals import wilson
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Interval
from shoestring.core.run import Run
from shoestring.engine import evidence, store

NAMES = ("sign-digits", "deep")
QUICK_STEPS = 3
BATCH, ROUNDS = 64, 15
FASTER, SMALLER, POINTS = 1.7, 2.0, -0.005
SMALLER_GRAPH, SMALLER_GRAPH_AIM, SMALLER_BUNDLE, LOWEST = 1_000, 1_500, 400, -0.002


def main() -> None:
    parser = arguments("What pruning saves and costs.", 1, "trainings of each")
    parser.add_argument("--only", choices=NAMES, action="append")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--budget", default="3m", help="of each fold")
    parser.add_argument("--prune", default="prune:ratio=0.5,epochs=10", metavar="WORDS")
    parser.add_argument("--deep-budget", default="20m", help="of the whole network")
    parser.add_argument(
        "--deep-prune",
        default="prune:ratio=0.9972,of=parameters,scope=global,steps=8,epochs=10,multiple=1",
        metavar="WORDS",
    )
    parser.add_argument(
        "--deep-distill",
        default="distill:start=weights,epochs=60",
        metavar="WORDS",
        help="the student is the pruned run",
    )
    parser.add_argument(
        "--deep-quantize",
        default="quantize:method=qat,want=size,epochs=10",
        metavar="WORDS",
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="a folder for the runs; None: they are removed")
    given = parser.parse_args()
    figures = Figures("compress_prune", given)
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
    faster: list[float] = []
    smaller: list[float] = []
    folds = 2 if given.quick else given.folds
    source = str(data_folder("sign-digits"))
    for seed in range(given.seeds):
        for fold in range(folds):
            home = folder / f"sign-digits-{seed}-{fold}"
            options = {"fold": f"{fold}/{folds}", "group_by": "groups.csv"}
            whole = _trained(home / "whole", source, "compact", given.budget, seed, given, options)
            pruned = _applied(given.prune, whole, home / "pruned", given)
            before.append(answers(whole))
            after.append(answers(pruned))
            faster.append(_faster(whole, pruned, given))
            smaller.append(_size(whole) / _size(pruned))
            shown = {"faster": faster[-1], "smaller": smaller[-1]}
            figures.line(
                "fold", {"fold": fold, "seed": seed, **shown, **_shown(whole, pruned=pruned)}
            )
    gain, values = _gain(pooled(before), pooled(after), plugins.task(whole.task).name)
    values |= {"faster": asdict(spread(faster)), "smaller": asdict(spread(smaller))}
    said = [
        verdict(gain.value >= POINTS, "at most 0.5 points lost"),
        verdict(median(faster) >= FASTER, f"{FASTER} times faster"),
        verdict(median(smaller) >= SMALLER, f"{SMALLER:.0f} times smaller"),
    ]
    row = ["sign-digits, compact", values["before"], values["after"], _between(gain)]
    row += [spread(smaller).text(2), spread(faster).text(2), "; ".join(said)]
    return row, {**values, "verdicts": said}


# --- Deep Compression's row ----------------------------------------------------------------------


def _deep(
    figures: Figures, folder: Path, given: argparse.Namespace
) -> tuple[list[str], dict[str, Any]]:
    before: list[Outcomes] = []
    after: list[Outcomes] = []
    graphs: list[float] = []
    bundles: list[float] = []
    faster: list[float] = []
    for seed in range(given.seeds):
        home = folder / f"deep-{seed}"
        whole = _trained(home / "whole", "mnist", "classic", given.deep_budget, seed, given, {})
        pruned = _applied(given.deep_prune, whole, home / "pruned", given)
        words = f"{given.deep_distill},student={pruned.path}"
        student = _applied(words, whole, home / "student", given)
        last = _applied(given.deep_quantize, student, home / "last", given)
        before.append(answers(whole))
        after.append(answers(last))
        graphs.append(graph_bytes(whole) / graph_bytes(last))
        bundles.append(_size(whole) / _size(last))
        faster.append(_faster(whole, last, given))
        known = _shown(whole, pruned=pruned, student=student, last=last)
        sizes = {"model_bytes": [graph_bytes(one) for one in (whole, pruned, student, last)]}
        shown = {"graph": graphs[-1], "bundle": bundles[-1], "faster": faster[-1]}
        figures.line("lineage", {"seed": seed, **shown, **sizes, **known})
    gain, values = _gain(pooled(before), pooled(after), plugins.task(whole.task).name)
    values |= {"graph": asdict(spread(graphs)), "bundle": asdict(spread(bundles))}
    values |= {"faster": asdict(spread(faster))}
    said = [
        verdict(median(graphs) >= SMALLER_GRAPH, f"model.onnx {SMALLER_GRAPH:,} times smaller"),
        verdict(median(graphs) >= SMALLER_GRAPH_AIM, f"aim {SMALLER_GRAPH_AIM:,}"),
        verdict(median(bundles) >= SMALLER_BUNDLE, f"bundle {SMALLER_BUNDLE} times"),
        verdict(gain.value >= 0 and gain.low > LOWEST, "gain from 0, interval above -0.2 points"),
    ]
    row = ["MNIST, classic", values["before"], values["after"], _between(gain)]
    row += [spread(graphs).text(0), spread(faster).text(2), "; ".join(said)]
    return row, {**values, "verdicts": said}


# --- both ----------------------------------------------------------------------------------------


def _trained(
    out: Path,
    source: str,
    network: str,
    budget: str,
    seed: int,
    given: argparse.Namespace,
    options: dict[str, Any],
) -> Run:
    if (out / store.RUN).exists():  # of an earlier call that kept it
        return store.read(out)
    job: dict[str, Any] = {"source": source, "network": network, "seed": seed, "out": str(out)}
    job |= {"options": options, "techniques": ["augment"]}
    job |= {"threads": given.threads} if given.threads is not None else {}
    job |= {"steps": QUICK_STEPS} if given.quick else {"budget": budget}
    fitted(job)
    return store.read(out)


def _applied(words: str, run: Run, out: Path, given: argparse.Namespace) -> Run:
    """A technique by its words; in a try with hardly any fit."""
    if (out / store.RUN).exists():
        return store.read(out)
    technique: Any = plugins.technique(words)
    if given.quick and hasattr(technique, "epochs"):
        name, _, rest = words.partition(":")
        kept = [piece for piece in rest.split(",") if piece.partition("=")[0] != "epochs"]
        technique = plugins.technique(f"{name}:{','.join([*kept, 'epochs=0.01'])}")
    return shoestring.apply(technique, run.path, out=out)


def _faster(whole: Run, other: Run, given: argparse.Namespace) -> float:
    """The median of the ratios of rounds."""
    bundles = [run.path / store.BUNDLE for run in (whole, other)]
    slow, quick = batch_seconds(bundles, BATCH, 2 if given.quick else ROUNDS)
    return median(a / b for a, b in zip(slow, quick, strict=True))


def _gain(before: Outcomes, after: Outcomes, task: str) -> tuple[Interval, dict[str, Any]]:
    gain = evidence.paired(before, after, plugins.task(task))
    told = {name: _told(found) for name, found in (("before", before), ("after", after))}
    return gain, {"gain": to_plain(gain), "examples": len(before["hashes"]), **told}


def _told(outcomes: Outcomes) -> str:
    found = wilson(int(outcomes["right"].sum()), len(outcomes["right"]))
    return f"{found.value:.2%} ({found.low:.2%} to {found.high:.2%})"


def _between(interval: Interval) -> str:
    return f"{100 * interval.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def _size(run: Run) -> int:
    assert run.scores is not None
    assert run.scores.size_bytes is not None
    return run.scores.size_bytes


def _shown(whole: Run, **others: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    runs: Sequence[tuple[str, Run]] = [("whole", whole), *others.items()]
    for name, run in runs:
        assert run.scores is not None
        found[name] = {
            "validation": run.scores.quality,
            "parameters": run.scores.parameters,
            "macs": run.scores.macs,
            "size_bytes": run.scores.size_bytes,
            "seconds": sum(x.cost.wall_seconds for x in run.receipts if x.technique == "total"),
        }
    return found


if __name__ == "__main__":
    main()
