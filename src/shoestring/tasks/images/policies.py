"""policies: RandAugment (Cubuk et al. 2020) and TrivialAugment (Mueller & Hutter 2021), batched.

Each picture draws operations and how far each goes. What moves pixels becomes a matrix, so that
several operations cost one look-up; what changes their tone is done to the pictures that drew it.

Shapes: B pictures, b of them that drew one operation, N operations a picture, H height, W width,
C channels, P pixels of a
channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from shoestring.core.protocols import Draws
from shoestring.tasks.images import warp

POLICIES = ("rand", "trivial")
USUAL_MAGNITUDE = 0.3  # of RandAugment: 9 of 30, as its authors have it for large networks
_SHEAR, _SHIFT, _DEGREES = 0.3, 0.3, 30.0  # at the full magnitude; shares of the side
_TONE = 0.9  # factors of brightness, colour, contrast and sharpness lie in 1 +- this
_POSTERIZED_BITS = 4

MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


@dataclass(frozen=True)
class Drawn:
    """What each picture drew."""

    kinds_BN: torch.Tensor  # int64 positions in OPERATIONS
    magnitudes_BN: torch.Tensor  # 0 to 1
    signs_BN: torch.Tensor  # -1 or 1


def drawn(policy: str, draws: Draws, operations: int, strength: float) -> Drawn:
    """RandAugment: `operations` a picture, all at 0.3 times `strength` of their range.
    TrivialAugment: one, at a magnitude drawn evenly up to `strength` of its range."""
    count = operations if policy == "rand" else 1
    u_BN3 = draws.uniform(3 * count).view(-1, count, 3)
    kinds_BN = (u_BN3[..., 0] * len(OPERATIONS)).long()
    reach_BN = torch.full_like(u_BN3[..., 1], USUAL_MAGNITUDE)
    if policy == "trivial":
        reach_BN = u_BN3[..., 1]
    signs_BN = torch.where(u_BN3[..., 2] < 0.5, -1.0, 1.0)
    return Drawn(kinds_BN, (reach_BN * strength).clamp(max=1.0), signs_BN)


def moved(drawn: Drawn) -> torch.Tensor:
    """(B, 2, 3) of all that moves pixels, in the order drawn."""
    matrices = []
    for kinds_B, magnitudes_B, signs_B in zip(
        drawn.kinds_BN.T, drawn.magnitudes_BN.T, drawn.signs_BN.T, strict=True
    ):
        amount_B = magnitudes_B * signs_B
        amounts = [amount_B * (kinds_B == OPERATIONS.index(name)) for name in MOVES]
        shear_x, shear_y, shift_x, shift_y, turn = amounts
        angle = turn * math.radians(_DEGREES)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # A picture has drawn one of them: the others are zero.
        rows = [
            torch.stack([cos, shear_x * _SHEAR - sin, shift_x * (2 * _SHIFT)], 1),
            torch.stack([shear_y * _SHEAR + sin, cos, shift_y * (2 * _SHIFT)], 1),
        ]
        matrices.append(torch.stack(rows, 1))
    return warp.composed(matrices)


def toned(x_BHWC: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """uint8 pictures with all that changes their tone, in the order drawn."""
    x_BHWC = x_BHWC.clone()
    kinds_BN = drawn.kinds_BN.cpu()  # one wait for the device, not one for each operation
    for n in range(kinds_BN.shape[1]):
        for name, operation in TONES.items():
            rows_b = torch.nonzero(kinds_BN[:, n] == OPERATIONS.index(name))[:, 0]
            if not len(rows_b):
                continue
            rows_b = rows_b.to(x_BHWC.device)
            magnitude = drawn.magnitudes_BN[rows_b, n].view(-1, 1, 1, 1)
            sign = drawn.signs_BN[rows_b, n].view(-1, 1, 1, 1)
            taken_bCHW = x_BHWC.index_select(0, rows_b).permute(0, 3, 1, 2).contiguous().float()
            changed = operation(taken_bCHW, magnitude, sign).add_(0.5).clamp_(0, 255)
            x_BHWC.index_copy_(0, rows_b, changed.to(torch.uint8).permute(0, 2, 3, 1))
    return x_BHWC


def _brightness(x: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    return x.mul_(1 + _TONE * magnitude * sign)


def _contrast(x: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return x.sub_(mean).mul_(1 + _TONE * magnitude * sign).add_(mean)


def _color(x_bCHW: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    grey = x_bCHW.mean(1, keepdim=True)
    return x_bCHW.sub_(grey).mul_(1 + _TONE * magnitude * sign).add_(grey)


def _sharpness(x_bCHW: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """Away from its smoothed self, or towards it; the outermost pixels stay."""
    rows = x_bCHW[:, :, :-2] + x_bCHW[:, :, 1:-1] + x_bCHW[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = x_bCHW[:, :, 1:-1, 1:-1]
    smooth = box.add_(inner, alpha=4).div_(13)
    inner.add_((inner - smooth).mul_(_TONE * magnitude * sign))
    return x_bCHW


def _posterized(x: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """The lowest bits, up to four of them, at zero."""
    step = torch.exp2((magnitude * _POSTERIZED_BITS).round())
    return x.div_(step).floor_().mul_(step)


def _solarized(x: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """What is brighter than a limit turned over; at the full magnitude, all of it."""
    return torch.where(x >= 256 * (1 - magnitude), 255 - x, x)


def _autocontrast(
    x_bCHW: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor
) -> torch.Tensor:
    """Each channel stretched to the full range; an even one stays."""
    x_bCP = x_bCHW.flatten(2)
    low_bC1, high_bC1 = x_bCP.amin(2, keepdim=True), x_bCP.amax(2, keepdim=True)
    spread_bC1 = high_bC1 - low_bC1
    stretched_bCP = (x_bCP - low_bC1) * (255 / spread_bC1.clamp(min=1))
    return torch.where(spread_bC1 > 0, stretched_bCP, x_bCP).view(x_bCHW.shape)


def _equalized(x_bCHW: torch.Tensor, magnitude: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """Each channel through its own cumulative histogram; an even one stays."""
    batch, channels, height, width = x_bCHW.shape
    each = torch.arange(batch * channels, device=x_bCHW.device)[:, None] * 256
    places = (x_bCHW.view(batch * channels, -1).long() + each).view(-1)
    counts = torch.bincount(places, minlength=batch * channels * 256).view(-1, 256)
    below = counts.cumsum(1)  # of whole numbers, so in a fixed order on a GPU too
    first = below.gather(1, (counts > 0).to(torch.uint8).argmax(1, keepdim=True))
    rest = height * width - first
    levels = torch.arange(256.0, device=x_bCHW.device)
    table = torch.where(rest > 0, (below - first).clamp(min=0) * (255 / rest.clamp(min=1)), levels)
    return table.view(-1).index_select(0, places).view(x_bCHW.shape)


Tone = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# Floats (b, C, H, W) from 0 to 255 that may be overwritten, magnitudes and signs (b, 1, 1, 1).
TONES: dict[str, Tone] = {
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": _autocontrast,
    "equalize": _equalized,
}
OPERATIONS = ("identity", *MOVES, *TONES)
