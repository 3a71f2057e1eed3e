"""Whether classes survive a flip: yes only where mirrored pictures help beyond chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shoestring.engine.part import part_of
from shoestring.tasks.images.flip import Found, found, sign_test, survives
from tests import tiny
from tests.tasks.images.drawn import loaded

Pictures = NDArray[np.uint8]


def hooks(path: Path, name: str) -> tuple[str, ...]:
    """What `flip=auto` became once the recipe was completed."""
    run, _ = tiny.prepared(path, path / name, hooks=("augment:shift=0.1,flip=auto",))
    return run.recipe.hooks


def arrows(count: int, turned: bool) -> tuple[Pictures, NDArray[Any]]:
    """Slanted strokes at random places. Two classes: up to the right and up to the left where
    `turned`, which a mirror exchanges; else steep and shallow, each of which slants either way in
    validation but mostly one way in training."""
    draws = np.random.default_rng(1)
    x = draws.integers(0, 60, (count, 16, 16), dtype=np.uint8)
    y = np.arange(count) % 2
    for number in range(count):
        row, column = draws.integers(3, 13, 2)
        left = y[number] == 1 if turned else number >= count * 2 // 3
        for step in range(-3, 4):
            down, right = (step, step) if turned or y[number] else (step, step // 3)
            x[number, row - down, column + (-right if left else right)] = 220
    return x, y


def written(folder: Path, turned: bool) -> Path:
    x, y = arrows(600, turned)
    splits = {"x_train": x[:400], "y_train": y[:400], "x_val": x[400:], "y_val": y[400:]}
    np.savez(folder / "strokes.npz", **splits)
    return folder / "strokes.npz"


def test_classes_that_a_mirror_exchanges_do_not_survive(tmp_path: Path) -> None:
    dataset = loaded(written(tmp_path, turned=True))
    assert not survives(dataset)
    (finding,) = (f for f in dataset.findings if f.kind == "flip")
    assert finding.count == 200
    assert "a flip changes what classes look like: nothing is mirrored" in finding.message
    assert hooks(tmp_path, "strokes.npz") == ("augment:shift=0.1,flip=no",)


def test_classes_that_look_either_way_survive(tmp_path: Path) -> None:
    dataset = loaded(written(tmp_path, turned=False))
    assert survives(dataset)
    assert survives(dataset)  # asked again, told once
    (finding,) = (f for f in dataset.findings if f.kind == "flip")
    assert "half of the training pictures are mirrored" in finding.message
    assert hooks(tmp_path, "strokes.npz") == ("augment:shift=0.1,flip=yes",)


def test_a_part_of_the_pictures_is_looked_at_by_itself(tmp_path: Path) -> None:
    whole = loaded(written(tmp_path, turned=False))
    part = part_of(whole, np.arange(300))
    assert survives(part)
    (finding,) = part.findings
    assert finding.kind == "flip"
    assert finding not in whole.findings


def test_no_sign_either_way_is_a_no(tmp_path: Path) -> None:
    dataset = loaded(tiny.write_npz(tmp_path / "bars.npz"))
    result = found(dataset.train, dataset.validation, 3)
    assert result == found.__wrapped__(dataset.train, dataset.validation, 3)
    even = Found(won=3, lost=3, examples=100)
    assert not even.survives
    assert "which shows nothing, so nothing is mirrored; flip=yes" in even.finding().message


def test_small_sets_and_large_pictures_can_be_looked_at(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for side in (8, 40):
        x = draws.integers(0, 256, (30, side, side + 3, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{side}.npz", x=x, y=np.arange(30) % 2)
        dataset = loaded(tmp_path / f"{side}.npz")
        assert 0 <= found(dataset.train, dataset.validation, 2).won <= len(dataset.validation)


@pytest.mark.parametrize(
    ("won", "lost", "chance"), [(0, 0, 1.0), (5, 0, 1 / 32), (1, 1, 0.75), (0, 9, 1.0)]
)
def test_the_sign_test_is_exact(won: int, lost: int, chance: float) -> None:
    assert sign_test(won, lost) == pytest.approx(chance)


def test_chance_alone_says_yes_in_one_case_of_twenty_at_most() -> None:
    draws = np.random.default_rng(0)
    won = draws.binomial(40, 0.5, 4000)
    share = np.mean([Found(int(w), 40 - int(w), 200).survives for w in won])
    assert share <= 0.05 + 2 * (0.05 * 0.95 / 4000) ** 0.5
