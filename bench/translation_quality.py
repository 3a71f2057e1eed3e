"""translation_quality: BLEU after so many minutes on Multi30k English-German, JoeyNMT beside it.

    python bench/translation_quality.py              # sh bench/peers/setup.sh first

Our minutes are those of the whole command: data, fit, export, grading. JoeyNMT's are those of its
training loop alone, and it reads lowercased text, which is easier and is what the figure asked for
is counted on. Each trains on both cores; the best checkpoint by its own look at validation, beam 5,
opens test_2016_flickr once.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from _figures import Figures, Spread, arguments, spread, verdict
from _one_fit import Fit, fitted, shown
from _translation import (
    OPTIONS,
    SOURCE,
    TEST,
    Joey,
    drawing,
    drawn,
    lines,
    megabytes,
    peak_of_predict,
    ruled,
    scored,
    warmed,
)

import shoestring

ASKED = {10.0: (37.5, 38.5), 30.0: (39.0, None)}  # lowercased BLEU by minutes: must, aim
KINDS = ("lstm", "transformer")
PEERS = ("rnn", "transformer")
LONG = 20.0  # minutes from which one seed has to do
BEAM = 5
QUICK_STEPS = 60
Measured = dict[str, Any]


def main() -> None:
    parser = arguments("BLEU after so many minutes.", 3)
    parser.add_argument("--minutes", type=float, action="append", default=[])
    parser.add_argument(
        "--network", action="append", default=[], metavar="WORDS", help="ours; may be repeated"
    )
    parser.add_argument("--with", dest="techniques", action="append", default=[], metavar="WORDS")
    parser.add_argument("--peer", action="append", default=[], choices=[*PEERS, "none"])
    parser.add_argument("--joey-python", default=".env-joeynmt/bin/python")
    parser.add_argument("--threads", type=int, help="of both sides; else each its faster number")
    given = parser.parse_args()
    minutes = given.minutes or ([0.5] if given.quick else list(ASKED))
    if given.quick:
        given.network, given.peer = given.network or [*KINDS[:1]], given.peer or [*PEERS[:1]]
    peers = [kind for kind in given.peer or PEERS if kind != "none"]
    figures = Figures("translation_quality", given)
    found: dict[tuple[str, float], list[Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as name:
        folder = Path(name)
        warmed()
        for length in minutes:
            for seed in range(1 if given.quick or length >= LONG else given.seeds):
                for network in given.network or KINDS:
                    values = _ours(network, length, seed, folder, given)
                    figures.line("training of shoestring", values)
                    found.setdefault((f"shoestring {network}", length), []).append(values)
        joey = Joey.prepared(given.joey_python, folder / "joey") if peers else None
        for kind in peers:
            assert joey is not None
            threads = given.threads or (1 if given.quick else joey.faster_threads(kind, 30.0))
            for length in minutes:
                values = _theirs(joey, kind, length, threads)
                figures.line("training of joeynmt", values)
                found.setdefault((f"JoeyNMT {kind}", length), []).append(values)
    rows, summary = [], {}
    for (side, length), several in found.items():
        row, values = _concluded(side, length, several)
        rows.append(row)
        summary[f"{side}, {length:g} minutes"] = values
    head = ["side", "minutes", "lowercased BLEU", "BLEU", "chrF", "peak MB: training / predict"]
    path = figures.finish([*head, "asked"], rows, summary)
    _plot(found, path.with_suffix(".png"))


def _ours(
    network: str, minutes: float, seed: int, folder: Path, given: argparse.Namespace
) -> Measured:
    out = folder / f"{network.partition(':')[0]}-{minutes:g}-{seed}"
    job: dict[str, Any] = {"source": SOURCE, "options": OPTIONS}
    job |= {"steps": QUICK_STEPS} if given.quick else {"budget": 60.0 * minutes}
    job |= {"network": network, "seed": seed, "out": str(out), "techniques": given.techniques}
    fit: Fit = fitted({**job, **({"threads": given.threads} if given.threads else {})})
    scores = shoestring.evaluate(fit.path, f"{SOURCE}:{TEST}")
    return {
        **shown(fit),
        "minutes": minutes,
        "seed": seed,
        "lowercased_bleu": scores.details["lowercased_BLEU"],
        "bleu": scores.quality,
        "chrf": scores.details["chrF"],
        "exact_match": scores.details["exact_match"],
        "bleu_signature": scores.signature,
        "predict_peak_bytes": peak_of_predict(fit.path, BEAM, folder),
    }


def _theirs(joey: Joey, kind: str, minutes: float, threads: int) -> Measured:
    fit = joey.trained(kind, minutes, threads)
    decoding, answers = joey.decoded(kind, (64, BEAM), threads=threads)
    return {
        **fit,
        "minutes": minutes,
        **scored(answers, lines("de"), cased=False),
        "predict_peak_bytes": decoding["peak_bytes"],
    }


def _concluded(
    side: str, minutes: float, several: Sequence[Measured]
) -> tuple[list[str], dict[str, Any]]:
    """The table's row of a side after some minutes, and its numbers."""
    values: dict[str, Any] = {}
    cells = []
    for name in ("lowercased_bleu", "bleu", "chrf"):
        numbers = [one[name] for one in several if name in one]
        values[name] = spread(numbers) if numbers else None
        cells.append(_mean(values[name]) if numbers else "-")
    asked = "-"
    if side == f"shoestring {KINDS[0]}" and minutes in ASKED:
        must, aim = ASKED[minutes]
        reached: Spread = values["lowercased_bleu"]
        asked = verdict(reached.mean >= must, f"{must:g}")
        if aim is not None:
            asked += f", aim {aim:g}" + ("" if reached.mean >= aim else " missed")
    peaks = [
        max((one[name] for one in several if one[name]), default=None)
        for name in ("peak_bytes", "predict_peak_bytes")
    ]
    values |= {"peak_bytes": peaks[0], "predict_peak_bytes": peaks[1]}
    memory = " / ".join(map(megabytes, peaks))
    return [side, f"{minutes:g}", *cells, memory, asked], values


def _mean(found: Spread) -> str:
    more = f" +- {found.deviation:.2f} (n={found.count})" if found.count > 1 else " (n=1)"
    return f"{found.mean:.2f}{more}"


def _plot(found: dict[tuple[str, float], list[Measured]], path: Path) -> None:
    """Lowercased BLEU against minutes, a dot a seed, with what was asked."""
    made = drawing(7, 4.5)
    if made is None:
        return
    figure, ((axes,),) = made
    for number, side in enumerate(dict.fromkeys(side for side, _ in found)):
        lengths = sorted(length for one, length in found if one == side)
        several = {n: [m["lowercased_bleu"] for m in found[side, n]] for n in lengths}
        ours = side.startswith("shoestring")
        dots = [(n, bleu) for n in lengths for bleu in several[n]]
        marker, color = ("o" if ours else "s"), f"C{number}"
        axes.scatter(*zip(*dots, strict=True), s=18, color=color, marker=marker, alpha=0.6)
        means = [fmean(several[n]) for n in lengths]
        axes.plot(lengths, means, "-" if ours else "--", color=color, marker=marker, label=side)
    wanted = sorted({length for _, length in found} & set(ASKED))
    if wanted:
        label = "asked: " + ", ".join(f"{ASKED[n][0]:g} after {n:g} minutes" for n in wanted)
        bars = {"marker": "_", "s": 300, "linewidths": 2, "color": "black", "zorder": 3}
        axes.scatter(wanted, [ASKED[n][0] for n in wanted], label=label, **bars)
    axes.set_xscale("log")
    ticks = sorted({length for _, length in found})
    axes.set_xticks(ticks, [f"{length:g}" for length in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.3)
    axes.set_xlabel("minutes on both cores")
    axes.set_ylabel("lowercased BLEU (13a), test 2016, beam 5")
    axes.set_title("Multi30k English-German: a dot a seed, a line their means")
    ruled(axes)
    axes.legend(loc="best", framealpha=0.6, fontsize=8, markerscale=0.7)
    drawn(figure, path)


if __name__ == "__main__":
    main()
