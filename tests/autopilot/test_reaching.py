from __future__ import annotations

from pathlib import Path

from shoestring.autopilot.build_record import Record
from shoestring.autopilot.knowledge import NO_TIME, Result
from shoestring.autopilot.reaching import missed
from shoestring.core.decisions import Step
from shoestring.core.limits import Limits
from shoestring.core.receipt import Scores
from shoestring.core.run import Recipe, Run

RECIPE = Recipe("images", "photos")


def run(quality: float = 0.9, size: int = 60_000, latency: float = 1.0) -> Run:
    scores = Scores(
        quality=quality,
        metric="accuracy",
        size_bytes=size,
        latency_ms={"model": {"median": latency}},
    )
    return Run(Path("b"), "images", RECIPE, scores=scores)


def result(name: str = "main fit", **figures: object) -> Result:
    return Result(Step(name, "fit", 10.0, 0.1, "why"), 10.0, **figures)  # type: ignore[arg-type]


def test_what_keeps_to_all_says_nothing() -> None:
    assert missed(run(), Record(RECIPE, Limits(size_bytes=70_000), 60.0)) == ""
    assert missed(run(), Record(RECIPE, Limits(), 60.0)) == ""


def test_bytes_and_milliseconds_say_what_they_would_take() -> None:
    said = missed(run(), Record(RECIPE, Limits(size_bytes=50_000, latency_ms=0.5), 60.0))
    assert "at most 50,000 bytes" in said and "60,000 bytes" in said
    assert "--max-size 61KB" in said and "--max-latency 1.100ms" in said


def test_what_was_left_out_for_want_of_time_is_named() -> None:
    record = Record(
        RECIPE, Limits(size_bytes=50_000), 60.0, results=(result("quantize", failure=NO_TIME),)
    )
    assert "a longer budget leaves time for quantize" in missed(run(), record)


def test_a_quality_within_reach_of_time_names_the_minutes() -> None:
    said = missed(run(quality=0.9), Record(RECIPE, Limits(quality=0.92), 60.0))
    assert "a budget of about 2m" in said  # (0.10 / 0.08) ** (1 / 0.3) minutes
    far = missed(run(quality=0.9), Record(RECIPE, Limits(quality=0.999), 60.0))
    assert "more time alone will not do" in far and "shoestring diagnose b" in far


def test_a_larger_one_that_had_the_quality_is_named() -> None:
    results = (result("teacher", quality=0.95, size_bytes=300_000),)
    record = Record(RECIPE, Limits(size_bytes=70_000, quality=0.94), 60.0, results=results)
    assert "the teacher reached 0.9500" in missed(run(quality=0.9), record)


def test_bleu_has_two_digits_and_its_own_power_of_time() -> None:
    scores = Scores(quality=37.123, metric="BLEU", size_bytes=60_000)
    record = Record(Recipe("translation", "pairs"), Limits(quality=38.5), 1800.0)
    said = missed(Run(Path("b"), "translation", record.recipe, scores=scores), record)
    assert "BLEU 37.12, " in said and "a budget of about 36m" in said
