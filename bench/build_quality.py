"""build_quality: what `build` reaches on the three sets that it was made on.

    python bench/build_quality.py [--only mnist sign-digits multi30k] [--scale 0.1]
    python bench/build_quality.py --only sign-digits --side-by-side --threads 1

mnist: 5 minutes and at most 50 KB, test accuracy, mean of three seeds. sign-digits: 10 minutes a
fold, people kept together, beside `train` with its default techniques in the same time, over all
pictures of five folds, paired. multi30k: 30 minutes and at most 6 MB, lowercased BLEU on
test_2016_flickr, mean of two seeds. `--scale` shortens every budget; such figures are no answer to
what was asked, and the table says by how much they were shortened.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from _figures import Figures, arguments, data_folder, earlier, spread, verdict
from _one_build import built

from shoestring.core.protocols import Outcomes
from shoestring.engine import evidence
from shoestring.engine.evidence import Pairs
from shoestring.engine.measure import answered

LOWERCASED = "lowercased_BLEU"  # among the details of scores


@dataclass(frozen=True)
class Shipped:
    """One command, and what its bundle answers to its test split."""

    seconds: float
    quality: float
    size_bytes: int
    details: Mapping[str, Any]
    outcomes: Outcomes


@dataclass(frozen=True)
class Part:
    """One of the three figures."""

    budget: float  # seconds, at a scale of 1
    seeds: int
    measured: Callable[[argparse.Namespace, Figures, float, int], tuple[list[str], dict[str, Any]]]


def main() -> None:
    parser = arguments("What `build` reaches.", 0, "seeds (folds of sign-digits); 0: as asked for")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="of every budget")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--side-by-side", action="store_true", help="sign-digits: both verbs at once, a core each"
    )
    parser.add_argument(
        "--kept",
        type=Path,
        help="multi30k: lines of an earlier call, whose seeds are not made anew",
    )
    given = parser.parse_args()
    if given.quick:
        given.only, given.scale, given.seeds = ["sign-digits"], 0.05, 1
    parts = given.only if set(given.only) != set(PARTS) else None
    figures = Figures("build_quality", given, parts)
    rows, summary = [], {}
    for name in given.only:
        part = PARTS[name]
        count = given.seeds or part.seeds
        row, summary[name] = part.measured(given, figures, part.budget * given.scale, count)
        if given.scale != 1:
            row[-1] += f" (at {given.scale:g} of the time: no answer)"
        rows.append(row)
    figures.finish(["figure", "budget", "result", "bytes", "used", "verdict"], rows, summary)


def _shipped(
    given: argparse.Namespace,
    verb: str,
    source: str,
    budget: float,
    *words: str,
    core: int | None = None,
) -> Shipped:
    """Ends the script where nothing was shipped. `core`: the only one that it may use."""
    threads = ["--threads", str(given.threads)] if given.threads else []
    with tempfile.TemporaryDirectory(prefix="build-quality-") as folder:
        run = Path(folder) / "run"
        done = built(verb, source, budget, run, *words, *threads, core=core)
        if not done.shipped:
            raise SystemExit(f"{verb} {source} failed ({done.code}):\n{done.said}")
        found = answered(run, f"{source}:test")
    scores = found.scores
    assert scores.size_bytes is not None
    return Shipped(done.seconds, scores.quality, scores.size_bytes, scores.details, found.outcomes)


def _mnist(
    given: argparse.Namespace, figures: Figures, budget: float, seeds: int
) -> tuple[list[str], dict[str, Any]]:
    limit, wanted = 50_000, 0.996
    done = []
    for seed in range(seeds):
        words = ("--max-size", str(limit), "--seed", str(seed))
        one = _shipped(given, "build", "mnist", budget, *words)
        done.append(one)
        values = {"seed": seed, "accuracy": one.quality, "size_bytes": one.size_bytes}
        figures.line("mnist", {**values, "seconds": one.seconds})
    mean = fmean(one.quality for one in done)
    met = mean >= wanted and all(one.size_bytes <= limit for one in done)
    row = [
        f"mnist, at most {limit:,} bytes",
        f"{budget:.0f} s",
        f"{100 * mean:.2f}% (mean of {seeds})",
        _bytes(done),
        _seconds(done),
        verdict(met, f"{100 * wanted:.1f}%"),
    ]
    return row, {"accuracy": spread([one.quality for one in done]), "met": met}


def _sign_digits(
    given: argparse.Namespace, figures: Figures, budget: float, folds: int
) -> tuple[list[str], dict[str, Any]]:
    """Every picture is a test picture once where all five folds are made."""
    source, counted = str(data_folder("sign-digits")), Pairs(0, 0, 0, 0)
    done: dict[str, list[Shipped]] = {"train": [], "build": []}
    for fold in range(folds):
        words = ("--group-by", "groups.csv", "--fold", f"{fold}/5", "--seed", str(fold))
        for verb, one in _both(given, source, budget, words).items():
            done[verb].append(one)
            values = {"verb": verb, "fold": fold, "accuracy": one.quality}
            values |= {"size_bytes": one.size_bytes, "seconds": one.seconds}
            figures.line("sign-digits", values)
        found = evidence.pairs(done["train"][-1].outcomes, done["build"][-1].outcomes)
        counted = Pairs(
            counted.both + found.both,
            counted.only_before + found.only_before,
            counted.only_after + found.only_after,
            counted.neither + found.neither,
        )
    gap = evidence.difference(counted)
    build, train = (
        100 * (counted.both + right) / counted.total
        for right in (counted.only_after, counted.only_before)
    )
    text = f"{100 * gap.value:+.2f} points ({100 * gap.low:+.2f} to {100 * gap.high:+.2f})"
    row = [
        f"sign-digits, {folds} of 5 folds, beside train",
        f"{budget:.0f} s",
        f"{text}: {build:.2f}% and {train:.2f}%",
        _bytes(done["build"]),
        _seconds(done["build"]),
        verdict(gap.low > 0, "interval above 0"),
    ]
    counts = {"both": counted.both, "only_train": counted.only_before}
    counts |= {"only_build": counted.only_after, "neither": counted.neither}
    return row, {"gap": [gap.value, gap.low, gap.high], "method": gap.method, **counts}


def _both(
    given: argparse.Namespace, source: str, budget: float, words: Sequence[str]
) -> dict[str, Shipped]:
    """What `train` and `build` ship, one after the other or each on a core of its own."""
    verbs = ("train", "build")
    if not given.side_by_side:
        return {verb: _shipped(given, verb, source, budget, *words) for verb in verbs}
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < len(verbs):
        raise SystemExit("--side-by-side needs two cores")

    def shipped(number: int) -> Shipped:
        return _shipped(given, verbs[number], source, budget, *words, core=allowed[number])

    with ThreadPoolExecutor(len(verbs)) as pool:
        return dict(zip(verbs, pool.map(shipped, range(len(verbs))), strict=True))


def _multi30k(
    given: argparse.Namespace, figures: Figures, budget: float, seeds: int
) -> tuple[list[str], dict[str, Any]]:
    limit, wanted = 6_000_000, 38.5
    done, bleu = [], []
    for seed in range(seeds):
        words = ("--source", "en", "--target", "de", "--max-size", str(limit))
        one = _kept(given, seed)
        one = one or _shipped(given, "build", "multi30k", budget, *words, "--seed", str(seed))
        done.append(one)
        bleu.append(float(one.details[LOWERCASED]))
        values = {"seed": seed, LOWERCASED: bleu[-1], "bleu": one.quality}
        figures.line("multi30k", {**values, "size_bytes": one.size_bytes, "seconds": one.seconds})
    met = fmean(bleu) >= wanted and all(one.size_bytes <= limit for one in done)
    row = [
        f"multi30k, at most {limit:,} bytes",
        f"{budget:.0f} s",
        f"{fmean(bleu):.2f} BLEU lowercased (mean of {seeds})",
        _bytes(done),
        _seconds(done),
        verdict(met, f"{wanted}"),
    ]
    return row, {LOWERCASED: spread(bleu), "met": met}


def _kept(given: argparse.Namespace, seed: int) -> Shipped | None:
    """The translator of that seed that an earlier call made."""
    for one in earlier(given.kept):
        if one.get("measurement") == "multi30k" and one["seed"] == seed:
            details = {LOWERCASED: one[LOWERCASED]}
            return Shipped(one["seconds"], one["bleu"], one["size_bytes"], details, {})
    return None


def _bytes(done: list[Shipped]) -> str:
    return f"{max(one.size_bytes for one in done):,} at most"


def _seconds(done: list[Shipped]) -> str:
    return f"{min(one.seconds for one in done):.0f} to {max(one.seconds for one in done):.0f} s"


PARTS: Mapping[str, Part] = {
    "mnist": Part(300.0, 3, _mnist),
    "sign-digits": Part(600.0, 5, _sign_digits),
    "multi30k": Part(1800.0, 2, _multi30k),
}


if __name__ == "__main__":
    main()
