"""warp: pictures moved, turned, sheared and scaled, each by a matrix of its own.

Shapes: B pictures, H height, W width, C channels. A matrix is (B, 2, 3): where in the old picture
the pixel at (x, y, 1) of the new one is found, both from -1 to 1 across the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from shoestring.core.protocols import Draws


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


def warped(x_BHWC: torch.Tensor, matrix_B23: torch.Tensor) -> torch.Tensor:
    """One bilinear look-up a pixel; the border is repeated. Floats, whatever came."""
    height, width = x_BHWC.shape[1:3]
    grid_BHW2 = _grid(matrix_B23, height, width)
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
