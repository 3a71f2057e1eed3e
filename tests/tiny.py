"""tiny: small, learnable data and short fits of them, for tests of the engine.

`recipe` knows every task through `tests/tasks/NAME/tiny.py`; where no task is named it is the one
that recognizes the source."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoestring import plugins
from shoestring.core.budget import Budget, Meter
from shoestring.core.listener import Quiet
from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe, Run
from shoestring.engine import device, fit, placement
from shoestring.engine.interrupt import Interrupt

CLASSES = 3
SIDE = 12


def write_npz(path: Path, count: int = 240, seed: int = 0) -> Path:
    """Pictures of noise with a bright bar, whose place is the class: `count` of them."""
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pictures = draws.integers(0, 120, (count, SIDE, SIDE), dtype=np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, 4 * label : 4 * label + 3] += np.uint8(100)
    np.savez(path, x=pictures, y=labels)
    return path


def of_task(name: str) -> Any:
    """What a task's own tests bring: NETWORKS, RECIPE, write(folder), rows(batch)."""
    return importlib.import_module(f"tests.tasks.{name}.tiny")


def recipe(source: Path, **changes: Any) -> Recipe:
    task = changes.pop("task", None) or plugins.task_for(str(source)).name
    small = of_task(task)
    base = Recipe(
        task,
        str(source),
        precision="float32",
        device="cpu",
        threads=1,
        steps=12,
        evaluate_every=4,
    )
    return replace(replace(base, **small.RECIPE), **changes)


def prepared(folder: Path, source: Path, **changes: Any) -> tuple[Run, Dataset]:
    """An untrained run in `folder`, its recipe completed, and its data."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = recipe(source, **changes)
    task = plugins.task(wanted.task)
    dataset = task.load(wanted, Quiet().stage)
    completed = task.complete(wanted, dataset, wanted.budget_seconds)
    return Run(folder, wanted.task, completed, facts=dataset.facts), dataset


def fitted(
    run: Run,
    dataset: Dataset,
    *,
    budget: Budget | None = None,
    listener: Quiet | None = None,
    interrupt: Interrupt | None = None,
    meter: Meter | None = None,
) -> tuple[Run, dict[str, torch.Tensor]]:
    with device.settled(1, run.recipe.device):
        return fit.fit(
            run,
            dataset,
            budget or Budget(run.recipe.budget_seconds),
            placement.Local(run.recipe.device),
            meter or Meter(),
            listener or Quiet(),
            interrupt or Interrupt(),
        )


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
