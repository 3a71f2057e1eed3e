"""Units cut out of weights, beside the same units silenced in them."""

from __future__ import annotations

import pytest
import torch

from shoestring.core.units import Slice, UnitGroup
from shoestring.engine.shrink import thin

MADE = UnitGroup(
    "hidden",
    4,
    (Slice("up.weight", 0, "makes"), Slice("up.bias", 0, "makes"), Slice("down", 1, "reads")),
)
BESIDE = UnitGroup("beside", 3, (Slice("other", 0, "makes"), Slice("down", 1, "reads", begin=4)))


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "up.weight": torch.randn(4, 5),
        "up.bias": torch.randn(4),
        "other": torch.randn(3, 2),
        "down": torch.randn(2, 7),
    }


def test_units_of_two_groups_leave_one_dimension_together() -> None:
    whole = weights()
    found = thin.cut(whole, [MADE, BESIDE], {"hidden": [1, 3], "beside": [0, 2]})
    assert torch.equal(found["up.weight"], whole["up.weight"][[1, 3]])
    assert torch.equal(found["up.bias"], whole["up.bias"][[1, 3]])
    assert torch.equal(found["other"], whole["other"][[0, 2]])
    assert torch.equal(found["down"], whole["down"][:, [1, 3, 4, 6]])


def test_what_is_cut_shares_no_memory_with_the_whole() -> None:
    whole = weights()
    found = thin.cut(whole, [MADE], {"hidden": [0, 1]})
    found["other"].zero_()
    assert torch.equal(whole["other"], weights()["other"])


def test_silenced_units_are_made_of_zeros_and_their_readers_stay() -> None:
    whole = weights()
    found = thin.silenced(whole, [MADE], {"hidden": [1, 3]})
    assert not found["up.weight"][[0, 2]].any()
    assert not found["up.bias"][[0, 2]].any()
    assert torch.equal(found["up.weight"][[1, 3]], whole["up.weight"][[1, 3]])
    assert torch.equal(found["down"], whole["down"])


def test_a_size_in_the_arithmetic_is_made_up_for() -> None:
    group = UnitGroup("keys", 4, (Slice("up.weight", 0, "reads", power=0.5),))
    found = thin.cut(weights(), [group], {"keys": [2, 3]})
    assert torch.allclose(found["up.weight"], weights()["up.weight"][[2, 3]] * 0.5**0.5)


def test_values_of_a_unit_are_gathered_over_its_parts() -> None:
    tensor = torch.arange(12.0).reshape(12, 1)
    part = Slice("w", 0, "makes", block=2, parts=2)
    values = thin.unit_values(tensor, part, 3)
    assert values.tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


@pytest.mark.parametrize("kept", [[], [1], [0, 4]])
def test_a_choice_below_the_least_or_of_strangers_is_refused(kept: list[int]) -> None:
    with pytest.raises(ValueError, match="hidden has 4 units, of which 2 stay"):
        thin.cut(weights(), [MADE], {"hidden": kept})


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="no group 'nobody'"):
        thin.silenced(weights(), [MADE], {"nobody": [0]})
