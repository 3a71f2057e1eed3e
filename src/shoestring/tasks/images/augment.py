"""augment: changes of pictures for training, batched, with parameters drawn for each picture.

Shapes: B pictures, H height, W width, C channels, P pixels, uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from shoestring.core.protocols import Batch, Draws
from shoestring.tasks.images import mixing, policies, warp

_GREY = 128  # what is erased


def augment(batch: Batch, draws: Draws, options: Mapping[str, Any]) -> Batch:
    """A batch with its pictures changed; (B, H, W, C) uint8 in, uint8 or float out.

    Mixing comes first, on the pictures as they are, so that all that follows is done once; all
    that moves pixels is one look-up.
    """
    assert options["flip"] != "auto", "decided when the recipe is completed"
    if options["mixup"] or options["cutmix"]:
        batch = mixing.mixed(batch, draws, options["mixup"], options["cutmix"])
    x_BHWC: torch.Tensor = batch.inputs
    side = min(x_BHWC.shape[1:3])
    matrices = []
    if options["policy"]:
        strength = 1.0 if options["strength"] is None else options["strength"]
        drawn = policies.drawn(options["policy"], draws, options["operations"], strength)
        x_BHWC = policies.toned(x_BHWC, drawn)
        matrices.append(policies.moved(drawn))
    if options["rotation"] or options["scale"] or options["shear"]:
        matrices.append(warp.drawn(draws, options))
    elif options["shift"]:
        x_BHWC = _shifted(x_BHWC, draws, max(1, round(options["shift"] * side)))
    if options["flip"] == "yes":
        chosen_B = draws.uniform(1)[:, 0] < 0.5
        if matrices:
            matrices[-1] = warp.mirrored(matrices[-1], chosen_B)
        else:
            x_BHWC = _flipped(x_BHWC, chosen_B)
    bend = warp.bend(draws, options["elastic"]) if options["elastic"] else None
    if bend is not None and not matrices:
        matrices.append(torch.eye(2, 3, device=x_BHWC.device).expand(len(x_BHWC), 2, 3))
    if matrices:
        x_BHWC = warp.warped(x_BHWC, warp.composed(matrices), bend)
    if options["color"]:
        x_BHWC = _colored(x_BHWC, draws, options["color"])
    if options["erase"]:
        x_BHWC = x_BHWC.clone() if x_BHWC is batch.inputs else x_BHWC
        _erase(x_BHWC, draws, max(1, round(options["erase"] * side)))
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


def _flipped(x_BHWC: torch.Tensor, chosen_B: torch.Tensor) -> torch.Tensor:
    """Left and right exchanged where chosen."""
    width = x_BHWC.shape[2]
    places_W = torch.arange(width, device=x_BHWC.device)
    places_BW = torch.where(chosen_B[:, None], width - 1 - places_W, places_W)
    which_B1 = torch.arange(len(x_BHWC), device=x_BHWC.device)[:, None]
    return x_BHWC.transpose(1, 2)[which_B1, places_BW].transpose(1, 2)


def _colored(x_BHWC: torch.Tensor, draws: Draws, strength: float) -> torch.Tensor:
    """Brightness, contrast and saturation, each by a factor of 1 +- strength: one product of each
    pixel with a small matrix."""
    batch, height, width, channels = x_BHWC.shape
    x_BHWC = x_BHWC.float()
    factors_3B11 = (1 + (draws.uniform(3) * 2 - 1) * strength).T[:, :, None, None]
    contrast, brightness, saturation = factors_3B11
    if channels == 1:
        saturation = torch.ones_like(saturation)
    own = torch.eye(channels, device=x_BHWC.device)
    matrix_BCC = contrast * (saturation * own + (1 - saturation) / channels)
    mean_B11 = x_BHWC.mean((1, 2, 3)).view(-1, 1, 1)
    offset_B11 = mean_B11 * (brightness - contrast)
    # (B, C, HW) lies that way after a look-up, and transposed before one: a product takes both.
    flat_BCP = x_BHWC.permute(0, 3, 1, 2).flatten(2)
    found_BCP = torch.baddbmm(offset_B11, matrix_BCC, flat_BCP).clamp_(0, 255)
    return found_BCP.view(batch, channels, height, width).permute(0, 2, 3, 1)


def _erase(x_BHWC: torch.Tensor, draws: Draws, side: int) -> None:
    """Puts a square of grey at a random place (DeVries & Taylor 2017, "Cutout"). In place: fresh
    memory of this size takes longer than the filling."""
    height, width = x_BHWC.shape[1:3]
    centre_B2 = draws.uniform(2)
    rows = torch.arange(height, device=x_BHWC.device) - (centre_B2[:, :1] * height).floor()
    columns = torch.arange(width, device=x_BHWC.device) - (centre_B2[:, 1:] * width).floor()
    inside_BHW = (rows.abs() * 2 < side)[:, :, None] & (columns.abs() * 2 < side)[:, None, :]
    x_BHWC.masked_fill_(inside_BHW[..., None], _GREY)
