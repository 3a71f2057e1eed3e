"""making: a tiny bundle of images and a split to grade it on, made without any training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shoestring.bundle import bundle, card
from shoestring.core.receipt import Finding
from shoestring.tasks.images.graph import to_onnx

LABELS = ["cat", "dog", "none of these"]


def facts(
    channels: int = 1, size: tuple[int, int] = (8, 8), resize: bool = False, classes: int = 3
) -> dict[str, Any]:
    return {
        "labels": (LABELS + [f"label {k}" for k in range(classes)])[:classes],
        "size": list(size),
        "channels": channels,
        "resize": resize,
        "mean": [100.0 + 10 * c for c in range(channels)],
        "std": [50.0 + 5 * c for c in range(channels)],
        "class_counts": [10] * classes,
    }


def network(channels: int = 1, classes: int = 3, seed: int = 0) -> nn.Sequential:
    """Random, with BatchNorm as after some training."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
    return settled(model)


def settled(model: nn.Sequential) -> nn.Sequential:
    """The model with running statistics and affine parameters that are not the initial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


def graph(resize: bool = False, channels: int = 1) -> bytes:
    return to_onnx(network(channels), facts(channels, resize=resize), {})


def made(folder: Path, resize: bool = False, channels: int = 1, **extra: Any) -> Path:
    """A bundle at `folder`."""
    known = facts(channels, resize=resize)
    graphs = {"model.onnx": graph(resize, channels)}
    manifest = {"task": "images", "facts": known}
    golden = bundle.predictor(manifest, graphs).golden()
    return bundle.write(folder, "images", known, graphs, golden, card.card(manifest), extra)


def with_file(folder: Path, name: str, data: bytes) -> None:
    """Puts other bytes into a bundle and makes its manifest say that they are right."""
    (folder / name).write_bytes(data)
    with_manifest(folder, files={name: {"size_bytes": len(data), "sha256": digest(data)}})


def with_manifest(folder: Path, **changes: Any) -> None:
    """Changes keys of a manifest; tables are merged, None removes a key."""
    file = folder / "bundle.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is None:
            del manifest[key]
        else:
            merge = isinstance(value, dict) and isinstance(manifest.get(key), dict)
            manifest[key] = {**manifest[key], **value} if merge else value
    file.write_text(json.dumps(manifest), encoding="utf-8")


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


@dataclass
class Pictures:
    """As much of ImageExamples as grading needs."""

    data: NDArray[np.uint8]  # (B, H, W, C)
    labels: NDArray[np.int64]
    split: str = "validation"
    findings: tuple[Finding, ...] = ()

    @property
    def hashes(self) -> NDArray[np.uint64]:
        return np.arange(len(self.data), dtype=np.uint64) + 7

    def __len__(self) -> int:
        return len(self.data)

    def chunks(self, count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        for start in range(0, len(self), count):
            positions = np.arange(start, min(start + count, len(self)))
            yield positions, self.data[positions]


def pictures(count: int = 50, channels: int = 1, classes: int = 3) -> Pictures:
    random = np.random.default_rng(0)
    data = random.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)
    return Pictures(data, random.integers(0, classes, count))
