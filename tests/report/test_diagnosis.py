"""The page of a diagnosis, and of scores under shift."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.autopilot.diagnosis import (
    Advice,
    Diagnosis,
    Fitness,
    Labels,
    Measured,
    MoreData,
    SharePoint,
    Suspect,
)
from shoestring.core.errors import UserError
from shoestring.core.receipt import Finding, Interval, Scores
from shoestring.report import diagnosis, shift, tables, text
from shoestring.report.plot import svg

SUSPECTS = tuple(Suspect(f"cat/{i}\x1b.png", "train", "cat", "dog", 0.9) for i in range(20))
FOUND = Diagnosis(
    path="photos",
    kind="data",
    task="images",
    metric="accuracy",
    counts={"train": 900, "validation": 1},
    findings=(Finding("broken", 2, "2 pictures could not be read", ("a.png", "b.png")),),
    labels=Labels(901, 30, SUSPECTS, 0.9, 4, 100, "30 labels of 901 are likely wrong"),
    fitness=Fitness(
        "overfitting",
        "overfitting: it knows its training examples",
        Measured("train", 900, 1.0, 0.01),
        Measured("validation", 100, 0.9, 0.4),
        Interval(0.1, 0.05, 0.15),
    ),
    more_data=MoreData(
        (SharePoint(450, (0.8, 0.81), 0.7, 4), SharePoint(900, (0.9,), 0.5, 2)),
        100,
        100,
        0.5,
        Interval(0.93, 0.91, 0.95, 0.9),
        Interval(0.03, 0.01, 0.05, 0.9),
        "more data pays",
    ),
    advice=(Advice("--with augment", "changed examples cannot be learnt by heart"),),
    notes=("each share was trained on once",),
    asked_seconds=60,
    used_seconds=40,
)


def test_the_page_says_all_that_was_found() -> None:
    page = text.plain(diagnosis.page(FOUND), 100)
    for words in (
        "Diagnosis of photos, images, 900 train examples, 1 validation example",
        "budget: 60.0 s asked, 40.0 s used",
        "Overfitting: it knows",
        "+10.00 points [+5.00, +15.00]",
        "2 pictures could not be read",
        "cat/0\\x1b.png",
        "and 15 more",
        "1,800 would give",
        "93.00% (91.00% to 95.00%)",
        "--with augment",
        "each share was trained on once",
    ):
        assert words in page, words
    assert "\x1b" not in page


def test_what_cannot_be_told_is_neither_listed_nor_drawn() -> None:
    assert FOUND.more_data is not None
    untold = replace(
        FOUND.more_data, exponent=None, doubled=None, gain=None, sentence="cannot be told"
    )
    found = replace(FOUND, more_data=untold)
    page = text.plain(diagnosis.page(found), 100)
    assert "Cannot be told" in page
    assert "90.00%" in page
    assert "would give" not in page
    drawn = svg(diagnosis.plot(found))
    assert "measured" in drawn and "told" not in drawn and "1,800" not in drawn


def test_details_list_every_suspect() -> None:
    assert "cat/19" in text.plain(diagnosis.page(FOUND, details=True), 100)
    assert "cat/19" not in text.plain(diagnosis.page(FOUND), 100)


def test_more_data_is_drawn_where_it_was_looked_at() -> None:
    assert "1,800" in svg(diagnosis.plot(FOUND))
    bare = Diagnosis("photos", "data", "images", "accuracy", {})
    assert "Diagnosis of photos" in text.plain(diagnosis.page(bare))
    with pytest.raises(UserError, match="no picture"):
        diagnosis.plot(bare)


def under_shift() -> Scores:
    change = {"value": -0.3, "low": -0.35, "high": -0.25}
    rows = [
        {"kind": "as it is", "severity": 0, "quality": 0.95},
        {"kind": "blur", "severity": 1, "quality": 0.9, "change": change},
        {"kind": "blur", "severity": 5, "quality": 0.65, "change": change},
    ]
    details = {"shift": rows, "shifted_accuracy": 0.775, "shift_interval": {"value": 0.775}}
    return Scores(quality=0.95, metric="accuracy", split="test", examples=100, details=details)


def test_scores_under_shift_are_a_table_of_their_own() -> None:
    page = text.plain(tables.scores(under_shift()), 100)
    assert "change at 5" in page
    assert "65.00%" in page
    assert "-30.00 points [-35.00, -25.00]" in page
    assert "77.50%" in page
    assert "Shift\n" not in text.plain(tables.scores(under_shift(), details=True), 100)


def test_a_shift_is_drawn_from_as_it_is_on() -> None:
    picture = svg(shift.plot(under_shift()))
    assert "as it is" in picture
    assert "blur" in picture
