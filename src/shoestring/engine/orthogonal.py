"""orthogonal: the nearest half-orthogonal matrices to gradients, for Muon."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shoestring.engine.device import has_bfloat16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic of Jordan et al. 2024
NEWTON_SCHULZ_STEPS = 3
MATRIX_STEPS = 5
MATRIX_SCALE = 0.2  # root mean square of an update, about that of AdamW's: it takes the same rate


def orthogonal(
    gradient: torch.Tensor, steps: int = NEWTON_SCHULZ_STEPS, *, many: bool = False
) -> torch.Tensor:
    """The nearest half-orthogonal matrix to a gradient taken as (units, rest), roughly, by a
    quintic Newton-Schulz iteration, of floats in bfloat16 where there is one; same shape and
    type. With `many` each of (matrices, units, rest) by itself."""
    a, b, c = NEWTON_SCHULZ
    quick = gradient.dtype
    if quick == torch.float32 and has_bfloat16(gradient.device.type):
        quick = torch.bfloat16
    x = (gradient if many else gradient.reshape(1, len(gradient), -1)).to(quick)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    if tall:
        x = x.mT
    return x.to(gradient.dtype).reshape(gradient.shape)


def each_orthogonal(updates: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Each of the `count` matrices that lie stacked in an update by itself, those of one shape in
    one call: a transformer of four and four layers takes a fourth of the time so."""
    found = list(updates)
    by_shape: dict[torch.Size, list[int]] = {}
    for number, update in enumerate(updates):
        assert len(update) % count == 0, "stacked matrices are of one size"
        by_shape.setdefault(update.shape, []).append(number)
    for shape, numbers in by_shape.items():
        rows, columns = shape[0] // count, shape[1]
        together = torch.stack([updates[number] for number in numbers])
        done = orthogonal(together.reshape(-1, rows, columns), MATRIX_STEPS, many=True)
        done.mul_(MATRIX_SCALE * max(rows, columns) ** 0.5)
        for number, part in zip(numbers, done.reshape(together.shape), strict=True):
            found[number] = part
    return found
