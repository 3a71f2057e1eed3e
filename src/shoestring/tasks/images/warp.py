"""warp: pictures moved, turned, sheared and scaled, each by a matrix of its own, and bent.

Shapes: B pictures, H height, W width, C channels. A matrix is (B, 2, 3): where in the old picture
the pixel at (x, y, 1) of the new one is found, both from -1 to 1 across the picture. A bend is
(B, K, 2): how far the look-up is moved at each of K points that lie on a square grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, reduce
from typing import Any

import torch
import torch.nn.functional as F

from shoestring.core.protocols import Draws

POINTS = 5  # a side of the grid of a bend: strokes of a third of the picture move by themselves


def drawn(draws: Draws, options: Mapping[str, Any]) -> torch.Tensor:
    """(B, 2, 3) of a rotation, a scale, a shear and a shift, each within its range."""
    u_6B = (draws.uniform(6) * 2 - 1).T
    angle = u_6B[0] * math.radians(options["rotation"])
    most = math.log1p(options["scale"])
    zoom, stretch = torch.exp(u_6B[1] * most), torch.exp(u_6B[2] * most / 2)
    shear = u_6B[3] * options["shear"]
    cos, sin = torch.cos(angle), torch.sin(angle)
    across = torch.stack([zoom * stretch * cos, zoom * sin], 1)
    down = torch.stack([zoom * (shear * cos - sin), zoom / stretch * (cos + shear * sin)], 1)
    return torch.stack([across, down, u_6B[4:].T * (2 * options["shift"])], 2)


def mirrored(matrix_B23: torch.Tensor, chosen_B: torch.Tensor) -> torch.Tensor:
    """The matrices with left and right exchanged where chosen."""
    sign_B = 1 - 2 * chosen_B.to(matrix_B23.dtype)
    across_B2 = matrix_B23[:, :, 0] * sign_B[:, None]
    return torch.cat([across_B2[:, :, None], matrix_B23[:, :, 1:]], 2)


def composed(matrices: list[torch.Tensor]) -> torch.Tensor:
    """One (B, 2, 3) that does what the matrices do one after the other, the first of them first."""

    def after(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        turned = first[:, :, :2] @ second
        return torch.cat([turned[:, :, :2], turned[:, :, 2:] + first[:, :, 2:]], 2)

    return reduce(after, matrices)


def bend(draws: Draws, most: float) -> torch.Tensor:
    """(B, K, 2) of an elastic distortion (Simard et al. 2003): points moved by a share of the side
    of `most` at most, each way."""
    return (draws.uniform(2 * POINTS**2) * 2 - 1).view(-1, POINTS**2, 2) * (2 * most)


def warped(
    x_BHWC: torch.Tensor, matrix_B23: torch.Tensor, bend_BK2: torch.Tensor | None = None
) -> torch.Tensor:
    """One bilinear look-up a pixel; the border is repeated. Floats, whatever came."""
    height, width = x_BHWC.shape[1:3]
    grid_BHW2 = _grid(matrix_B23, height, width)
    if bend_BK2 is not None:
        smooth_PK = _smooth(height, width, bend_BK2.device)
        grid_BHW2 += (smooth_PK @ bend_BK2).view(-1, height, width, 2)
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).float()
    moved = F.grid_sample(x_BCHW, grid_BHW2, padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1)


def _grid(matrix_B23: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, H, W, 2): where each pixel is looked up. One sum of complex numbers, a pair in each:
    F.affine_grid takes ten times as long, a broadcast sum of pairs five times."""
    device = matrix_B23.device
    columns_W1 = ((torch.arange(width, device=device) + 0.5) * (2 / width) - 1)[:, None]
    rows_H1 = ((torch.arange(height, device=device) + 0.5) * (2 / height) - 1)[:, None]
    across_BW2 = columns_W1 * matrix_B23[:, None, :, 0]
    down_BH2 = rows_H1 * matrix_B23[:, None, :, 1] + matrix_B23[:, None, :, 2]
    across_BW = torch.view_as_complex(across_BW2.contiguous())
    down_BH = torch.view_as_complex(down_BH2.contiguous())
    return torch.view_as_real(down_BH[:, :, None] + across_BW[:, None, :])


@cache
def _smooth(height: int, width: int, device: torch.device) -> torch.Tensor:
    """(H W, K) how much each point of a bend moves each pixel: cubic B-splines, which are smooth
    and sum to 1, so that no pixel moves further than the points around it."""
    across, down = _splines(width), _splines(height)
    found = torch.einsum("hi,wj->hwij", down, across).reshape(height * width, POINTS**2)
    return found.to(device)


def _splines(side: int) -> torch.Tensor:
    """(side, POINTS); the points reach from border to border and are repeated beyond."""
    places_S1 = ((torch.arange(side) + 0.5) * ((POINTS - 1) / side))[:, None]
    points = torch.arange(-1, POINTS + 1)
    far = (places_S1 - points).abs()
    near, rest = 2 / 3 - far**2 + far**3 / 2, (2 - far).clamp(min=0) ** 3 / 6
    weights = torch.where(far < 1, near, rest)
    return torch.zeros(side, POINTS).index_add_(1, points.clamp(0, POINTS - 1), weights)
