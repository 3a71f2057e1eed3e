"""planning: the same knowledge gives the same plan, and what was learned changes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shoestring.autopilot import sizes
from shoestring.autopilot.build_record import Record
from shoestring.autopilot.knowledge import (
    DISTILLED,
    FIRST,
    JOIN,
    MAIN,
    PROBE,
    PRUNE,
    QUANTIZE,
    TEACHER,
    Known,
    Result,
    quantized_name,
)
from shoestring.autopilot.planning import finished, planned
from shoestring.core.decisions import Step
from shoestring.core.limits import Limits
from shoestring.core.run import Recipe
from shoestring.core.sizing import Probe, Weight

KNOWN = Known(
    seconds=300.0,
    total=310.0,
    limits=Limits(),
    network={"kind": "k"},
    words="",
    size_bytes=100_000,
    small_bytes=30_000,
    epoch_seconds=20.0,
    after_seconds=4.0,
    enough_epochs=20.0,
)


def names(known: Known) -> list[str]:
    return [step.name for step in planned(known)]


def done(known: Known, **figures: Any) -> Known:
    """What is known once the next step came to these figures."""
    step = planned(known)[0]
    usual: dict[str, Any] = {
        "quality": 0.9,
        "deciding": 500,
        "size_bytes": known.size_bytes,
        "latency_ms": 1.0,
        "fit_seconds": max(0.0, step.seconds - known.after_seconds) if step.kind == "fit" else 0.0,
        "ships": True,
    }
    result = Result(step, step.seconds, **{**usual, **figures})
    return replace(known, seconds=known.seconds - step.seconds, done=(*known.done, result))


def test_a_short_fit_comes_first_and_a_long_one_takes_the_rest() -> None:
    first, main = planned(KNOWN)
    assert (first.name, main.name) == (FIRST, MAIN)
    assert first.seconds < 0.15 * KNOWN.seconds
    assert first.seconds + main.seconds <= KNOWN.seconds
    assert main.seconds > 0.8 * KNOWN.seconds
    assert planned(KNOWN) == planned(KNOWN)


def test_a_longer_fit_is_expected_to_gain_as_its_task_does() -> None:
    known = done(replace(KNOWN, seconds=1000.0), quality=0.9, fit_seconds=10.0)
    assert planned(known)[0].gain == "0.9746, from 0.9000 after 10 s"
    of_a_hundred = replace(known, metric="BLEU", perfect=100.0, learning_power=0.12)
    told = replace(of_a_hundred, done=(replace(known.done[0], quality=6.93, fit_seconds=44.0),))
    assert planned(told)[0].gain.endswith(", from 6.93 after 44 s")
    assert 30 < float(planned(told)[0].gain.partition(",")[0]) < 40


def test_a_small_budget_is_one_fit() -> None:
    assert names(replace(KNOWN, seconds=20.0)) == [MAIN]
    assert names(replace(KNOWN, seconds=60.0, after_seconds=30.0)) == [MAIN]


def test_a_limit_of_bytes_brings_quantize_to_the_fallback_and_to_what_ships() -> None:
    known = replace(KNOWN, limits=Limits(size_bytes=40_000))
    assert names(known) == [FIRST, quantized_name(FIRST), MAIN, QUANTIZE]
    known = done(done(known, ships=False), size_bytes=30_000)
    assert names(known) == [MAIN, QUANTIZE]
    known = done(known, ships=False)
    assert names(known) == [QUANTIZE]
    assert names(done(known, size_bytes=30_000)) == []
    kept_out = replace(known, without=frozenset({"quantize"}))
    assert QUANTIZE not in names(kept_out)


def test_a_task_that_ships_whole_numbers_at_once_needs_no_step_for_it() -> None:
    """Where the limit of bytes leaves float32 no room, and no ensemble would fit."""
    weight = Weight(1_000, 100_000, 30_000)
    for limits, without, rounds in (
        (Limits(size_bytes=60_000), (), True),
        (Limits(size_bytes=60_000), ("quantize",), False),
        (Limits(size_bytes=95_000), (), False),  # three of them are an ensemble
        (Limits(size_bytes=120_000), (), False),
        (Limits(), (), False),
    ):
        record = Record(Recipe("translation", "x", without=without), limits, 60.0)
        assert sizes._rounded(record, weight) == rounds
        assert not sizes._rounded(replace(record, recipe=Recipe("images", "x")), weight)
    said = Recipe("translation", "x", options={"ship": "float32"})
    assert not sizes._rounded(Record(said, Limits(size_bytes=60_000), 60.0), weight)
    known = replace(KNOWN, limits=Limits(size_bytes=60_000), size_bytes=30_000)
    assert names(known) == [FIRST, MAIN]


def test_what_is_small_enough_is_not_quantized() -> None:
    assert QUANTIZE not in names(replace(KNOWN, limits=Limits(size_bytes=200_000)))


def test_small_data_bring_an_ensemble_where_no_limit_forbids_it() -> None:
    known = replace(KNOWN, epoch_seconds=1.0)
    assert names(known) == [FIRST, MAIN, "member 2", "member 3", "member 4", "member 5", JOIN]
    assert sum(step.seconds for step in planned(known)) <= known.seconds
    limited = replace(known, limits=Limits(size_bytes=350_000))
    assert names(limited) == [FIRST, MAIN, "member 2", "member 3", JOIN]
    assert names(replace(known, limits=Limits(size_bytes=150_000))) == [FIRST, MAIN]
    assert names(replace(known, limits=Limits(latency_ms=2.0))) == [FIRST, MAIN]
    assert names(replace(known, without=frozenset({"ensemble"}))) == [FIRST, MAIN]


def test_members_that_take_longer_than_planned_become_fewer() -> None:
    known = done(replace(KNOWN, epoch_seconds=1.0))
    step = planned(known)[0]
    slow = Result(step, 3 * step.seconds, 0.9, None, 500, 100_000, 1.0, 100.0, 20.0, True)
    left = known.seconds - slow.seconds
    known = replace(known, seconds=left, done=(*known.done, slow))
    assert names(known) == []  # two more of that length do not fit


def test_a_first_fit_without_a_fault_ends_it() -> None:
    known = done(KNOWN, quality=1.0)
    assert planned(known) == ()
    assert "nothing left to gain" in finished(known)
    assert names(done(KNOWN, quality=1.0, deciding=8)) == [MAIN]  # too few to be sure


def test_easy_data_get_enough_epochs_and_no_more() -> None:
    easy = done(replace(KNOWN, epoch_seconds=1.0), quality=1.0, deciding=60)
    (main,) = planned(easy)
    assert main.seconds == 24.0 and "easy" in main.why
    easy = done(easy, quality=1.0, deciding=60, epochs=20.0)
    assert planned(easy) == () and "nothing left to gain" in finished(easy)


def test_too_little_time_after_the_first_fit_is_given_back() -> None:
    known = done(KNOWN)
    assert "would not be better" in finished(replace(known, seconds=20.0))


def test_photos_bring_a_probe_where_bytes_allow_it() -> None:
    probe = Probe({"kind": "big"}, "transfer:start=x,freeze=all", "few photos")
    known = replace(KNOWN, probe=probe)
    assert names(known) == [FIRST, PROBE, MAIN]
    assert PROBE not in names(replace(known, limits=Limits(size_bytes=120_000)))


def test_what_is_too_slow_is_pruned() -> None:
    known = replace(KNOWN, limits=Limits(latency_ms=0.5))
    known = done(known, latency_ms=1.0, ships=False)
    known = done(known, latency_ms=1.0, ships=False)
    (step,) = planned(replace(known, seconds=60.0))
    assert step.name == PRUNE
    assert step.words == "prune:ratio=0.55,of=macs"


def test_a_small_network_with_time_to_spare_gets_a_teacher() -> None:
    known = replace(
        KNOWN, limits=Limits(size_bytes=40_000), larger={"kind": "k", "width": 9}, epoch_seconds=1.0
    )
    assert names(known)[2:] == [MAIN, TEACHER, DISTILLED, QUANTIZE]
    assert sum(step.seconds for step in planned(known)) <= known.seconds
    assert TEACHER not in names(replace(known, epoch_seconds=20.0))  # no time to spare
    assert TEACHER not in names(replace(known, without=frozenset({"distill"})))
    known = done(done(known, ships=False), size_bytes=30_000)
    known = done(known, ships=False, epochs=300.0)
    assert names(known) == [TEACHER, DISTILLED, QUANTIZE]
    known = done(known, ships=False, size_bytes=300_000)
    (student, _) = planned(known)
    assert student.words == "distill:student=k" and student.on == (TEACHER,)
    better, worse = done(known, ships=False, quality=0.95), done(known, ships=False, quality=0.85)
    assert planned(better)[0].on == (DISTILLED,) and planned(worse)[0].on == (MAIN,)


def test_what_was_asked_for_follows_the_main_fit_with_its_portion() -> None:
    known = replace(KNOWN, finishers=("prune:ratio=0.3", "quantize"), portions=(0.5, 0.1))
    first, main, prune, quantize = planned(known)
    assert [first.name, main.name, prune.name, quantize.name] == [FIRST, MAIN, PRUNE, QUANTIZE]
    assert prune.seconds == 0.5 * main.seconds and quantize.seconds == 0.1 * main.seconds
    assert first.seconds + 1.6 * main.seconds <= KNOWN.seconds + 1e-6
    assert prune.on == (MAIN,) and quantize.on == (PRUNE,)
    known = done(done(known))
    broken = done(known, failure="it cannot be done")
    assert planned(broken)[0].on == (MAIN,)


def test_a_failed_main_fit_is_not_joined() -> None:
    known = done(replace(KNOWN, epoch_seconds=1.0))
    assert names(done(known, failure="the loss was not finite")) == []


def test_shares_are_of_the_whole_budget() -> None:
    step: Step = planned(KNOWN)[0]
    assert step.share == step.seconds / KNOWN.total
