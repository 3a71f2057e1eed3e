"""How many units each group keeps."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from shoestring.core.units import Slice, UnitGroup
from shoestring.engine.shrink import allot
from shoestring.plugins import task


def group(name: str, units: int, alike: str = "", least: int = 2) -> UnitGroup:
    return UnitGroup(name, units, (), least=least, alike=alike)


def of_sizes(**units: int) -> tuple[allot.Family, ...]:
    """Families in which the later unit matters more."""
    groups = [group(name, count) for name, count in units.items()]
    return allot.families(groups, {g.name: list(range(g.units)) for g in groups})


def total(counts: Mapping[str, int]) -> float:
    return sum(counts.values())


def test_every_family_loses_the_same_share() -> None:
    assert allot.even(of_sizes(a=32, b=64, c=10), total, 53, 1) == {"a": 16, "b": 32, "c": 5}


def test_large_groups_keep_multiples_and_small_ones_do_not() -> None:
    found = allot.even(of_sizes(a=64, b=10), total, 74 * 0.6, 8)
    assert found["a"] % 8 == 0
    assert found["b"] in (5, 6)


def test_never_below_the_least() -> None:
    assert allot.even(of_sizes(a=32, b=3), total, 0, 1) == {"a": 2, "b": 2}
    assert allot.worst_first(of_sizes(a=32, b=3), total, 0, 1) == {"a": 2, "b": 2}
    assert allot.even(of_sizes(a=64), total, 0, 8) == {"a": 8}
    assert allot.worst_first(of_sizes(a=64), total, 0, 8) == {"a": 8}


def test_what_matters_least_leaves_first() -> None:
    groups = [group("dull", 10), group("keen", 10)]
    found = allot.families(groups, {"dull": [0.1] * 10, "keen": [1.0] * 10})
    assert allot.worst_first(found, total, 14, 1) == {"dull": 4, "keen": 10}


def test_of_equals_those_leave_first_that_save_most() -> None:
    groups = [group("cheap", 10), group("dear", 10)]
    found = allot.families(groups, {"cheap": [1.0] * 10, "dear": [1.0] * 10})

    def size(counts: Mapping[str, int]) -> float:
        return counts.get("cheap", 10) + 9 * counts.get("dear", 10)

    assert allot.worst_first(found, size, 60, 1) == {"cheap": 10, "dear": 5}


def test_groups_of_a_family_keep_equally_many_their_own_best() -> None:
    groups = [group("onward", 4, "both"), group("back", 4, "both")]
    scores = {"onward": [4.0, 3.0, 2.0, 1.0], "back": [1.0, 9.0, 2.0, 3.0]}
    (family,) = allot.families(groups, scores)
    assert family.scores == (2.0, 4.0, 6.0, 13.0)
    kept = allot.best([family], {"both": 2}, scores)
    assert kept == {"onward": [0, 1], "back": [1, 3]}


@pytest.mark.parametrize("of", ["units", "parameters", "macs"])
def test_a_size_is_that_of_the_network_with_so_many_units(of: str) -> None:
    network = task("images").network("classic")
    facts = {"size": [12, 12], "channels": 1, "labels": ["a", "b", "c"]}
    whole = network.architecture({"kind": "classic"}, facts)
    small = network.thinned(whole, {"conv_2": range(20), "dense_1": range(100)})
    sizes = []
    for one, counts in ((whole, {"conv_2": 20, "dense_1": 100}), (small, {})):
        shapes = {n: tuple(w.shape) for n, w in network.build(one).named_parameters()}
        sizes.append(allot.size_in(of, network, one, network.groups(one), shapes)(counts))
    assert sizes[0] == sizes[1]
    if of == "parameters":
        assert sizes[1] == sum(w.numel() for w in network.build(small).parameters())
    if of == "macs":
        assert sizes[1] == network.macs(small)


def test_a_tensor_with_two_roles_is_counted_once() -> None:
    tied = UnitGroup("e", 6, (Slice("w", 1, "makes"), Slice("w", 1, "reads")))
    network = task("images").network("compact")
    size = allot.size_in("parameters", network, {}, [tied], {"w": (10, 6)})
    assert size({"e": 4}) == 40
