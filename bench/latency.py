"""latency: one 28x28 picture through the bundle's predict, against torch eager, one thread each.

    python bench/latency.py                  # trains a network for it first
    python bench/latency.py --run runs/a     # takes a run that is there

Blocks of calls take turns; a pair of blocks gives a ratio of their medians. The bundle answers
with label and probability; torch eager only with the label, so the peer does less.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from _figures import Figures, arguments, spread
from _one_fit import fitted
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shoestring.core.run import Run

SOURCE = "mnist"
ASKED = 5.0
# Budgets of a few seconds, of ten, and of a minute or more lead to these on MNIST.
NETWORKS = ("compact:width=16", "compact:width=24", "compact:width=32", "compact:width=48")
WARM_CALLS = 200
Call = Callable[[], object]


def main() -> None:
    parser = arguments("One picture through the bundle against torch eager.", 31, "pairs of blocks")
    parser.add_argument("--calls", type=int, default=300, help="in each block")
    parser.add_argument("--run", help="a run of 28x28 grey pictures; else one is trained")
    parser.add_argument("--steps", type=int, default=200, help="of the training, where none is")
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="WORDS",
        help="to train; may be repeated. Default: compact at the widths that budgets lead to",
    )
    given = parser.parse_args()
    figures = Figures("latency", given)
    pairs, calls = (5, 50) if given.quick else (given.seeds, given.calls)
    rows, summary = [], {}
    ways: dict[str, tuple[Call, Call]] = {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        if given.run:
            ways = _ways(Path(given.run), "")
        for number, network in enumerate([] if given.run else given.network or NETWORKS):
            job = {"source": SOURCE, "steps": 10 if given.quick else given.steps}
            job |= {"network": network, "out": f"{folder}/{number}"}
            ways |= _ways(Path(fitted(job).path), f"{network}, ")
    for name, (ours, eager) in ways.items():
        assert ours() == eager(), f"{name}: the two disagree on the picture"
        for call in (ours, eager):
            _seconds(call, WARM_CALLS)
        ratios, bundle, torch_eager = [], [], []
        for pair in range(pairs):
            first, second = (ours, eager) if pair % 2 == 0 else (eager, ours)
            found = {id(first): _seconds(first, calls), id(second): _seconds(second, calls)}
            bundle.append(1e6 * found[id(ours)])
            torch_eager.append(1e6 * found[id(eager)])
            ratios.append(torch_eager[-1] / bundle[-1])
            medians = {"bundle_us": bundle[-1], "torch_eager_us": torch_eager[-1]}
            figures.line("pair of blocks", {"input": name, "pair": pair, **medians})
        ratio = spread(ratios)
        summary[name] = {
            "ratio": ratio,
            "bundle_microseconds": spread(bundle),
            "torch_eager_microseconds": spread(torch_eager),
        }
        asked = "-"
        if name.endswith("array"):
            asked = f"{ASKED:.0f}: {'met' if ratio.median >= ASKED else 'MISSED'}"
        row = [name, spread(bundle).text(1), spread(torch_eager).text(1), ratio.text(1), asked]
        rows.append(row)
    head = ["input", "bundle, us: median (range)", "torch eager, us", "ratio", "asked"]
    figures.finish(head, rows, summary)


def _ways(path: Path, name: str) -> dict[str, tuple[Call, Call]]:
    """By kind of input: the bundle's call and torch eager's, each giving the label."""
    import torch
    from PIL import Image

    from shoestring.bundle import bundle as bundles
    from shoestring.engine import seal, store

    torch.set_num_threads(1)
    run = store.read(path)
    opened = bundles.load(path, threads=1)
    model = seal.load_model(run)
    picture = _picture(run)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    encoded = buffer.getvalue()
    labels: list[str] = run.facts["labels"]
    mean, scale = run.facts["mean"][0], 1 / run.facts["std"][0]

    def eager(pixels_HW: NDArray[np.uint8]) -> str:
        with torch.no_grad():
            x_HW = torch.from_numpy(pixels_HW).float().sub_(mean).mul_(scale)
            return labels[int(model(x_HW[None, None]).argmax(1))]

    def answered(given: Any) -> str:
        return cast(str, opened.predict(given)[0]["label"])

    def decoded() -> NDArray[np.uint8]:
        return np.array(Image.open(io.BytesIO(encoded)).convert("L"))

    return {
        f"{name}array": (lambda: answered(picture), lambda: eager(picture)),
        f"{name}encoded PNG": (lambda: answered(encoded), lambda: eager(decoded())),
    }


def _picture(run: Run) -> NDArray[np.uint8]:
    """A picture of the validation split, (28, 28)."""
    from shoestring import plugins
    from shoestring.core.protocols import silent

    dataset = cast(Any, plugins.task(run.task).load(run.recipe, silent))
    pixels_HWC: NDArray[np.uint8] = dataset.validation.take(np.array([0]))[0]
    if pixels_HWC.shape != (28, 28, 1):
        raise SystemExit(f"the run reads pictures of {pixels_HWC.shape}, not (28, 28, 1)")
    return np.ascontiguousarray(pixels_HWC[:, :, 0])


def _seconds(call: Call, count: int) -> float:
    """The median of so many calls."""
    clock, taken = time.perf_counter, list[float]()
    for _ in range(count):
        began = clock()
        call()
        taken.append(clock() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
