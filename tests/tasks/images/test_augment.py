"""Augmentation: what each change does to pixels, and that it is drawn per picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shoestring.core.protocols import Batch
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.images.augment import augment
from shoestring.tasks.images.defaults import AUGMENT


def a_batch(count: int = 32, side: int = 9, channels: int = 3) -> Batch:
    pixels = torch.randint(
        0, 256, (count, side, side + 2, channels), generator=torch.Generator().manual_seed(0)
    ).to(torch.uint8)
    return Batch(pixels, torch.zeros(count), torch.arange(count), count)


def changed(batch: Batch, **options: Any) -> torch.Tensor:
    draws = KeyedDraws(0, 0, batch.ids)
    result = augment(batch, draws, {**AUGMENT, **options})
    assert result.inputs.shape == batch.inputs.shape
    assert isinstance(result.inputs, torch.Tensor)
    return result.inputs


def test_nothing_asked_changes_nothing() -> None:
    batch = a_batch()
    assert torch.equal(changed(batch), batch.inputs)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shift_moves_by_whole_pixels_and_repeats_the_border(channels: int) -> None:
    batch = a_batch(200, channels=channels)
    moved = changed(batch, shift=0.2)
    most = 2  # a fifth of nine, rounded
    before = batch.inputs
    rows, columns = torch.arange(9), torch.arange(11)
    seen = set()
    for old, new in zip(before, moved, strict=True):
        fits = [
            (dy, dx)
            for dy in range(-most, most + 1)
            for dx in range(-most, most + 1)
            if torch.equal(old[(rows + dy).clamp(0, 8)][:, (columns + dx).clamp(0, 10)], new)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == (2 * most + 1) ** 2


def test_a_flip_mirrors_about_half_of_them() -> None:
    batch = a_batch(400)
    flipped = changed(batch, flip="yes")
    mirrored = (flipped == batch.inputs.flip(2)).flatten(1).all(1)
    same = (flipped == batch.inputs).flatten(1).all(1)
    assert bool((mirrored | same).all())
    assert 150 < int(mirrored.sum()) < 250


def test_an_affine_change_keeps_the_range_and_moves_little() -> None:
    ramp = torch.arange(31.0)[None, None, :, None].expand(64, 31, 31, 1).mul(8).to(torch.uint8)
    batch = Batch(ramp, torch.zeros(64), torch.arange(64), 64)
    moved = changed(batch, rotation=10.0, scale=0.1, shear=0.1, shift=0.05)
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 240.001
    middle = moved[:, 10:21, 10:21] - ramp[:, 10:21, 10:21].float()
    assert 0 < float(middle.abs().max()) < 8 * 6
    assert abs(float(middle.mean())) < 8


def test_colour_keeps_within_a_byte_and_leaves_places_alone() -> None:
    batch = a_batch(64)
    moved = changed(batch, color=0.5)
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 255
    assert not torch.equal(moved, batch.inputs.float())
    flat = torch.full((4, 5, 5, 3), 100, dtype=torch.uint8)
    same = changed(Batch(flat, torch.zeros(4), torch.arange(4), 4), color=0.5)
    assert float(same.flatten(1).std(1).max()) < 1e-3


def test_erasing_sets_a_square_to_grey() -> None:
    black = torch.zeros(100, 12, 12, 1, dtype=torch.uint8)
    moved = changed(Batch(black, torch.zeros(100), torch.arange(100), 100), erase=0.3)
    counts = (moved == 128).sum((1, 2, 3))
    assert bool(((moved == 0) | (moved == 128)).all())
    assert int(counts.max()) <= 16
    assert int(counts.min()) >= 1


def test_a_picture_is_changed_alike_in_any_batch() -> None:
    batch = a_batch(16)
    everything: dict[str, Any] = {
        "shift": 0.1,
        "rotation": 9.0,
        "elastic": 0.1,
        "color": 0.2,
        "erase": 0.2,
        "flip": "yes",
    }
    whole = changed(batch, **everything)
    part = Batch(batch.inputs[4:7], batch.targets[4:7], batch.ids[4:7], 3)
    assert torch.allclose(changed(part, **everything), whole[4:7], atol=1e-4)


def test_a_flip_among_moves_is_part_of_their_look_up() -> None:
    batch = a_batch(60)
    moved = changed(batch, shear=1e-7, flip="yes")
    before = batch.inputs.float()
    mirrored = (moved - before.flip(2)).abs().flatten(1).amax(1) < 0.01
    same = (moved - before).abs().flatten(1).amax(1) < 0.01
    assert bool((mirrored ^ same).all())
    assert 15 < int(mirrored.sum()) < 45


def test_a_bend_alone_is_a_move_of_its_own() -> None:
    batch = a_batch(60)
    moved = changed(batch, elastic=0.1)
    assert moved.shape == batch.inputs.shape
    assert float((moved - batch.inputs.float()).abs().flatten(1).amax(1).min()) > 0
    flat = torch.full((4, 5, 7, 3), 100, dtype=torch.uint8)
    same = changed(Batch(flat, torch.zeros(4), torch.arange(4), 4), elastic=0.2)
    assert torch.allclose(same, flat.float(), atol=1e-3)


def test_a_flip_that_is_not_asked_for_does_not_happen() -> None:
    batch = a_batch()
    assert torch.equal(changed(batch, flip="no"), batch.inputs)


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_a_policy_goes_together_with_ranges(policy: str) -> None:
    batch = a_batch(64, side=17)
    moved = changed(batch, policy=policy, rotation=10.0, color=0.2, flip="yes")
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 255
    part = Batch(batch.inputs[7:9], batch.targets[7:9], batch.ids[7:9], 2)
    again = changed(part, policy=policy, rotation=10.0, color=0.2, flip="yes")
    assert torch.allclose(again, moved[7:9], atol=1e-3)


def test_a_batch_is_left_as_it_was() -> None:
    batch = a_batch()
    before = batch.inputs.clone()
    changed(batch, policy="rand", operations=3, erase=0.3, flip="yes")
    assert torch.equal(batch.inputs, before)
