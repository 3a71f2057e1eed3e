"""The page of an ablation: both kinds of statement, never mixed, and its losers."""

from __future__ import annotations

from dataclasses import replace

from shoestring.autopilot.ablation import Ablation, Line, Result
from shoestring.core.receipt import Interval
from shoestring.report import evidence, text

METHOD = "t over 3 seeds (8.0 degrees of freedom) and over examples; Bonferroni over 2"


def line(technique: str, value: float, verdict: str, statement: str) -> Line:
    return Line(
        "alone",
        technique,
        verdict=verdict,
        statement=statement,
        gain=Interval(value, value - 0.01, value + 0.01, 0.975, METHOD),
        shifted=Interval(value, value - 0.02, value + 0.02, 0.975, METHOD),
        seconds=31.0,
        more_seconds=1.5,
        smallest_seen=0.012,
    )


FOUND = Ablation(
    path="runs/photos-ablation-1",
    task="images",
    source="photos",
    metric="accuracy",
    seeds=3,
    examples=1_200,
    results=(
        Result("none", (), (0.9, 0.91, 0.92), (0.7,) * 3, (30.0,) * 3, (500,) * 3),
        Result("average", ("average",), failure="the loss was not finite 6 times"),
    ),
    lines=(
        line("augment:shift=0.1,rotation=10.0", 0.0211, "better", "helps here"),
        line("early_stop", -0.0311, "worse", "harms here"),
        Line("alone", "average", reason="the fit of average failed"),
    ),
    asked_seconds=1200.0,
    used_seconds=1187.0,
    fit_seconds=31.0,
    notes=("a note of its own",),
)


def test_the_table_says_what_each_technique_bought() -> None:
    page = text.plain(evidence.ablation(FOUND, details=True))
    assert "budget: 20 min 00 s asked, 19 min 47 s used" in page
    assert "accuracy on 1200 examples" in page or "accuracy on 1,200 examples" in page
    assert "+2.11 [+1.11, +3.11]" in page
    assert "+2.11 ±2.00" in page
    assert "helps here" in page
    assert "harms here" in page  # losers stay
    assert "average: the fit of average failed" in page
    assert "a true gain of 1.20 points would be seen four times in five" in page
    assert "- a note of its own" in page
    assert "91.00% ±1.00%" in page
    assert "the loss was not finite" in " ".join(page.split())
    assert all(len(row) <= 80 for row in page.splitlines())


def test_a_verdict_whose_interval_holds_zero_is_explained() -> None:
    said = "told from zero by Holm's steps"
    assert said not in text.plain(evidence.ablation(FOUND))
    close = line("average", 0.009, "better", "helps here")
    page = text.plain(evidence.ablation(replace(FOUND, lines=(*FOUND.lines, close))))
    assert f"average: {said}, which are less strict" in " ".join(page.split())


def test_one_seed_has_a_column_of_its_own() -> None:
    one = replace(line("augment", 0.02, "not measured", "this run beats that run"), reason="why")
    page = text.plain(evidence.ablation(replace(FOUND, lines=(one,), seeds=1)))
    assert "this run beats that run" in " ".join(page.split())
    assert "verdict" not in page
    assert "- why" in page


def test_a_metric_that_is_no_share_has_no_points() -> None:
    page = text.plain(evidence.ablation(replace(FOUND, metric="BLEU")))
    assert "gain, BLEU" in page
    assert "points" not in page


def test_what_a_terminal_takes_for_orders_is_shown() -> None:
    found = replace(FOUND, source="a\x1b[2Jb")
    assert "a\\x1b[2Jb" in text.plain(evidence.ablation(found))
