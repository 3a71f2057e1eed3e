"""mixing: two pictures in one, and two labels: mixup (Zhang et al. 2018), CutMix (Yun et al. 2019).

The other picture is any of the whole training split, drawn by the first one's key, so that it does
not hang on the batch that the first fell into.

Shapes: B pictures, H height, W width, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import cast

import numpy as np
import torch

from shoestring.core.protocols import Batch, Draws
from shoestring.tasks.images.feed import ImageFeed

_POINTS = 512  # of half the quantile function of a Beta distribution


def mixed(batch: Batch, draws: Draws, mixup: float, cutmix: float) -> Batch:
    """The batch with a second picture in each and the shares of both labels in `soft_targets`.

    `mixup` and `cutmix` are the alpha of the symmetric Beta distribution from which the second
    picture's share is drawn; with both above zero, a picture takes one or the other. `targets`
    become the label of the larger share.
    """
    feed = cast(ImageFeed, batch.feed)
    assert feed is not None
    assert batch.soft_targets is None, "mixed once already"
    u_5B = draws.uniform(5).T
    other = feed.batch((u_5B[0] * len(feed)).long())
    x_BHWC, other_BHWC = batch.inputs, other.inputs
    cut_B = torch.zeros_like(u_5B[1], dtype=torch.bool)
    if cutmix:
        cut_B = u_5B[1] < 0.5 if mixup else ~cut_B
    share_B = torch.zeros_like(u_5B[2])
    if mixup:
        share_B = torch.where(cut_B, 0.0, beta(u_5B[2], mixup))
        x_BHWC = _blended(x_BHWC, other_BHWC, share_B)
    if cutmix:
        area_B = torch.where(cut_B, beta(u_5B[2], cutmix), 0.0)
        x_BHWC, pasted_B = _pasted(x_BHWC, other_BHWC, area_B, u_5B[3:])
        share_B = share_B + pasted_B
    soft_BK = torch.zeros(len(share_B), feed.classes, device=share_B.device)
    soft_BK.scatter_(1, batch.targets[:, None], (1 - share_B)[:, None])
    # Not scatter_add_: it has no fixed order on a GPU.
    there_B1 = soft_BK.gather(1, other.targets[:, None])
    soft_BK.scatter_(1, other.targets[:, None], there_B1 + share_B[:, None])
    targets_B = torch.where(share_B > 0.5, other.targets, batch.targets)
    return replace(batch, inputs=x_BHWC, targets=targets_B, soft_targets=soft_BK)


def beta(uniform_B: torch.Tensor, alpha: float) -> torch.Tensor:
    """Uniform numbers made to follow Beta(alpha, alpha): one draw each, no rejection, so that
    every example uses up as many numbers."""
    if alpha == 1:
        return uniform_B
    quantiles = torch.from_numpy(_quantiles(alpha)).to(uniform_B.device, torch.float32)
    place_B = uniform_B * (len(quantiles) - 1)
    below_B = place_B.long().clamp(max=len(quantiles) - 2)
    return torch.lerp(quantiles[below_B], quantiles[below_B + 1], place_B - below_B)


@cache
def _quantiles(alpha: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The quantile function of Beta(alpha, alpha) at even steps. The density is integrated over
    t = x^alpha, in which it has no pole at zero."""
    t = np.linspace(0.0, 0.5**alpha, 20_001)
    density = (1 - t ** (1 / alpha)) ** (alpha - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    half = np.interp(np.linspace(0, 1, _POINTS + 1), mass / mass[-1], t) ** (1 / alpha)
    return np.concatenate([half, 1 - half[-2::-1]])


def _blended(x_BHWC: torch.Tensor, other_BHWC: torch.Tensor, share_B: torch.Tensor) -> torch.Tensor:
    x = torch.lerp(x_BHWC.float(), other_BHWC.float(), share_B[:, None, None, None])
    return x.add_(0.5).to(torch.uint8)


def _pasted(
    x_BHWC: torch.Tensor, other_BHWC: torch.Tensor, area_B: torch.Tensor, centre_2B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """With a box of the other picture, of this share of the area, at a random place; and the share
    that is left of it where the border cuts it off."""
    batch, height, width, channels = x_BHWC.shape
    side_B = area_B.sqrt()
    rows_BH = _within(centre_2B[0], side_B, height)
    columns_BW = _within(centre_2B[1], side_B, width)
    share_B = rows_BH.float().mean(1) * columns_BW.float().mean(1)
    columns_BV = columns_BW.repeat_interleave(channels, 1)
    inside_BHV = rows_BH[:, :, None] & columns_BV[:, None, :]
    flat = (batch, height, width * channels)
    mixed_BHV = torch.where(inside_BHV, other_BHWC.reshape(flat), x_BHWC.reshape(flat))
    return mixed_BHV.view(x_BHWC.shape), share_B


def _within(centre_B: torch.Tensor, share_B: torch.Tensor, length: int) -> torch.Tensor:
    """(B, length) which places lie in a stretch of this share around this centre."""
    first_B = ((centre_B - share_B / 2) * length).round()
    last_B = first_B + (share_B * length).round()
    places = torch.arange(length, device=centre_B.device)
    return (places >= first_B[:, None]) & (places < last_B[:, None])
