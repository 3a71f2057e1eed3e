"""test_plain: dataclasses become plain values and come back the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain


@dataclass(frozen=True)
class Wheel:
    size: int
    spokes: float = 1.0


@dataclass(frozen=True)
class Cart:
    name: str
    kind: Literal["hand", "ox"] = "hand"
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    painted: bool = False
    load: Mapping[str, Any] = field(default_factory=dict)
    shed: Path | None = None
    stops: tuple[str, ...] = ()


wheels = st.builds(Wheel, st.integers(), st.floats(allow_nan=False))
plain_leaves = st.none() | st.booleans() | st.integers() | st.text()
carts = st.builds(
    Cart,
    name=st.text(),
    kind=st.sampled_from(["hand", "ox"]),
    wheels=st.lists(wheels, max_size=4).map(tuple),
    spare=st.none() | wheels,
    painted=st.booleans(),
    load=st.dictionaries(st.text(), st.recursive(plain_leaves, lambda x: st.lists(x, max_size=3))),
    shed=st.none() | st.sampled_from([Path("a/b"), Path("/x"), Path("ü b")]),
    stops=st.lists(st.text(), max_size=3).map(tuple),
)


@given(carts)
def test_there_and_back(cart: Cart) -> None:
    assert from_plain(Cart, to_plain(cart)) == cart


@given(carts)
def test_there_and_back_through_json(cart: Cart) -> None:
    assert from_plain(Cart, json.loads(json.dumps(to_plain(cart)))) == cart


def test_plain_values_are_written_out() -> None:
    cart = Cart("a", wheels=(Wheel(3),), shed=Path("x"), load={1: (2, {"k": None})})
    assert to_plain(cart) == {
        "name": "a",
        "kind": "hand",
        "wheels": [{"size": 3, "spokes": 1.0}],
        "spare": None,
        "painted": False,
        "load": {"1": [2, {"k": None}]},
        "shed": "x",
        "stops": [],
    }


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", Wheel])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is not a plain value"):
        to_plain({"a": [value]})


def test_absent_fields_take_their_defaults() -> None:
    assert from_plain(Cart, {"name": "a"}) == Cart("a")


def test_whole_numbers_pass_as_floats() -> None:
    wheel = from_plain(Wheel, {"size": 1, "spokes": 2})
    assert wheel == Wheel(1, 2.0)
    assert isinstance(wheel.spokes, float)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({}, r"^Cart needs the field 'name'$"),
        ([], r"^Cart should be a table of values, not \[\]$"),
        ({"name": "a", "nmae": 1}, r"^Cart has no field 'nmae'; it has: name, kind, wheels, spare"),
        ({"name": 1}, r"^Cart\.name should be str, not 1$"),
        ({"name": None}, r"^Cart\.name should be str, not None$"),
        ({"name": "a", "kind": "car"}, r"^Cart\.kind is one of hand, ox, not 'car'$"),
        ({"name": "a", "painted": 1}, r"^Cart\.painted should be bool, not 1$"),
        ({"name": "a", "wheels": "ab"}, r"^Cart\.wheels should be a list, not 'ab'$"),
        ({"name": "a", "wheels": [{}]}, r"^Cart\.wheels\[0\] needs the field 'size'$"),
        (
            {"name": "a", "wheels": [{"size": 1}, {"size": True}]},
            r"^Cart\.wheels\[1\]\.size should be int, not True$",
        ),
        ({"name": "a", "spare": {"size": 1.5}}, r"^Cart\.spare\.size should be int, not 1\.5$"),
        ({"name": "a", "spare": 3}, r"^Cart\.spare should be a table of values, not 3$"),
        ({"name": "a", "load": [1]}, r"^Cart\.load should be a table of values, not \[1\]$"),
        ({"name": "a", "stops": [1]}, r"^Cart\.stops\[0\] should be str, not 1$"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(plain: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_plain(Cart, plain)


def test_the_place_can_be_a_file() -> None:
    with pytest.raises(UserError, match=r"^recipe\.toml\.size should be int, not 'x'$"):
        from_plain(Wheel, {"size": "x"}, "recipe.toml")


@given(
    st.recursive(plain_leaves, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=6)
)
def test_any_plain_value_builds_or_is_a_user_error(plain: Any) -> None:
    for candidate in (plain, {"name": plain}, {"name": "a", "wheels": plain, "spare": plain}):
        try:
            assert isinstance(from_plain(Cart, candidate), Cart)
        except UserError as error:
            assert str(error).startswith("Cart")
