"""Charts: round numbers, nothing outside the frame, and the same in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.exhibits import Chart, Line
from shoestring.core.receipt import Cost, Interval, Receipt
from shoestring.report.page_axes import HEIGHT, WIDTH, Axis
from shoestring.report.page_budget import timeline
from shoestring.report.page_charts import figure
from shoestring.report.page_lines import items
from shoestring.report.sheet import Sheet
from tests.report.pages import HARM, lineage

finite = st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 3))


def chart(*lines: Line, **more: object) -> Chart:
    return Chart("Loss", "step", "loss", lines, **more)  # type: ignore[arg-type]


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=20), st.booleans())
def test_every_point_lies_in_the_picture(points: list[tuple[float, float]], bars: bool) -> None:
    xs, ys = zip(*sorted(points), strict=True)
    drawn = figure(chart(Line("a", xs, ys, bars=bars)))
    assert drawn is not None
    for words in re.findall(r'points="([^"]*)"', drawn.drawing.svg):
        for pair in words.split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


@given(finite, st.floats(1e-6, 1e6))
def test_ticks_are_a_few_and_inside(low: float, width: float) -> None:
    axis = Axis(low, low + width, str)
    assert len(axis.ticks()) <= 8
    assert all(low - width / 100 <= tick <= low + width * 1.01 for tick in axis.ticks())


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (900.0, 1.1e6, [1000, 10_000, 100_000, 1_000_000]),
        (20.0, 600.0, [20, 50, 100, 200, 500]),
        (30.0, 42.0, [30, 32.5, 35, 37.5, 40]),
    ],
)
def test_a_logarithmic_axis_has_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    found = Axis(low, high, str, log=True).ticks()
    if ticks[0] == 30:  # a part of a decade
        assert 2 <= len(found) <= 8
    else:
        assert found == pytest.approx(ticks)


def test_a_chart_is_told_in_words_and_figures() -> None:
    drawn = figure(chart(Line("validation", (1, 2, 3), (3.0, 1.0, 2.0))), [(2.0, "slower")])
    assert drawn is not None
    assert "from 3 at the left to 2 at the right, between 1 and 3" in drawn.drawing.svg
    assert drawn.rows == [["1", "3"], ["2", "1"], ["3", "2"]]
    assert drawn.note == "Dotted: at 2: slower"
    assert figure(chart(Line("none", (), ()))) is None


def test_a_share_never_goes_above_its_whole() -> None:
    line = Line("right", (0, 1), (0.995, 0.999))
    drawn = figure(chart(line, y_share=True, y_from_zero=False))
    assert drawn is not None
    assert not re.search(r">10[1-9]", drawn.drawing.svg)


def test_names_in_a_picture_are_escaped() -> None:
    drawn = figure(chart(Line(HARM, (0, 1), (1, 2)), x_labels=((0, HARM), (1, HARM))))
    assert drawn is not None
    assert "<script" not in drawn.drawing.svg


def test_whiskers_of_a_receipt_share_an_axis() -> None:
    gains = (Interval(0.01, 0.005, 0.015), Interval(-0.002, -0.03, 0.026))
    lines = [Receipt("augment", gain=gain, verdict="better") for gain in gains]
    first, second = items(lines)
    assert first.whisker is not None
    assert second.whisker is not None
    zero = re.search(r'class="zero" x1="([^"]*)"', first.whisker.svg)
    assert zero is not None
    assert f'class="zero" x1="{zero[1]}"' in second.whisker.svg
    assert "gain +0.01 [+0.01, +0.01]" in first.whisker.svg
    assert first.style == "good"


def test_seconds_of_parents_are_not_those_of_the_command() -> None:
    total = Receipt("total", options={"asked_seconds": 20.0, "used_seconds": 12.0})
    lines = (
        Receipt("fit", cost=Cost(50.0)),
        Receipt("prune:ratio=0.5", cost=Cost(11.8)),
        total,
    )
    branch = lineage("b", lineage("a", seconds=60.0))
    found = timeline(Sheet("b", "run", "images", receipts=lines, lineage=branch))
    assert [part.name for part in found.parts] == ["prune"]
    assert found.before == "60.0 s"
    assert found.sentence == "20.0 s were asked for, 12.0 s used."
    assert not found.over


def test_the_start_of_a_command_stands_first_and_what_is_left_last() -> None:
    total = Receipt("total", options={"asked_seconds": None, "used_seconds": 10.0})
    lines = (Receipt("fit", cost=Cost(5.0)), Receipt("start and imports", cost=Cost(2.0)), total)
    found = timeline(Sheet("b", "run", "images", receipts=lines))
    assert [(p.name, p.seconds) for p in found.parts] == [
        ("start and imports", 2.0),
        ("fit", 5.0),
        ("other", 3.0),
    ]
    assert found.sentence == "No budget was asked for; 10.0 s were used."
    assert timeline(Sheet("b", "run", "images")).drawing is None
