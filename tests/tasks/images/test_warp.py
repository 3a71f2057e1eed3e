"""Moving pixels by matrices: what they mean, and that several are one."""

from __future__ import annotations

import pytest
import torch

from shoestring.engine.device import KeyedDraws
from shoestring.tasks.images import warp

RANGES = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}


def smooth(count: int, side: int = 24) -> torch.Tensor:
    """(count, side, side, 2) soft blobs, which survive being looked up twice."""
    places = torch.linspace(-1, 1, side)
    x, y = places[None, :], places[:, None]
    blob = 200 * torch.exp(-4 * ((x - 0.2) ** 2 + (y + 0.1) ** 2))
    slope = 100 + 60 * torch.sin(2 * x) + 30 * y
    return torch.stack([blob, slope], 2).expand(count, side, side, 2)


def test_nothing_drawn_changes_nothing() -> None:
    x = smooth(3)
    matrix = warp.drawn(KeyedDraws(0, 0, torch.arange(3)), RANGES)
    assert torch.allclose(warp.warped(x, matrix), x, atol=1e-3)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    x = smooth(1)
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert torch.allclose(warp.warped(x, quarter), torch.rot90(x, 1, (1, 2)), atol=1e-3)


def test_a_shift_is_a_share_of_the_side() -> None:
    x = smooth(1)
    moved = warp.warped(x, torch.tensor([[[1.0, 0.0, 2 * 0.25], [0.0, 1.0, 0.0]]]))
    assert torch.allclose(moved[:, :, :18], x[:, :, 6:], atol=1e-3)
    assert torch.allclose(moved[:, :, 18:], x[:, :, -1:].expand(1, 24, 6, 2), atol=1e-3)


def test_mirrored_is_the_mirror_image() -> None:
    x = smooth(2)
    matrix = warp.mirrored(torch.eye(2, 3).expand(2, 2, 3), torch.tensor([True, False]))
    moved = warp.warped(x, matrix)
    assert torch.allclose(moved[0], x[0].flip(1), atol=1e-3)
    assert torch.allclose(moved[1], x[1], atol=1e-3)


def test_composed_matrices_do_one_after_the_other() -> None:
    x = smooth(8, 64)
    some = {"rotation": 20.0, "scale": 0.1, "shear": 0.1, "shift": 0.05}
    draws = KeyedDraws(0, 0, torch.arange(8))
    first, second = warp.drawn(draws, some), warp.drawn(draws, some)
    at_once = warp.warped(x, warp.composed([first, second]))
    in_turn = warp.warped(warp.warped(x, first), second)
    inner = (slice(None), slice(20, 44), slice(20, 44))
    assert float((at_once - in_turn)[inner].abs().max()) < 3
    other_way = warp.warped(x, warp.composed([second, first]))
    assert float((other_way - in_turn)[inner].abs().max()) > 5


def test_a_bend_moves_no_pixel_further_than_said_and_neighbours_alike() -> None:
    draws = KeyedDraws(0, 0, torch.arange(500))
    bend = warp.bend(draws, 0.1)
    assert 0.19 < float(bend.abs().max()) <= 0.2
    field = (warp._smooth(20, 30, torch.device("cpu")) @ bend).view(500, 20, 30, 2)
    assert 0.1 < float(field.abs().max()) <= 0.2
    assert float(field.diff(dim=1).abs().max()) < 0.2 * 8 / 20  # no more than the points differ
    assert torch.allclose(
        warp._smooth(20, 30, torch.device("cpu")).sum(1), torch.ones(600), atol=1e-6
    )


def test_all_points_moved_alike_are_a_shift() -> None:
    x = smooth(2)
    still = torch.eye(2, 3).expand(2, 2, 3)
    moved = warp.warped(x, still, torch.tensor([0.5, 0.0]).expand(2, warp.POINTS**2, 2))
    assert torch.allclose(moved[:, :, :18], x[:, :, 6:], atol=1e-2)


@pytest.mark.parametrize("option", list(RANGES))
def test_each_range_is_kept(option: str) -> None:
    most = 12.0 if option == "rotation" else 0.2
    matrix = warp.drawn(KeyedDraws(0, 0, torch.arange(2000)), {**RANGES, option: most})
    linear, shift = matrix[:, :, :2], matrix[:, :, 2]
    if option == "shift":
        assert float(shift.abs().max()) <= 2 * most
        assert float(shift.abs().max()) > 1.9 * most
        return
    assert float(shift.abs().max()) == 0
    if option == "rotation":
        turned = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
        assert 0.95 * most < float(turned.abs().max()) <= most + 1e-4
    if option == "scale":
        area = torch.linalg.det(linear).sqrt()
        assert 1 / 1.2001 < float(area.min()) < float(area.max()) < 1.2001
