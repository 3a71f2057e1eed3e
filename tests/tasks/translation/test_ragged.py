"""Rows of different length keep their content, whichever are taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoestring.tasks.translation.ragged import packed

rows = st.lists(st.lists(st.integers(0, 9_999), max_size=5), max_size=8)


@given(rows)
def test_rows_come_back(some: list[list[int]]) -> None:
    ragged = packed(some)
    assert [row.tolist() for row in ragged.rows()] == some
    assert ragged.lengths.tolist() == [len(row) for row in some]
    assert ragged.values.dtype == np.int32
    assert ragged.offsets.dtype == np.int64


@given(rows, st.data())
def test_any_rows_may_be_taken_in_any_order(some: list[list[int]], data: st.DataObject) -> None:
    places = st.lists(st.integers(0, len(some) - 1)) if some else st.just([])
    at = data.draw(places)
    taken = packed(some).take(np.array(at, np.int64))
    assert [row.tolist() for row in taken.rows()] == [some[i] for i in at]
