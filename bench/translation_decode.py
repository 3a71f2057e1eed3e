"""translation_decode: sentences a second on one thread, beside CTranslate2 int8 and JoeyNMT.

    python bench/translation_decode.py               # sh bench/peers/setup.sh first; trains all
    python bench/translation_decode.py --run runs/a --run runs/b     # takes runs that are there

The 1,000 sentences of test_2016_flickr, from text to text. Each round is a process of its own that
opens a model and decodes in all ways; engines take turns, and a ratio is taken inside each round.
First table: a transformer of ours against CTranslate2 with the same weights in int8. Second: for
each Transformer in CTranslate2, the quickest bundle of ours, of any kind, whose BLEU is like its.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _engines import (
    Engine,
    answers_of,
    bundle,
    convert,
    ctranslate2,
    decode_round,
    faster_backend,
    joeynmt,
)
from _figures import Figures, arguments, child, spread, verdict
from _one_fit import fitted, shown
from _translation import (
    CTRANSLATE2,
    OPTIONS,
    SOURCE,
    WAYS,
    Joey,
    Way,
    drawing,
    drawn,
    found_python,
    is_transformer,
    lines,
    megabytes,
    ruled,
    warmed,
)

# Of our bundles beside CTranslate2 at like BLEU, and of the default beside JoeyNMT's RNN.
ASKED: Mapping[Way, float] = {(64, 1): 1.2, (1, 1): 1.0, (64, 5): 1.0, (1, 5): 0.8}
JOEY_WAY, JOEY_ASKED, JOEY_AIM = (64, 1), 12.0, 20.0
LIKE = 0.5  # BLEU that ours may be below the other's and still be like it
COMPARED = 100  # sentences whose greedy translations are held against each other
# The defaults, and two plain Transformers for the second table.
NETWORKS = (
    "lstm",
    "transformer",
    "transformer:units=128,encoder_layers=4,decoder_layers=4,feed_forward=512",
    "transformer:units=256,encoder_layers=3,decoder_layers=3,feed_forward=1024",
)
QUICK = (NETWORKS[0], NETWORKS[2])


def main() -> None:
    given = _arguments()
    figures = Figures("translation_decode", given)
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as name:
        folder = Path(name)
        text = folder / "source.txt"
        text.write_text("".join(f"{line}\n" for line in lines("en")), encoding="utf-8")
        runs = {Path(run).name: Path(run) for run in given.run} or _trained(folder, given, figures)
        ours = {model: bundle(model, run, text, folder) for model, run in runs.items()}
        python = found_python(given.ctranslate2_python)
        backend = given.backend
        theirs: dict[str, Engine] = {}
        for model, run in runs.items():
            if is_transformer(run):
                work = folder / f"ctranslate2-{len(theirs)}"
                convert(python, run, work, "int8")
                backend = backend or faster_backend(python, work, text, folder, figures)
                theirs[model] = ctranslate2(python, model, work, text, backend)
        others = [_joey(given, folder)] if given.joey_minutes > 0 else []
        engines = [*ours.values(), *theirs.values(), *others]
        for number in range(1 if given.quick else given.seeds):
            for engine in engines[:: 1 if number % 2 == 0 else -1]:
                decode_round(engine, number, figures)
        same = {model: _same(model, python, runs[model], ours, text, folder) for model in theirs}
    rows, summary = _first(ours, theirs)
    more, second = _second(list(ours.values()), list(theirs.values()), others)
    summary |= second
    for model, counts in same.items():
        figures.line("greedy translations that are the same", {"model": model, **counts})
    summary["same_greedy"] = same
    summary["peak_bytes"] = {engine.name: engine.peak_bytes for engine in engines}
    rows += [["-"] * len(rows[0])] if rows else []
    rows += more
    memory = [[engine.name, megabytes(engine.peak_bytes)] for engine in engines]
    head = ["way", "ours", "sentences/s", "BLEU", "beside", "sentences/s", "BLEU", "ratio"]
    path = figures.finish([*head, "asked"], rows, summary)
    print("peak MB: " + "; ".join(" ".join(row) for row in memory))
    for model, counts in same.items():
        print(f"{model}: of {counts['sentences']} greedy translations {counts['float32']} are the")
        print(f"  same as CTranslate2's in float32, {counts['int8']} as in int8")
    _plot(engines, path.with_suffix(".png"))


def _arguments() -> argparse.Namespace:
    parser = arguments("Sentences a second on one thread.", 5, "rounds")
    parser.add_argument("--run", action="append", default=[], help="take it; may be repeated")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training of ours")
    parser.add_argument("--joey-minutes", type=float, default=10.0, help="0: without JoeyNMT")
    parser.add_argument("--joey-python", default=".env-joeynmt/bin/python")
    parser.add_argument("--ctranslate2-python", default=".env-ctranslate2/bin/python")
    parser.add_argument("--backend", choices=["mkl", "onednn"], help="else the faster one here")
    given = parser.parse_args()
    if given.quick:
        given.joey_minutes = min(given.joey_minutes, 0.5)
    return given


# --- what is measured ----------------------------------------------------------------------------


def _trained(folder: Path, given: argparse.Namespace, figures: Figures) -> dict[str, Path]:
    """Runs by the words of their networks."""
    runs = {}
    job = {"source": SOURCE, "options": OPTIONS}
    warmed()
    length: dict[str, Any] = {"steps": 120} if given.quick else {"budget": 60.0 * given.minutes}
    for number, network in enumerate(QUICK if given.quick else NETWORKS):
        fit = fitted({**job, **length, "network": network, "out": str(folder / f"run-{number}")})
        figures.line("training", {"words": network, **shown(fit)})
        runs[network] = Path(fit.path)
    return runs


def _joey(given: argparse.Namespace, folder: Path) -> Engine:
    joey = Joey.prepared(given.joey_python, folder / "joey")
    threads = 1 if given.quick else joey.faster_threads("rnn", 30.0)
    joey.trained("rnn", given.joey_minutes, threads)
    return joeynmt(joey, ((64, 1),) if given.quick else ((64, 1), (64, 5)))


def _same(
    model: str, python: Path, run: Path, ours: Mapping[str, Engine], text: Path, folder: Path
) -> dict[str, int]:
    """Of the first sentences, how many greedy translations CTranslate2 gives as our bundle."""
    few = folder / "compared.txt"
    few.write_text("".join(f"{line}\n" for line in lines("en")[:COMPARED]), encoding="utf-8")
    expected = answers_of(ours[model], (1, 1))[:COMPARED]
    counts = {"sentences": COMPARED}
    for number, quantization in enumerate(("float32", "int8")):
        work = folder / f"compared-{run.name}-{number}"
        convert(python, run, work, quantization)
        words: list[str | Path] = ["translate", "--work", work, "--text", few]
        words += ["--out", work / "out", "--batch", "1"]
        child([python, CTRANSLATE2, *words], "CTranslate2")
        found = (work / "out" / "1-1.txt").read_text(encoding="utf-8").split("\n")
        counts[quantization] = sum(a == b for a, b in zip(expected, found, strict=False))
    return counts


# --- what comes of it ----------------------------------------------------------------------------


def _beside(way: Way, ours: Engine, theirs: Engine) -> tuple[list[str], dict[str, Any], float]:
    """A row of the table without its verdict, its numbers, and the ratio's median."""
    pairs = zip(ours.seconds[way], theirs.seconds[way], strict=True)
    ratio = spread([their_seconds / our_seconds for our_seconds, their_seconds in pairs])
    cells = [WAYS[way]]
    values: dict[str, Any] = {"way": WAYS[way], "ratio": ratio}
    for side, engine in (("ours", ours), ("beside", theirs)):
        cells += [engine.name, f"{engine.rate(way):.0f}", f"{engine.bleu[way]:.2f}"]
        values[side] = {"engine": engine.name, "lowercased_bleu": engine.bleu[way]}
        values[side] |= {"sentences_a_second": engine.rate(way)}
    return [*cells, ratio.text(2)], values, ratio.median


def _first(
    ours: Mapping[str, Engine], theirs: Mapping[str, Engine]
) -> tuple[list[list[str]], dict[str, Any]]:
    """The same weights on both sides."""
    rows, summary = [], []
    for model, other in theirs.items():
        for way in WAYS:
            cells, values, _ = _beside(way, ours[model], other)
            rows.append([*cells, "same weights"])
            summary.append(values)
    return rows, {"same_weights": summary}


def _second(
    ours: Sequence[Engine], theirs: Sequence[Engine], others: Sequence[Engine]
) -> tuple[list[list[str]], dict[str, Any]]:
    """Like BLEU, whatever the network; and JoeyNMT's RNN beside the first of ours."""
    rows, summary = [], []
    for way, asked in ASKED.items():
        for other in theirs:
            like = [engine for engine in ours if engine.bleu[way] >= other.bleu[way] - LIKE]
            if not like:
                cells = [WAYS[way], "none", "-", "-", other.name, f"{other.rate(way):.0f}"]
                cells += [f"{other.bleu[way]:.2f}", "-", verdict(False, f"{asked:g}")]
                rows.append(cells)
                continue
            best = max(like, key=lambda engine: engine.rate(way))
            cells, values, ratio = _beside(way, best, other)
            rows.append([*cells, verdict(ratio >= asked, f"{asked:g}")])
            summary.append(values)
    joey = []
    for other in others:
        cells, values, ratio = _beside(JOEY_WAY, ours[0], other)
        aim = f", aim {JOEY_AIM:g}" + ("" if ratio >= JOEY_AIM else " missed")
        rows.append([*cells, verdict(ratio >= JOEY_ASKED, f"{JOEY_ASKED:g}") + aim])
        joey.append(values)
    return rows, {"like_bleu": summary, "joeynmt": joey}


def _plot(engines: Sequence[Engine], path: Path) -> None:
    """Sentences a second against BLEU, a panel a way: right and up is better."""
    made = drawing(10, 8, 2, 2)
    if made is None:
        return
    from matplotlib.ticker import LogFormatter

    figure, panels = made
    shapes = {"shoestring": "o", "CTranslate2": "^", "JoeyNMT": "s"}
    models = list(dict.fromkeys(engine.model for engine in engines))
    for axes, (way, name) in zip(panels.flat, WAYS.items(), strict=True):
        for engine in engines:
            if way in engine.seconds:
                reach = [len(lines("en")) / s for s in engine.seconds[way]]
                rate, color = engine.rate(way), f"C{models.index(engine.model)}"
                axes.errorbar(
                    rate,
                    engine.bleu[way],
                    xerr=[[rate - min(reach)], [max(reach) - rate]],
                    fmt=shapes[engine.family],
                    color=color,
                    markersize=8,
                    label=engine.name,
                )
        axes.set_xscale("log")
        for formatted in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            formatted(LogFormatter(minor_thresholds=(2, 0.4)))  # 60, not 6 x 10^1
        axes.set_title(name)
        axes.set_xlabel("sentences a second, one thread")
        axes.set_ylabel("lowercased BLEU, test 2016")
        ruled(axes)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle("Multi30k English-German: a color a network, a shape a program")
    drawn(figure, path)


if __name__ == "__main__":
    main()
