"""drawn: small pictures on disk for tests, each different from the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from shoestring.core.protocols import silent
from shoestring.tasks.images.data import ImageDataset, ImageExamples, load, load_for
from shoestring.tasks.images.options import ImageOptions


def noise(number: int, side: int = 16, mode: str = "RGB", width: int | None = None) -> Image.Image:
    """A picture of its own for every number: coarse noise, which survives resizing and JPEG."""
    draws = np.random.default_rng(number)
    coarse = draws.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width or side, side), Image.Resampling.BICUBIC)
    return image.convert(mode)


def save(path: Path, number: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(number, **options).save(path)  # type: ignore[arg-type]  # side, mode, width
    return path


def folder_of(root: Path, counts: dict[str, int], start: int = 0, **options: object) -> Path:
    """Class folders with so many pictures each."""
    number = start
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save(root / label / f"{i}.png", number, **options)
            number += 1
    return root


def loaded(source: Path | str, **options: object) -> ImageDataset:
    return load(str(source), ImageOptions(**options), silent)  # type: ignore[arg-type]  # by name


def loaded_for(source: Path | str, dataset: ImageDataset, **options: object) -> ImageExamples:
    chosen = ImageOptions(**options)  # type: ignore[arg-type]  # by name
    return load_for(str(source), dataset.facts, chosen, silent)


def kinds(dataset: ImageDataset | ImageExamples) -> dict[str, int]:
    """Kind of finding to its count."""
    return {finding.kind: finding.count for finding in dataset.findings}


def sizes(dataset: ImageDataset) -> tuple[int, int, int]:
    """Examples of train, validation and test."""
    return len(dataset.train), len(dataset.validation), dataset.count("test")
