"""places: rows of a matrix taken or put in another order, with a backward that only copies.

A row is named once at most, so gradients need no adding up, which torch's own backward of an index
does row by row.
"""

from __future__ import annotations

from typing import Any, cast

import torch


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_RH: torch.Tensor, rows_N: torch.Tensor) -> torch.Tensor:
        ctx.rows, ctx.count = rows_N, len(x_RH)
        return x_RH.index_select(0, rows_N)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient_NH = gradients[0]
        whole_RH = gradient_NH.new_zeros(ctx.count, gradient_NH.shape[1])
        return whole_RH.index_copy_(0, ctx.rows, gradient_NH), None


class _Reordered(torch.autograd.Function):
    """Of an order that is its own inverse."""

    @staticmethod
    def forward(ctx: Any, x_RH: torch.Tensor, order_R: torch.Tensor) -> torch.Tensor:
        ctx.order = order_R
        return x_RH.index_select(0, order_R)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0].index_select(0, ctx.order), None


def taken(x_RH: torch.Tensor, rows_N: torch.Tensor) -> torch.Tensor:
    """The rows `rows_N` of x, each named at most once."""
    found = _Taken.apply(x_RH, rows_N)  # type: ignore[no-untyped-call]  # torch has no types here
    return cast(torch.Tensor, found)


def mirrored(x_SBH: torch.Tensor, mirror_SB: torch.Tensor) -> torch.Tensor:
    """Every sentence in the reverse order, its padding still at its end; `mirror_SB` is what
    `mirror` gives. Twice is as it was."""
    order_R, flat_RH = mirror_SB.flatten(), x_SBH.flatten(0, 1)
    found = _Reordered.apply(flat_RH, order_R)  # type: ignore[no-untyped-call]  # as above
    return cast(torch.Tensor, found).view(x_SBH.shape)


def mirror(lengths_B: torch.Tensor, longest: int) -> torch.Tensor:
    """(S, B) where each position of a flattened (S, B, ...) tensor comes from in `mirrored`."""
    batch = len(lengths_B)
    places_S1 = torch.arange(longest, device=lengths_B.device)[:, None]
    inside_SB = places_S1 < lengths_B
    from_SB = torch.where(inside_SB, lengths_B - 1 - places_S1, places_S1)
    return from_SB * batch + torch.arange(batch, device=lengths_B.device)
