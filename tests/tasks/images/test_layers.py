from __future__ import annotations

from typing import Any

import pytest

from shoestring.core.errors import UserError
from shoestring.tasks.images import layers

FACTS: dict[str, Any] = {"labels": list("0123456789"), "size": [28, 28], "channels": 1}


@pytest.mark.parametrize(
    ("kernel", "width", "units", "side"),
    [
        (3, 32, list(range(32, 177, 16)), 8),
        (5, 32, [32, 64, 96, 128, 160], 8),
        (7, 48, [48, 96, 144, 192], 4),
    ],
)
def test_plain_networks_are_those_of_the_paper(
    kernel: int, width: int, units: list[int], side: int
) -> None:
    options = {"kind": "plain", "kernel": kernel, "width": width}
    rows = layers.expand(options, FACTS)["layers"]
    assert [row["units"] for row in rows if row["layer"] == "conv"] == units
    before = rows[: next(i for i, row in enumerate(rows) if row["layer"] == "flatten")]
    assert layers.shape_after(before, (1, 28, 28)) == (units[-1], side, side)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel": 4}, "a kernel of 3, 5 or 7"),
        ({"width": 0}, "a width from 1"),
        ({"dropout": 1.0}, "below 1"),
        ({"deep": 1}, "has no option 'deep'"),
    ],
)
def test_what_is_no_plain_network_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        layers.expand({"kind": "plain", **options}, FACTS)


def test_plain_networks_do_not_take_large_pictures() -> None:
    with pytest.raises(UserError, match="up to 40 pixels a side, not 64x64"):
        layers.expand({"kind": "plain"}, {**FACTS, "size": [64, 64]})


@pytest.mark.parametrize("side", [8, 12, 16, 28, 32, 64, 96])
def test_a_tiny_network_fits_any_side_and_ends_at_most_three_wide(side: int) -> None:
    facts = {**FACTS, "size": [side, side]}
    rows = layers.expand({"kind": "tiny", "width": 6}, facts)["layers"]
    before = rows[: next(i for i, row in enumerate(rows) if row["layer"] == "flatten")]
    units, *sides = layers.shape_after(before, (1, side, side))
    assert units == 12 and max(sides) <= 3
    assert rows[0]["stride"] == (2 if side >= 20 else 1)
