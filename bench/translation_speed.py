"""translation_speed: target tokens a second of training, ours beside JoeyNMT's.

    python bench/translation_speed.py                # sh bench/peers/setup.sh first

Short trainings take turns, each a process of its own, on one thread or on all cores, whichever is
faster for it. JoeyNMT reads the same text in the pieces of our tokenizer, so a token is the same
on both sides; where ours are drawn anew with BPE-dropout they count as they are without it. Its
batches are made as large as ours, in target tokens without padding. Neither start, nor data, nor
looks at validation are on a clock; optimizer, batches and logging are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from _figures import Figures, Spread, arguments, spread, verdict
from _one_fit import Fit, fitted, shown
from _translation import (
    OPTIONS,
    RECURRENT,
    SOURCE,
    Joey,
    drawing,
    drawn,
    megabytes,
    ruled,
    warmed,
)

ASKED = {"lstm": (4.0, 5.5), "transformer": (3.0, 3.5)}  # must, aim
PADDING = 2  # JoeyNMT's batches of N tokens, padding and source counted, hold N / 2 target tokens
# Beside each other in like sizes: JoeyNMT's are in peers/joeynmt/*.yaml.
NETWORKS = {
    "lstm": "lstm",
    "transformer": "transformer:units=128,encoder_layers=4,decoder_layers=4,feed_forward=256",
}


def main() -> None:
    parser = arguments("Target tokens a second of training.", 7, "pairs of trainings")
    parser.add_argument("--steps", type=int, default=100, help="of ours, in each pair")
    parser.add_argument("--seconds", type=float, default=30.0, help="of JoeyNMT's, in each pair")
    parser.add_argument("--threads", type=int, help="of both sides; else each its faster number")
    parser.add_argument("--joey-python", default=".env-joeynmt/bin/python")
    for kind, words in NETWORKS.items():
        parser.add_argument(f"--{kind}", default=words, metavar="WORDS")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.steps, given.seconds = 1, 12, 60.0
    figures = Figures("translation_speed", given)
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in NETWORKS}
    memory: dict[str, tuple[int | None, int | None]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as name:
        folder = Path(name)
        tokenizer = folder / "tokenizer.model"
        tokenizer.write_bytes(warmed())
        work = folder / "joey"
        joey = Joey.prepared(given.joey_python, work, cased=True, tokenizer=tokenizer)
        threads = {
            kind: given.threads or joey.faster_threads(RECURRENT[kind], given.seconds / 2)
            for kind in NETWORKS
        }
        batches: dict[str, int] = {}  # of ours, whose first training comes first
        for pair in range(given.seeds):
            for kind in NETWORKS:
                ours, theirs = _pair(
                    kind, pair, joey, threads[kind], batches, folder, given, figures
                )
                rates[kind].append((_rate(ours), theirs["target_tokens_a_second"]))
                memory[kind] = (ours.peak_bytes, theirs["peak_bytes"])
                sizes[kind] = (ours.parameters, theirs["parameters"])
    rows, summary = [], {}
    for kind, found in rates.items():
        ratio = spread([ours / theirs for ours, theirs in found])
        sides = (spread([ours for ours, _ in found]), spread([theirs for _, theirs in found]))
        must, aim = ASKED[kind]
        said = f"{verdict(ratio.median >= must, f'{must:g}')}, aim {aim:g}"
        said += "" if ratio.median >= aim else " missed"
        rows.append(
            [
                kind,
                *(side.text(0) for side in sides),
                ratio.text(2),
                said,
                " / ".join(f"{count / 1e6:.2f}" for count in sizes[kind]),
                " / ".join(map(megabytes, memory[kind])),
            ]
        )
        summary[kind] = {
            "ratio": ratio,
            "shoestring_target_tokens_a_second": sides[0],
            "joeynmt_target_tokens_a_second": sides[1],
            "parameters": sizes[kind],
            "peak_bytes": memory[kind],
        }
    head = ["network", "shoestring, tokens/s", "JoeyNMT, tokens/s", "ratio", "asked"]
    head += ["M parameters", "peak MB"]
    path = figures.finish(head, rows, summary)
    _plot(summary, path.with_suffix(".png"))


def _job(network: str, steps: int, out: Path) -> dict[str, Any]:
    whole = {"source": SOURCE, "options": OPTIONS, "steps": steps, "network": network}
    return {**whole, "out": str(out), "count_labels": True}


def _pair(
    kind: str,
    pair: int,
    joey: Joey,
    threads: int,
    batches: dict[str, int],
    folder: Path,
    given: argparse.Namespace,
    figures: Figures,
) -> tuple[Fit, dict[str, Any]]:
    """One training of each side; the order changes from pair to pair."""
    ours: Fit | None = None
    theirs: dict[str, Any] = {}
    for side in ("shoestring", "joeynmt")[:: 1 if pair % 2 == 0 else -1]:
        if side == "shoestring":
            job = _job(getattr(given, kind), given.steps, folder / f"{kind}-{pair}")
            job |= {"seed": pair} | ({"threads": given.threads} if given.threads else {})
            ours = fitted(job)
            batches[kind] = ours.batch_size
            said = {**shown(ours), "target_tokens_a_second": _rate(ours)}
        else:
            minutes = given.seconds / 60
            batch = f"training.batch_size={PADDING * batches[kind]}"
            words = ("--no-validation", "--seed", str(42 + pair), "--set", batch)
            said = theirs = joey.trained(RECURRENT[kind], minutes, threads, *words)
        figures.line(f"training of {side}", {"kind": kind, "pair": pair, **said})
    assert ours is not None
    if not theirs["target_tokens_a_second"]:
        raise SystemExit("JoeyNMT's training was too short to count its steps; more --seconds")
    return ours, theirs


def _rate(fit: Fit) -> float:
    assert fit.labels_a_step is not None
    if not fit.stepping_seconds:
        raise SystemExit("the training was too short to count its steps; give more --steps")
    return fit.stepping_steps * fit.labels_a_step / fit.stepping_seconds


def _plot(summary: dict[str, Any], path: Path) -> None:
    """Both sides' tokens a second, a bar a kind, from the lowest to the highest."""
    made = drawing(6.5, 3.2)
    if made is None:
        return
    figure, ((axes,),) = made
    for place, found in enumerate(summary.values()):
        for side, color, shift in (("shoestring", "C0", -0.18), ("joeynmt", "C1", 0.18)):
            rate: Spread = found[f"{side}_target_tokens_a_second"]
            reach = [[rate.median - rate.low], [rate.high - rate.median]]
            label = {"shoestring": "shoestring", "joeynmt": "JoeyNMT 2.3.0"}[side]
            axes.barh(
                place + shift,
                rate.median,
                height=0.32,
                xerr=reach,
                color=color,
                capsize=3,
                label=label if place == 0 else None,
            )
        axes.text(
            found["shoestring_target_tokens_a_second"].high * 1.05,
            place - 0.18,
            f"{found['ratio'].median:.1f} times",
            va="center",
        )
    axes.set_yticks(
        range(len(summary)), [f"{kind}\n(beside {RECURRENT[kind]})" for kind in summary]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(axes.get_xlim()[1], 1))
    axes.set_xlabel("target tokens a second of training")
    axes.set_title("Multi30k: the median, with the lowest and the highest")
    ruled(axes)
    axes.legend(loc="lower right")
    drawn(figure, path)


if __name__ == "__main__":
    main()
