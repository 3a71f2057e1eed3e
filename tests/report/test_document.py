"""JSON documents that every reader understands."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shoestring.report.document import json_text
from tests.report.sheets import SCORES

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain)
def test_any_plain_value_is_strict_json(value: object) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(json_text(value), parse_constant=refuse)


def test_dataclasses_are_told_by_their_fields() -> None:
    assert json.loads(json_text([SCORES]))[0]["interval"]["low"] == 0.9903
    assert json.loads(json_text({"path": Path("a"), "nan": float("nan")})) == {
        "path": "a",
        "nan": None,
    }


def test_letters_stay_and_orders_to_a_terminal_do_not() -> None:
    plain = {"name": "é☃", "order": "\x9b2J\u202e\udcff"}
    shown = json_text(plain)
    assert "é☃" in shown
    assert r"\u009b2J\u202e\udcff" in shown
    assert json_text(plain, ascii_only=True).isascii()
    assert json.loads(shown) == plain
