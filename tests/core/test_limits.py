from __future__ import annotations

import pytest

from shoestring.core.errors import UserError
from shoestring.core.limits import Limits, parse_bytes, parse_milliseconds, parse_quality
from shoestring.core.receipt import Scores


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("200KB", 200_000),
        ("5 MB", 5_000_000),
        ("1.5MiB", 1_572_864),
        ("50000", 50_000),
        (7e4, 70_000),
    ],
)
def test_bytes_have_units(text: str | float, found: int) -> None:
    assert parse_bytes(text) == found


@pytest.mark.parametrize("text", ["", "big", "5 apples", "-3KB", "0", "nan", float("inf"), 0])
def test_other_sizes_are_refused(text: str | float) -> None:
    with pytest.raises(UserError, match="max_size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "found"), [("2ms", 2.0), ("500us", 0.5), ("0.1s", 100.0), (3, 3.0)]
)
def test_latencies_have_units(text: str | float, found: float) -> None:
    assert parse_milliseconds(text) == pytest.approx(found)


@pytest.mark.parametrize("text", ["fast", "0ms", "2 KB", -1])
def test_other_latencies_are_refused(text: str | float) -> None:
    with pytest.raises(UserError, match="max_latency"):
        parse_milliseconds(text)


def test_a_quality_is_of_its_metric() -> None:
    assert parse_quality("0.9", 1.0, "accuracy") == 0.9
    assert parse_quality("90%", 100.0, "BLEU") == pytest.approx(90.0)
    for text in ("1.2", "150%", "0", "good", "nan"):
        with pytest.raises(UserError, match="min_quality"):
            parse_quality(text, 1.0, "accuracy")
    with pytest.raises(UserError, match="write 90% for"):
        parse_quality("90", 1.0, "accuracy")


def test_what_physics_forbids_is_refused() -> None:
    with pytest.raises(UserError, match="no bundle is that small"):
        Limits(size_bytes=parse_bytes("1KB"))
    with pytest.raises(UserError, match="calling any graph takes longer"):
        Limits(latency_ms=0.001)


def test_what_is_missed_and_by_how_much() -> None:
    limits = Limits(size_bytes=10_000, latency_ms=1.0, quality=0.9)
    scores = Scores(quality=0.8, size_bytes=20_000, latency_ms={"model": {"median": 0.5}})
    assert limits.missed(scores) == {"size_bytes": 2.0, "quality": pytest.approx(1.125)}
    assert not limits.ships(scores)
    assert Limits(quality=0.9).ships(scores)
    assert not Limits()
    assert len(limits.told()) == 3
