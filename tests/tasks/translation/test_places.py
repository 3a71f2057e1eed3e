"""Rows taken and mirrored: values, and gradients as torch's own would be."""

from __future__ import annotations

import torch

from shoestring.tasks.translation.places import mirror, mirrored, taken


def test_each_sentence_is_mirrored_within_its_length() -> None:
    x_SBH = torch.arange(12).view(4, 3, 1).float()
    lengths_B = torch.tensor([4, 2, 1])
    order = mirror(lengths_B, 4)
    found = mirrored(x_SBH, order)
    assert found[:, 0, 0].tolist() == [9, 6, 3, 0]
    assert found[:, 1, 0].tolist() == [4, 1, 7, 10]
    assert found[:, 2, 0].tolist() == [2, 5, 8, 11]
    assert torch.equal(mirrored(found, order), x_SBH)


def test_gradients_go_back_to_where_rows_came_from() -> None:
    torch.manual_seed(0)
    x_SBH = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    order, rows = mirror(torch.tensor([4, 2, 1]), 4), torch.tensor([5, 0, 7])

    def both(x_SBH: torch.Tensor) -> torch.Tensor:
        return taken(mirrored(x_SBH, order).flatten(0, 1), rows)

    assert torch.autograd.gradcheck(both, (x_SBH,))
