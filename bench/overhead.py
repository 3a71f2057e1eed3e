"""overhead: steps a second of the fit against a bare hand-written loop of the same training.

    python bench/overhead.py

Blocks of both take turns in one process, and every second pair begins with the other. The bare
loop is what a good engineer writes: pixels resident as uint8, index_select, normalise, autocast,
loss, backward, fused optimizer. Neither side's clock counts building, warm-up or validation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from _figures import Figures, arguments, spread

if TYPE_CHECKING:
    import torch

    from shoestring.core.listener import Look
    from shoestring.core.run import Recipe
    from shoestring.tasks.images.data import ImageDataset

SOURCE = "mnist"
WARM_UP = 0.15  # of the steps until the rate's peak, as in engine/schedule
SHIFT = 1  # pixels each way: what the default augmentation does to 28x28
ASKED = 0.97


@dataclass(frozen=True)
class Setting:
    """What both sides are to do."""

    recipe: Recipe
    dataset: ImageDataset
    warm: int  # steps before the clock starts
    steps: int  # steps on the clock
    threads: int


class Clock:
    """A listener that reads the clock at the first call and at the last."""

    def __init__(self) -> None:
        self.first: tuple[int, float] | None = None
        self.last = (0, 0.0)

    def stage(self, what: str, done: int, total: int) -> None:
        pass

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        self.last = (step, time.perf_counter())
        self.first = self.first or self.last

    def evaluation(self, look: Look) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def main() -> None:
    parser = arguments("Steps a second of the fit against a bare loop.", 9, "pairs of blocks")
    parser.add_argument("--steps", type=int, default=600, help="on the clock, in each block")
    parser.add_argument("--network", default="compact")
    parser.add_argument("--optimizer", default="muon", choices=["muon", "adamw"])
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    figures = Figures("overhead", given)
    rows, summary = [], {}
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        for augmented in (False, True):
            name = "with augmentation" if augmented else "without augmentation"
            setting = _setting(given, augmented)
            ratios, ours, bare = [], [], []
            for pair in range(2 if given.quick else given.seeds):
                first_ours = pair % 2 == 0
                out = Path(folder) / f"{name}-{pair}"
                sides: dict[str, Callable[[], float]] = {
                    "fit": lambda s=setting, o=out: fit_rate(s, o),  # type: ignore[misc]  # bound now
                    "bare": lambda s=setting: bare_rate(s),  # type: ignore[misc]  # bound now
                }
                order = ("fit", "bare") if first_ours else ("bare", "fit")
                found = {side: sides[side]() for side in order}
                ours.append(found["fit"])
                bare.append(found["bare"])
                ratios.append(found["fit"] / found["bare"])
                line = {"augmentation": augmented, "pair": pair, "first": order[0]}
                rates = {"fit_steps_a_second": ours[-1], "bare_steps_a_second": bare[-1]}
                figures.line("pair", {**line, **rates, "ratio": ratios[-1]})
            ratio = spread(ratios)
            summary[name] = {"ratio": ratio, "fit": spread(ours), "bare": spread(bare)}
            quarters = f"{ratio.quarter:.3f} to {ratio.three_quarters:.3f}"
            met = "met" if ratio.median >= ASKED else "MISSED"
            row = [name, f"{spread(ours).median:.1f}", f"{spread(bare).median:.1f}"]
            rows.append([*row, ratio.text(), quarters, f"{ASKED}: {met}"])
    head = ["", "fit, steps/s", "bare, steps/s", "ratio: median (range)", "middle half", "asked"]
    figures.finish(head, rows, summary)


def _setting(given: argparse.Namespace, augmented: bool) -> Setting:
    from shoestring import plugins
    from shoestring.core.protocols import silent
    from shoestring.core.run import Recipe
    from shoestring.engine.device import default_threads

    steps = 20 if given.quick else given.steps
    warm = max(2, steps // 10)
    task = plugins.task_for(SOURCE)
    options = plugins.options_from(task.options, {}, task.name)
    recipe = Recipe(
        task=task.name,
        source=SOURCE,
        options=vars(options),
        network={"kind": given.network},
        optimizer=given.optimizer,
        precision=given.precision,
        device="cpu",
        steps=warm + steps,
        evaluate_every=warm + steps,  # once, after the clock was read
        hooks=("augment:shift=0.036",) if augmented else (),
        without=() if augmented else ("augment",),
    )
    dataset = cast("ImageDataset", task.load(recipe, silent))
    threads = given.threads or default_threads()
    recipe = replace(task.complete(recipe, dataset, None), threads=threads)
    return Setting(recipe, dataset, warm, steps, threads)


def fit_rate(setting: Setting, out: Path) -> float:
    """Steps a second of `engine.fit.fit`, its log every `warm` steps and all its care included;
    from the first line of the log to the last."""
    from shoestring.core.budget import Budget
    from shoestring.core.run import Run
    from shoestring.engine import device, fit, interrupt, placement, store

    store.create(out)
    run = Run(out, setting.recipe.task, setting.recipe, facts=setting.dataset.facts)
    clock, budget = Clock(), Budget()
    place = placement.Local("cpu")
    with interrupt.listening() as stop, device.settled(setting.threads), budget.meter() as meter:
        fit.fit(run, setting.dataset, budget, place, meter, clock, stop, setting.warm)
    assert clock.first is not None
    return (clock.last[0] - clock.first[0]) / (clock.last[1] - clock.first[1])


def bare_rate(setting: Setting) -> float:
    """Steps a second of the loop below, after `warm` steps."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from shoestring import plugins

    recipe, facts = setting.recipe, setting.dataset.facts
    torch.set_num_threads(setting.threads)
    torch.manual_seed(recipe.seed)
    network = plugins.task(recipe.task).network(recipe.network["kind"])
    model = network.build(network.architecture(recipe.network, facts))
    hidden = [w for w in network.orthogonal(model) if w.ndim > 2]
    optimizers = _optimizers(model, recipe, hidden if recipe.optimizer == "muon" else [])
    pixels = torch.from_numpy(np.array(setting.dataset.train.pixels()))
    labels = torch.from_numpy(np.array(setting.dataset.train.labels))
    mean, scale = facts["mean"][0], 1 / facts["std"][0]
    batch, smoothing = recipe.batch_size or 128, recipe.label_smoothing or 0.0
    augmented, half = bool(recipe.hooks), recipe.precision == "bfloat16"
    total, peak = setting.warm + setting.steps, recipe.learning_rate or 0.0
    order, place = torch.randperm(len(pixels)), 0
    began = time.perf_counter()
    for step in range(total):
        if step == setting.warm:
            began = time.perf_counter()
        if place + batch > len(order):
            order, place = torch.randperm(len(pixels)), 0
        ids = order[place : place + batch]
        place += batch
        x_BHWC = pixels.index_select(0, ids)
        y_B = labels.index_select(0, ids)
        if augmented:
            x_BHWC = _shifted(x_BHWC)
        x_BCHW = x_BHWC.float().sub_(mean).mul_(scale).permute(0, 3, 1, 2)
        done = step / total
        rate = peak * (done / WARM_UP if done < WARM_UP else (1 - done) / (1 - WARM_UP))
        for optimizer, factor in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits_BK = model(x_BCHW)
        loss = cross_entropy(logits_BK.float(), y_B, label_smoothing=smoothing)
        cast(Any, loss).backward()
        for optimizer, _ in optimizers:
            optimizer.step()
        if step % setting.warm == 0 and not torch.isfinite(loss):
            raise SystemExit("the bare loop's loss is not finite")
    return setting.steps / (time.perf_counter() - began)


def _optimizers(
    model: torch.nn.Module, recipe: Recipe, hidden: Sequence[torch.nn.Parameter]
) -> list[tuple[torch.optim.Optimizer, float]]:
    """torch's own fused AdamW, and beside it a Muon as one writes it down from its source (Jordan
    et al. 2024): each with its factor on the rate. The numbers are shoestring's."""
    import torch

    from shoestring.engine import optimizer as ours
    from shoestring.engine.orthogonal import NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS

    taken = {id(weight) for weight in hidden}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": recipe.weight_decay or 0.0},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    a, b, c = NEWTON_SCHULZ

    class Muon(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closures here
            for group in self.param_groups:
                for weight in group["params"]:
                    state = self.state[weight]
                    if not state:
                        state["momentum"] = torch.zeros_like(weight)
                    momentum = state["momentum"].mul_(ours.MUON_MOMENTUM).add_(weight.grad)
                    update = weight.grad.add(momentum, alpha=ours.MUON_MOMENTUM)
                    x = update.reshape(len(update), -1).bfloat16()
                    x = x / (x.norm() + 1e-7)
                    tall = x.shape[0] > x.shape[1]
                    x = x.T if tall else x
                    for _ in range(NEWTON_SCHULZ_STEPS):
                        square = x @ x.T
                        x = a * x + (b * square + c * square @ square) @ x
                    x = x.T if tall else x
                    weight.mul_(len(weight) ** 0.5 / (weight.norm() + 1e-7))
                    weight.sub_(x.float().reshape(weight.shape), alpha=group["lr"])

    adamw = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
    found: list[tuple[torch.optim.Optimizer, float]] = [(adamw, 1.0)]
    if hidden:
        found.append((Muon(hidden, {"lr": 1e-3}), ours.MUON_RATE))
    return found


def _shifted(x_BHWC: torch.Tensor) -> torch.Tensor:
    """Every picture moved by up to a pixel each way, the border repeated."""
    import torch

    batch, height, width, channels = x_BHWC.shape
    moves = torch.randint(-SHIFT, SHIFT + 1, (2, batch, 1))
    rows = (torch.arange(height) + moves[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp_(0, width - 1)
    index = (rows[:, :, None] * width + columns[:, None, :]).reshape(batch, -1, 1)
    flat = x_BHWC.reshape(batch, height * width, channels)
    return flat.gather(1, index.expand(-1, -1, channels)).reshape(x_BHWC.shape)


if __name__ == "__main__":
    main()
