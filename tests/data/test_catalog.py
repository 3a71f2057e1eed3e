"""The catalogue lists what it has, with licences, and refuses what it does not know."""

from __future__ import annotations

import json

import pytest

from shoestring.core.errors import DataError
from shoestring.data import catalog


def test_every_entry_says_what_a_person_needs() -> None:
    rows = catalog.listing()
    assert [row["name"] for row in rows] == [entry.name for entry in catalog.ENTRIES]
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert all(row[key] for key in ("task", "description", "licence", "source"))
        assert row["size_bytes"] > 0
    json.dumps(rows)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(DataError, match=r"no 'mnits'; it has: mnist"):
        catalog.get("mnits")
    assert catalog.find("mnits") is None
