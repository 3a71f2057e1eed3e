"""Dropout: the share left out, the scale of what stays, nothing outside training."""

from __future__ import annotations

import pytest
import torch

from shoestring.tasks.translation.dropout import Dropout, LockedDropout


@pytest.mark.parametrize("kind", [Dropout, LockedDropout])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_is_left_out_and_the_mean_stays(
    kind: type[Dropout] | type[LockedDropout], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer, ones = kind(0.25), torch.ones(3, 101, 333, dtype=dtype)
    dropped = layer(ones)
    assert dropped.dtype == dtype
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(dropped.float().max()) == pytest.approx(1 / 0.75, rel=0.01)
    assert torch.equal(layer.eval()(ones), ones)


def test_locked_dropout_leaves_out_the_same_units_at_every_position() -> None:
    torch.manual_seed(0)
    dropped = LockedDropout(0.5)(torch.ones(4, 5, 64))
    assert all(torch.equal(dropped[0], row) for row in dropped)
    assert not torch.equal(dropped[:, 0], dropped[:, 1])


@pytest.mark.parametrize("kind", [Dropout, LockedDropout])
def test_gradients_flow_through_what_stays(kind: type[Dropout] | type[LockedDropout]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, requires_grad=True)
    dropped = kind(0.5)(x)
    dropped.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (dropped != 0).float() * 2)
