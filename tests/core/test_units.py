"""Where units stand in a tensor."""

from __future__ import annotations

from shoestring.core.units import Slice, UnitGroup, counts, prefixed


def test_a_unit_has_a_place_of_its_own() -> None:
    assert Slice("w", 0, "makes").places(5, [0, 3]) == [0, 3]


def test_a_unit_may_be_a_block_and_stand_in_several_parts_behind_others() -> None:
    part = Slice("w", 0, "makes", block=2, parts=2, begin=10)
    assert part.places(3, [0, 2]) == [10, 11, 14, 15, 16, 17, 20, 21]


def test_all_units_together_are_every_place_once() -> None:
    part = Slice("w", 1, "reads", block=3, parts=4, begin=7)
    assert part.places(5, range(5)) == list(range(7, 7 + 3 * 4 * 5))


def test_groups_inside_another_network_have_its_names() -> None:
    group = UnitGroup("conv_1", 4, (Slice("0.weight", 0, "makes"),), alike="both")
    alone = UnitGroup("dense_1", 4, ())
    inside, other = prefixed([group, alone], "members.1.", "1.")
    assert (inside.name, inside.family) == ("1.conv_1", "1.both")
    assert inside.slices[0].tensor == "members.1.0.weight"
    assert (other.name, other.family) == ("1.dense_1", "1.dense_1")


def test_groups_that_are_not_named_keep_all() -> None:
    groups = [UnitGroup("a", 4, ()), UnitGroup("b", 6, ())]
    assert counts(groups, {"b": [0, 5]}) == {"a": 4, "b": 2}
