"""Texts lie in one array of bytes and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.tasks.translation.examples import Texts

some = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6)


@given(some, st.slices(6))
def test_texts_are_a_sequence(texts: list[str], part: slice) -> None:
    made = Texts.of(texts)
    assert list(made) == texts
    assert made.all() == texts
    assert list(made[part]) == texts[part]
    assert [made[i] for i in range(-len(texts), len(texts))] == texts * 2
    with pytest.raises(IndexError):
        made[len(texts)]


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "ü🐕"]])
def test_texts_are_written_and_read(texts: list[str], tmp_path: Path) -> None:
    Texts.of(["before", *texts])[1:].all()
    Texts.of(texts).write(tmp_path, "x")
    found = Texts.read(tmp_path, "x")
    assert found.all() == texts
    assert found[0:].all() == texts  # type: ignore[attr-defined]
