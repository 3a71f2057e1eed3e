"""tiny: a small, learnable source of this task, for the contract that all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from shoestring.core.protocols import Batch
from tests import tiny

NETWORKS: dict[str, dict[str, Any]] = {
    "compact": {"width": 4, "dropout": 0.2},
    "classic": {},
    "tiny": {"width": 4},
    "plain": {"width": 4, "kernel": 3},
    "efficientnet_lite0": {"side": 32},
}
RECIPE: dict[str, Any] = {
    "network": {"kind": "compact", "width": 4},
    "learning_rate": 0.02,
    "batch_size": 16,
}
BUNDLE = {"model.onnx"}  # its files beside the manifest, golden vectors and card


def write(folder: Path) -> Path:
    """A source with train and validation that some tens of steps learn."""
    return tiny.write_npz(folder / "bars.npz")


def rows(batch: Batch) -> Sequence[Any]:
    """What each example of a batch became, one tensor an example."""
    return list(batch.inputs)


def asked(folder: Path) -> list[str]:
    """Words after `predict BUNDLE` that stand for two inputs."""
    paths = [folder / name for name in ("one.png", "two.png")]
    for path in paths:
        Image.new("L", (tiny.SIDE, tiny.SIDE), 90).save(path)
    return list(map(str, paths))
