"""The front: what no other run beats in score, size and latency at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.receipt import Scores
from shoestring.report import front, page_front, text
from shoestring.report.front import Limits, Point, marked
from shoestring.report.sheet import Sheet
from tests.report.pages import lineage
from tests.report.sheets import SCORES, SHEET

figures = st.one_of(st.none(), st.integers(1, 4))
points = st.lists(st.builds(Point, st.just("a"), figures, st.none(), figures, figures))


def on_front(*some: Point) -> str:
    return "".join(one.name for one in marked(some) if one.front)


def test_only_those_that_nothing_beats_are_on_it() -> None:
    best = Point("a", 0.99, None, 400, 2.0)
    small = Point("b", 0.97, None, 100, 2.0)
    quick = Point("c", 0.96, None, 400, 0.5)
    beaten = Point("d", 0.96, None, 400, 2.0)
    assert on_front(beaten, best, small, quick) == "abc"


def test_equals_are_both_on_it_and_what_was_not_measured_speaks_for_nobody() -> None:
    one = Point("a", 0.9, None, 100, 1.0)
    assert on_front(one, replace(one, name="b")) == "ab"
    assert on_front(one, replace(one, name="b", latency_ms=None)) == "a"
    assert on_front(one, Point("b", None, None, 1, 0.1)) == "a"


@given(points)
def test_each_run_off_the_front_is_beaten_by_one_on_it(some: list[Point]) -> None:
    found = marked(some)
    kept = [one for one in found if one.front]
    known = [one for one in found if one.quality is not None]
    assert bool(kept) == bool(known)
    for one in known:
        if not one.front:
            assert any(front._beats(other, one) for other in kept)


def test_only_what_was_measured_alike_is_held_together() -> None:
    def of(**changes: object) -> Sheet:
        return replace(SHEET, scores=replace(SCORES, **changes))  # type: ignore[arg-type]

    alike = of(quality=0.5), of(quality=0.9)
    others = (of(signature="split:validation|examples:60"), of(metric="BLEU"),
              Sheet("runs/b", "run", "images"))  # fmt: skip
    found = front.fields([*alike, *others])
    assert [len(field.points) for field in found] == [2, 1, 1, 1]
    assert [point.quality for point in found[0].points] == [0.9, 0.5]


def test_the_table_in_a_terminal_marks_the_front() -> None:
    worse = replace(SHEET, path="runs/b", scores=replace(SCORES, quality=0.9, size_bytes=10**6))
    shown = text.plain(front.side_by_side([worse, SHEET]))
    first, second = (line for line in shown.splitlines() if "runs/" in line)
    assert first.split()[:2] == ["*", "runs/a"]
    assert second.split()[0] == "runs/b"
    assert "99.03% to 99.51%" in first
    assert max(map(len, shown.splitlines())) <= 80


def test_each_ancestor_is_a_point_once() -> None:
    first = lineage("first")
    branch = lineage("c", lineage("a", first), lineage("b", first, latency_ms=None))
    assert [point.name for point in front.ancestors(branch)] == ["a", "b", "first"]


def test_the_strictest_limit_counts() -> None:
    total = SHEET.receipts[-1]
    said = ({"size_bytes": 20_000}, {"size_bytes": 10_000, "quality": 0.9}, {})
    sheets = [
        replace(SHEET, receipts=(replace(total, options={**total.options, "limits": one}),))
        for one in said
    ]
    assert front.limits(sheets) == Limits(size_bytes=10_000, quality=0.9)


@pytest.mark.parametrize(
    "damaged", [{"size_bytes": "x", "more": 1}, {"quality": float("nan")}, {"size_bytes": 1}, 3]
)
def test_a_damaged_limit_is_none(damaged: object) -> None:
    total = SHEET.receipts[-1]
    options = {**total.options, "limits": damaged}
    assert not replace(SHEET, receipts=(replace(total, options=options),)).limits


def test_the_picture_has_a_point_for_each_that_has_both_measures() -> None:
    some = [Point("a", 0.9, None, 100, 1.0), Point("b", 0.8, None, 200, None), Point("c", None)]
    size, latency = page_front.pictures(some, "accuracy", Limits(quality=0.85))
    assert size.drawing.svg.count('class="mark') == 2
    assert "1: a, 90.00% at 100 B, on the front; 2: b, 80.00% at 200 B" in size.drawing.svg
    assert latency.drawing.svg.count('class="mark') == 1
    assert [row[:2] for row in page_front.table(some, "accuracy")] == [
        ["1", "a"],
        ["2", "b"],
        ["3", "c"],
    ]
    assert page_front.pictures([Point("c", None)], "accuracy", Limits()) == []
    assert front.point(Sheet("x", "bundle", "images", scores=Scores())).quality is None
