"""augment_time: what augmentation costs of a training step, each option alone and all at once.

    SHOESTRING_DATA=data python bench/augment_time.py

MNIST (28x28, grey) and sign-digits (64x64, colour), the network and batch that a minute's fit
takes by itself. The clock runs inside `Augment.change_batch` and around the whole step; the ways
take turns, a few steps each, so that a busy moment falls on all of them.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from _figures import Figures, arguments, data_folder, spread, verdict

from shoestring import plugins
from shoestring.core.protocols import Batch, Draws, Task, silent
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Hook
from shoestring.engine import device, placement
from shoestring.engine.loop import Feeds, Loop

AIM = 0.15  # of a training step, at the default strength
STEPS = 4  # of one way before the next
RANGES = "shift=0.036,rotation=10,scale=0.1,shear=0.1,elastic=0.1,flip=yes,color=0.2,erase=0.25"
WAYS = {
    "usual": "strength=1",
    "half of it": "strength=0.5",
    "shift": "shift=0.036",
    "rotation": "rotation=10",
    "scale": "scale=0.1",
    "shear": "shear=0.1",
    "elastic": "elastic=0.1",
    "flip": "flip=yes",
    "color": "color=0.2",
    "erase": "erase=0.25",
    "RandAugment": "policy=rand",
    "TrivialAugment": "policy=trivial",
    "mixup": "mixup=0.2",
    "CutMix": "cutmix=1",
    "all but a policy": f"{RANGES},mixup=0.2,cutmix=1",
    "all at once": f"{RANGES},mixup=0.2,cutmix=1,policy=trivial",
}


class Timed(Hook):
    """A hook whose change of a batch is timed."""

    def __init__(self, hook: Hook) -> None:
        self.hook, self.seconds = hook, 0.0

    def change_batch(self, task: Task, batch: Batch, draws: Draws) -> Batch:
        began = time.perf_counter()
        changed = self.hook.change_batch(task, batch, draws)
        self.seconds += time.perf_counter() - began
        return changed


def main() -> None:
    parser = arguments("The share of augmentation in a training step.", 10, "rounds over all ways")
    parser.add_argument("--threads", type=int, default=1, help="of a step")
    parser.add_argument("--precision", default="bfloat16", choices=device.PRECISIONS)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the fit that is imitated")
    given = parser.parse_args()
    figures = Figures("augment_time", given)
    rounds = 2 if given.quick else given.seeds
    sources = {"mnist": {}, str(data_folder("sign-digits")): {"size": 64}}
    rows, summary = [], {}
    for source, options in sources.items():
        recipe = Recipe(
            "images", source, options=options, precision=given.precision, threads=given.threads
        )
        name = Path(source).name
        with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
            shares = _shares(Run(Path(folder), "images", recipe), given.seconds, rounds)
        for way, found in shares.items():
            share, milliseconds = spread([f[0] for f in found]), spread([f[1] for f in found])
            figures.line("share", {"data": name, "way": way, "words": WAYS[way], "shares": found})
            aim = verdict(share.median <= AIM, f"{AIM:.0%}")
            rows.append([name, way, f"{share.median:.1%}", milliseconds.text(2), aim])
            summary[f"{name}, {way}"] = {"share": share, "milliseconds": milliseconds}
    head = ["data", "augment", "share of a step", "ms of a batch: median (range)", "must"]
    figures.finish(head, rows, summary)


def _shares(run: Run, seconds: float, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """For each way and round: the share of its steps, and milliseconds a batch."""
    task = plugins.task(run.task)
    dataset = task.load(run.recipe, silent)
    where = placement.Local("cpu")
    run = replace(run, facts=dataset.facts)
    feeds = Feeds.of(run, dataset, where)
    loops: dict[str, tuple[Loop, Timed]] = {}
    for way, words in WAYS.items():
        recipe = replace(run.recipe, hooks=(f"augment:{words}",), without=("average",))
        loop = Loop(replace(run, recipe=task.complete(recipe, dataset, seconds)), feeds, where)
        timed = Timed(loop.hooks[0])
        loop.hooks = [timed]
        loops[way] = loop, timed
    shares: dict[str, list[tuple[float, float]]] = {way: [] for way in loops}
    with device.settled(run.recipe.threads or 1):
        for turn in range(rounds + 1):
            for way, (loop, timed) in loops.items():
                timed.seconds, began = 0.0, time.perf_counter()
                for _ in range(STEPS):
                    loop.step(0.3, 1.0)
                whole = time.perf_counter() - began
                if turn:  # the first warms caches
                    share = round(timed.seconds / whole, 4)
                    shares[way].append((share, round(1e3 * timed.seconds / STEPS, 4)))
    return shares


if __name__ == "__main__":
    main()
