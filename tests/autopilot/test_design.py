"""Which recipes an ablation trains, and what it compares."""

from __future__ import annotations

from itertools import product

import pytest

from shoestring.autopilot.design import Design
from shoestring.core.errors import UserError


def names(*techniques: str, factorial: bool = False) -> list[str]:
    return [cell.name for cell in Design(techniques, factorial).cells()]


def test_one_technique_is_held_against_the_recipe_without_it() -> None:
    assert names("augment") == ["none", "augment"]
    (only,) = Design(("augment",)).contrasts()
    assert (only.kind, only.pair) == ("alone", ("none", "augment"))


def test_two_are_tried_alone_and_together() -> None:
    assert names("augment", "average") == ["none", "augment", "average", "all"]
    kinds = [contrast.kind for contrast in Design(("augment", "average")).contrasts()]
    assert kinds == ["alone", "alone", "together"]


def test_three_are_also_left_out_one_at_a_time() -> None:
    assert names("a", "b", "c") == [
        *("none", "a", "b", "c"),
        *("all-but-c", "all-but-b", "all-but-a", "all"),
    ]
    last = [c for c in Design(("a", "b", "c")).contrasts() if c.kind == "last"]
    assert [(c.technique, c.pair) for c in last] == [
        (name, (f"all-but-{name}", "all")) for name in "abc"
    ]


def test_two_ways_of_one_technique_are_each_tried_alone() -> None:
    design = Design(("augment:shift=0.1", "augment:shift=0.2", "average"))
    assert [c.name for c in design.cells()] == ["none", "augment-1", "augment-2", "average-3"]
    assert {c.kind for c in design.contrasts()} == {"alone"}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_factorial_trains_all_combinations(count: int) -> None:
    techniques = tuple("abcde"[:count])
    cells = names(*techniques, factorial=True)
    assert len(set(cells)) == len(cells) == 2**count


def test_averages_and_pairs_of_a_factorial_are_those_of_the_textbook() -> None:
    """Of an additive world with one interaction, each statement finds its own part."""
    design = Design(("a", "b", "c"), factorial=True)
    quality = {}
    for bits in product((0, 1), repeat=3):
        a, b, c = bits
        cell = design.cell([i for i, bit in enumerate(bits) if bit])
        quality[cell.name] = 1 + 5 * a + 7 * b + 11 * c + 2 * a * b
    found = {
        (c.kind, c.technique): sum(weight * quality[name] for name, weight in c.weights)
        for c in design.contrasts()
    }
    assert found["average", "a"] == 5 + 1  # b is there in half of the combinations
    assert found["average", "c"] == 11
    assert found["interaction", "a and b"] == 2
    assert found["interaction", "b and c"] == 0
    assert found["alone", "a"] == 5
    assert found["last", "a"] == 7
    design = Design(("a", "b"), factorial=True)
    assert all(c.pair is None for c in design.contrasts() if c.kind in ("average", "interaction"))


@pytest.mark.parametrize(
    ("techniques", "factorial", "words"),
    [
        ((), False, "say what to ablate"),
        (("a", "a"), False, "a was given 2 times"),
        (tuple("abcdef"), True, "at most 5 techniques .32 recipes., and 6 were named"),
        (("a:x=1", "a:x=2"), True, "a:x=1 and a:x=2 cannot stand in one recipe"),
    ],
)
def test_what_cannot_be_trained_is_refused(techniques, factorial, words) -> None:
    with pytest.raises(UserError, match=words):
        Design(techniques, factorial)
