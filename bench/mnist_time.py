"""mnist_time: time to accuracy on MNIST, beside the Keras example, and the share of bf16 reached.

    python bench/mnist_time.py --with-keras          # sh bench/peers/setup.sh first
    python bench/mnist_time.py --length epochs=4 --with augment:shift=0.07,rotation=8

Every training is a process of its own. Its bundle is graded on `mnist:test` once, when it has
ended: nothing is chosen by it here. Seeds go round over the points, and Keras runs in the middle.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from _figures import HERE, RESULTS, Figures, Spread, arguments, child, spread, verdict
from _one_fit import Fit, fitted, shown

import shoestring

SOURCE = "mnist"
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
MATRIX_SECONDS = 1.0  # of multiplying, at the least, for one look at the rate
KERAS_RATIO = 40.0


@dataclass(frozen=True)
class Point:
    """One length of training and what is asked of it."""

    name: str
    length: tuple[str, str]  # "epochs", "steps" or "budget", and how much
    accuracy: float | None = None  # test, mean of the seeds
    seconds: float | None = None  # of fit
    techniques: tuple[str, ...] = ()  # beside the defaults
    network: str | None = None  # None: the default for the length


# What the three figures are measured with. Networks and lengths were chosen on validation splits.
POINTS = (
    Point("99.25%", ("epochs", "0.9"), 0.9925, network="compact:width=16"),
    Point("99.5%", ("epochs", "3.5"), 0.995, 20.0, network="compact:width=24"),
    Point(
        "99.65%",
        ("epochs", "11"),
        0.9965,
        120.0,
        ("augment:shift=0.036,rotation=10,scale=0.1,shear=0.1", "average:decay=0.99"),
        "compact:width=48",
    ),
)


def main() -> None:
    parser = arguments("Time to accuracy on MNIST.", 5)
    parser.add_argument("--with-keras", action="store_true", help="run the Keras example beside it")
    parser.add_argument("--keras-python", default=".env-keras/bin/python")
    parser.add_argument(
        "--length",
        action="append",
        default=[],
        metavar="epochs=N|steps=N|budget=TIME",
        help="instead of the three points; may be repeated",
    )
    parser.add_argument("--point", help="only this one: 99.25%%, 99.5%% or 99.65%%")
    parser.add_argument("--with", dest="techniques", action="append", default=[], metavar="WORDS")
    parser.add_argument("--network", metavar="WORDS")
    parser.add_argument("--precision", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    figures = Figures("mnist_time", given)
    points = _points(given)
    seeds = range(1 if given.quick else given.seeds)
    keras: dict[str, Any] | None = None
    fits: dict[str, list[tuple[Fit, float, float]]] = {point.name: [] for point in points}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        # The first training decodes into the cache; what is timed finds it there.
        warm = fitted({"source": SOURCE, "steps": 1, "out": f"{folder}/warm"})
        figures.line("first command, cache made if it was not there", shown(warm))
        for seed in seeds:
            for point in points:
                found = _measured(point, seed, Path(folder), given, figures)
                fits[point.name].append(found)
            if given.with_keras and seed == len(seeds) // 2:
                keras = _keras(given)
                figures.line("keras simple MNIST convnet", keras)
    rows, summary = [], {}
    for point in points:
        row, values = _concluded(point, fits[point.name], keras)
        rows.append(row)
        summary[point.name] = values
    if keras is not None:
        rows.append(_keras_row(keras))
        summary["keras"] = keras
    head = ["point", "length", "test accuracy", "seconds of fit", "of the command", "bf16", "asked"]
    path = figures.finish(head, rows, summary)
    _plot(points, fits, keras, path.with_suffix(".png"))


def _points(given: argparse.Namespace) -> Sequence[Point]:
    more = tuple(given.techniques)
    if given.length:
        pairs = [tuple(words.split("=", 1)) for words in given.length]
        if any(len(p) != 2 or p[0] not in ("epochs", "steps", "budget") for p in pairs):
            raise SystemExit("--length is epochs=N, steps=N or budget=TIME")
        return [Point(f"{a}={b}", (a, b), techniques=more) for a, b in pairs]
    if given.point:
        return [point for point in POINTS if point.name == given.point]
    if given.quick:
        tried = (POINTS[0], POINTS[-1])
        return [replace(p, length=("steps", "40")) for p in tried]
    return POINTS


def _measured(
    point: Point, seed: int, folder: Path, given: argparse.Namespace, figures: Figures
) -> tuple[Fit, float, float]:
    """The fit, its bundle's test accuracy, and the matrix rate around it in operations a
    second."""
    kind, amount = point.length
    job: dict[str, Any] = {
        "source": SOURCE,
        "seed": seed,
        "device": given.device,
        "techniques": list(point.techniques),
        "out": str(folder / f"{point.name}-{seed}"),
        kind: amount if kind == "budget" else float(amount) if kind == "epochs" else int(amount),
    }
    # Precision is said, so that a length in epochs needs no steps that are thrown away.
    job |= {"precision": "bfloat16"} | ({"network": point.network} if point.network else {})
    for name in ("network", "precision", "threads"):
        if getattr(given, name) is not None:
            job[name] = getattr(given, name)
    before = matrix_rate(given.device, given.threads)
    fit = fitted(job)
    rate = max(before, matrix_rate(given.device, given.threads))
    scores = shoestring.evaluate(fit.path, f"{SOURCE}:test")
    assert scores.quality is not None
    figures.line(
        "fit",
        {
            **shown(fit),
            "point": point.name,
            "seed": seed,
            "test_accuracy": scores.quality,
            "test_examples": scores.examples,
            "bf16_operations_a_second": rate,
            "share_of_bf16": share_of(fit, rate),
        },
    )
    return fit, scores.quality, rate


def matrix_rate(device: str, threads: int | None) -> float:
    """Operations a second (2 for a multiply-accumulate) of one large square bf16 product, the
    best of several: a peak that this torch reaches, not one that a data sheet promises."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cpu":
        torch.set_num_threads(threads or torch.get_num_threads())
    side = MATRIX_SIDE.get(kind, 4096)
    a = torch.randn(side, side, device=device).to(torch.bfloat16)
    b = torch.randn(side, side, device=device).to(torch.bfloat16)
    best, spent = float("inf"), 0.0
    with torch.no_grad():
        while spent < MATRIX_SECONDS:
            began = time.perf_counter()
            product = a @ b
            float(product[0, 0])  # waits for the device
            seconds = time.perf_counter() - began
            best, spent = min(best, seconds), spent + seconds
    return 2.0 * side**3 / best


def share_of(fit: Fit, rate: float) -> float | None:
    """Of the matrix rate, what the fit's steps reach; None for a fit too short to tell.

    Operations: 3 (forward, gradient of weights, gradient of inputs) times 2 times the
    multiply-accumulates of convolutions and dense layers, less the first layer's gradient of
    inputs, which nobody computes. Normalisation, ReLU, augmenting and the optimizer (Muon's
    products too) count as time and not as operations.
    """
    if not fit.stepping_seconds:
        return None
    examples = fit.stepping_steps * fit.batch_size
    operations = (3 * fit.macs - fit.first_layer_macs) * 2 * examples
    return operations / fit.stepping_seconds / rate


def _keras(given: argparse.Namespace) -> dict[str, Any]:
    python = Path(given.keras_python)
    if not python.is_file():
        raise SystemExit(f"{python} is not there: sh bench/peers/setup.sh makes it")
    words: list[str | Path] = [python, HERE / "peers" / "keras_mnist.py"]
    words += ["--epochs", "1", "--examples", "2000"] if given.quick else []
    found: dict[str, Any] = child(words, "the Keras example").found
    return found


def _concluded(
    point: Point, fits: Sequence[tuple[Fit, float, float]], keras: dict[str, Any] | None
) -> tuple[list[str], dict[str, Any]]:
    """The table's row of a point, and its numbers."""
    accuracy = spread([accuracy for _, accuracy, _ in fits])
    seconds = spread([fit.fit_seconds for fit, _, _ in fits])
    command = spread([fit.command_seconds for fit, _, _ in fits])
    shares = [found for fit, _, rate in fits if (found := share_of(fit, rate)) is not None]
    summary: dict[str, Any] = {
        "length": "=".join(point.length),
        "techniques": "; ".join(point.techniques),
        "network": point.network,
        "test_accuracy": accuracy,
        "fit_seconds": seconds,
        "command_seconds": command,
        "share_of_bf16": spread(shares) if shares else None,
        "keras_ratio": None,
    }
    asked = []
    if point.accuracy is not None:
        asked.append(verdict(accuracy.mean >= point.accuracy, f"{100 * point.accuracy:.2f}%"))
    if point.seconds is not None:
        asked.append(verdict(seconds.mean <= point.seconds, f"in {point.seconds:.0f} s"))
    if keras is not None:
        ratio = keras["fit_seconds"] / seconds.mean
        summary["keras_ratio"] = ratio
        words = f"1/{ratio:.1f} of Keras"
        first = point.accuracy == POINTS[0].accuracy
        asked.append(verdict(ratio >= KERAS_RATIO, words) if first else words)
    row = [
        point.name,
        "=".join(point.length),
        f"{100 * accuracy.mean:.3f}% +- {100 * accuracy.deviation:.3f} (n={accuracy.count})",
        _seconds(seconds),
        _seconds(command),
        f"{100 * spread(shares).median:.0f}%" if shares else "-",
        ", ".join(asked) or "-",
    ]
    return row, summary


def _seconds(found: Spread) -> str:
    return f"{found.mean:.1f} ({found.low:.1f} to {found.high:.1f})"


def _keras_row(keras: dict[str, Any]) -> list[str]:
    return [
        "Keras example",
        f"epochs={keras['epochs']}",
        f"{100 * keras['test_accuracy']:.3f}% (n=1)",
        f"{keras['fit_seconds']:.1f}",
        "-",
        "-",
        f"{fmean(keras['epoch_seconds']):.1f} s an epoch",
    ]


def _plot(
    points: Sequence[Point],
    fits: dict[str, list[tuple[Fit, float, float]]],
    keras: dict[str, Any] | None,
    path: Path,
) -> None:
    """Test accuracy against seconds of fit, a dot a seed, with what was asked."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for number, point in enumerate(points):
        color = f"C{number}"
        seconds = [fit.fit_seconds for fit, _, _ in fits[point.name]]
        accuracy = [100 * found for _, found, _ in fits[point.name]]
        label = f"shoestring, {'='.join(point.length)}"
        axes.scatter(seconds, accuracy, s=18, color=color, alpha=0.5)
        mean = (fmean(seconds), fmean(accuracy))
        axes.scatter(*mean, s=160, marker="_", linewidths=2.5, color=color, label=label)
        limit = point.seconds
        if point.accuracy is not None and point.seconds is None and keras is not None:
            limit = keras["fit_seconds"] / KERAS_RATIO
        if point.accuracy is not None and limit is not None:
            # The corner of what was asked: as accurate at least, as fast at least.
            axes.scatter([limit], [100 * point.accuracy], marker=4, s=60, color=color, zorder=3)
    if keras is not None:
        label = f"Keras example, {keras['epochs']} epochs"
        accuracy_there = 100 * keras["test_accuracy"]
        axes.scatter(keras["fit_seconds"], accuracy_there, marker="s", color="black", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of fit")
    axes.set_ylabel("test accuracy of the bundle, %")
    axes.set_title("MNIST: a dot a seed, a bar their mean, a corner what was asked")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(loc="upper left", framealpha=0.6)
    figure.savefig(path, dpi=120)
    name = path.relative_to(RESULTS.parent.parent)
    print(f"drawn to {name}")


if __name__ == "__main__":
    main()
