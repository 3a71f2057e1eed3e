"""augment: label-keeping changes of pictures, batched, with parameters drawn per picture.

Shapes: B pictures, H height, W width, C channels, uint8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from shoestring.core.protocols import Batch, Draws


def augment(batch: Batch, draws: Draws, options: Mapping[str, Any]) -> Batch:
    """A batch with its pictures changed; (B, H, W, C) uint8 in, uint8 or float out."""
    x_BHWC: torch.Tensor = batch.inputs
    side = min(x_BHWC.shape[1:3])
    if options["rotation"] or options["scale"] or options["shear"]:
        x_BHWC = _affine(x_BHWC, draws, options)
    elif options["shift"]:
        x_BHWC = _shifted(x_BHWC, draws, max(1, round(options["shift"] * side)))
    if options["flip"]:
        chosen = draws.uniform(1)[:, 0] < 0.5
        x_BHWC = torch.where(chosen[:, None, None, None], x_BHWC.flip(2), x_BHWC)
    if options["color"]:
        x_BHWC = _colored(x_BHWC, draws, options["color"])
    if options["erase"]:
        x_BHWC = _erased(x_BHWC, draws, max(1, round(options["erase"] * side)))
    return replace(batch, inputs=x_BHWC)


def _shifted(x_BHWC: torch.Tensor, draws: Draws, most: int) -> torch.Tensor:
    """Moved by whole pixels, the border repeated. Every shift along a row is a view of the row
    with its ends repeated, so one look-up copies whole rows."""
    batch, height, width, channels = x_BHWC.shape
    offsets_B2 = (draws.uniform(2) * (2 * most + 1)).long().clamp(0, 2 * most)
    left, right = x_BHWC[:, :, :1], x_BHWC[:, :, -1:]
    ends = (-1, -1, most, -1)
    wide = torch.cat([left.expand(*ends), x_BHWC, right.expand(*ends)], 2)
    row = wide.shape[2] * channels
    views = wide.as_strided(
        (batch, height, 2 * most + 1, width * channels), (height * row, row, channels, 1)
    )
    rows_BH = torch.arange(height, device=x_BHWC.device) + offsets_B2[:, :1] - most
    which_B1 = torch.arange(batch, device=x_BHWC.device)[:, None]
    moved = views[which_B1, rows_BH.clamp(0, height - 1), offsets_B2[:, 1:]]
    return moved.view(batch, height, width, channels)


def _affine(x_BHWC: torch.Tensor, draws: Draws, options: Mapping[str, Any]) -> torch.Tensor:
    """Rotation, scale, shear and shift in one bilinear look-up; the border is repeated.

    The grid is one broadcast sum: F.affine_grid takes five times as long as the look-up itself.
    """
    batch, height, width, _ = x_BHWC.shape
    u_6B = (draws.uniform(6) * 2 - 1).T
    angle = u_6B[0] * math.radians(options["rotation"])
    most = math.log1p(options["scale"])
    zoom, stretch = torch.exp(u_6B[1] * most), torch.exp(u_6B[2] * most / 2)
    shear = u_6B[3] * options["shear"]
    cos, sin = torch.cos(angle), torch.sin(angle)
    across = torch.stack([zoom * stretch * cos, zoom * sin], 1)
    down = torch.stack([zoom * (shear * cos - sin), zoom / stretch * (cos + shear * sin)], 1)
    shift_B112 = u_6B[4:].T.reshape(batch, 1, 1, 2) * (2 * options["shift"])
    device = x_BHWC.device
    columns = ((torch.arange(width, device=device) + 0.5) * (2 / width) - 1).view(1, 1, width, 1)
    rows = ((torch.arange(height, device=device) + 0.5) * (2 / height) - 1).view(1, height, 1, 1)
    down_BH12 = rows * down.view(batch, 1, 1, 2) + shift_B112
    grid_BHW2 = columns * across.view(batch, 1, 1, 2) + down_BH12
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).float()
    moved = F.grid_sample(x_BCHW, grid_BHW2, padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1)


def _colored(x_BHWC: torch.Tensor, draws: Draws, strength: float) -> torch.Tensor:
    """Brightness, contrast and saturation, each by a factor of 1 +- strength."""
    x = x_BHWC.float()
    factors = 1 + (draws.uniform(3) * 2 - 1)[:, :, None, None, None] * strength
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * factors[:, 0] + mean * factors[:, 1]
    if x.shape[3] == 3:
        grey = x.mean(3, keepdim=True)
        x = (x - grey) * factors[:, 2] + grey
    return x.clamp(0, 255)


def _erased(x_BHWC: torch.Tensor, draws: Draws, side: int) -> torch.Tensor:
    """A square of grey at a random place (DeVries & Taylor 2017, "Cutout")."""
    height, width = x_BHWC.shape[1:3]
    centre = draws.uniform(2)
    rows = torch.arange(height, device=x_BHWC.device)[None] - (centre[:, :1] * height).floor()
    columns = torch.arange(width, device=x_BHWC.device)[None] - (centre[:, 1:] * width).floor()
    inside = (rows.abs() * 2 < side)[:, :, None] & (columns.abs() * 2 < side)[:, None, :]
    grey = torch.tensor(128, dtype=x_BHWC.dtype, device=x_BHWC.device)
    return torch.where(inside[..., None], grey, x_BHWC)
