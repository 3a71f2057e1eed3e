"""Figures as people read them."""

from __future__ import annotations

import pytest

from shoestring.core.receipt import Interval
from shoestring.report import words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (58.34, "58.3 s"), (99.96, "1 min 40 s"), (312, "5 min 12 s"),
     (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "signed", "shown"),
    [(312, False, "312 B"), (373_112, False, "373.1 KB"), (999_960, False, "1.0 MB"),
     (12_600_000_000_000, False, "12600.0 GB"), (-26_888, True, "-26.9 KB"), (5, True, "+5 B")],
)  # fmt: skip
def test_sizes(size_bytes: int, signed: bool, shown: str) -> None:
    assert words.size(size_bytes, signed) == shown


def test_shares_are_percent_and_other_scores_are_not() -> None:
    assert words.quality(0.9931, "accuracy") == "99.31%"
    assert words.quality(0.9931, "balanced_accuracy") == "99.31%"
    assert words.quality(36.21, "BLEU") == "36.21"
    assert words.quality(0.34, "lowercased_BLEU") == "0.34"
    assert words.quality(0.0042, "calibration_error") == "0.0042"
    assert words.quality(0.12, "exact_match") == "12.00%"
    assert words.plain_quality(0.9931, "accuracy") == "0.9931"
    assert words.plain_quality(36.214, "BLEU") == "36.21"


def test_gains_have_a_sign_and_a_unit() -> None:
    assert words.gain(Interval(0.0031, -0.0012, 0.005), "accuracy") == (
        "+0.31 points [-0.12, +0.50]"
    )
    assert words.gain(Interval(-1.5, -2.0, -1.0), "BLEU") == "-1.50 [-2.00, -1.00]"
    assert words.gain(Interval(-1e-9, -0.004, 0.0), "BLEU") == "+0.00 [+0.00, +0.00]"


def test_milliseconds() -> None:
    assert words.milliseconds(0.0312) == "0.031 ms"
    assert words.milliseconds(31.2) == "31.2 ms"
    assert words.milliseconds(0.5, signed=True) == "+0.500 ms"


def test_a_name_stays_on_its_line() -> None:
    assert words.visible("\x1b[2J\udce9") == "\\x1b[2J\\udce9"
    assert words.visible("a b é") == "a b é"
    assert words.visible("a\nb") == "a\\nb"


def test_text_in_any_script_is_shown_as_it_is_but_orders_to_a_terminal() -> None:
    for text in (
        "tab\there",
        "3\u202f000\u00a0\u20ac",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469",
    ):
        assert words.harmless(text) == text
    assert words.harmless("a\nb\r\x1b[2J\x00") == "a\\nb\\r\\x1b[2J\\x00"
    assert words.harmless("\x9b\u2028\u2029\udce9") == "\\x9b\\u2028\\u2029\\udce9"


@pytest.mark.parametrize(
    ("words_", "shown"),
    [("60.0 KB", "60 KB"), ("98.50%", "98.5%"), ("100.00%", "100%"), ("0.040 ms", "0.04 ms"),
     ("200 KB", "200 KB"), ("1.000 ms", "1 ms"), ("10.20", "10.2")],
)  # fmt: skip
def test_a_short_figure_has_no_zeros_that_say_nothing(words_: str, shown: str) -> None:
    assert words.short(words_) == shown
