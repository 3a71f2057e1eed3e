"""planning: which steps a build takes, in which order and with which share of the time.

Nothing here measures or trains: the same knowledge gives the same plan. It is asked again after
each step, with what that step taught.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from shoestring.autopilot import build_steps as steps_of
from shoestring.autopilot.build_steps import (
    MARGIN,
    joining,
    quantize_seconds,
)
from shoestring.autopilot.knowledge import (
    DISTILLED,
    EASY,
    FEWEST_MEMBERS,
    FIRST,
    FOLDS,
    JOIN,
    MAIN,
    PROBE,
    PRUNE,
    QUANTIZE,
    SURE,
    TEACHER,
    Known,
    Result,
    quantized_name,
)
from shoestring.core.decisions import Step

ENOUGH = 0.9  # of the epochs that are enough
FEWEST_SECONDS = 30.0  # for steps, below which there is a single fit
MOST_FALLBACK = 0.28  # of the seconds, that having something to fall back on may take in all
PROBE_SECONDS = 120.0  # for steps, below which nothing is probed
FOLDS_SECONDS = 30.0  # for steps, below which nothing is crossed
# A network that limits keep small and that has time for so many times the epochs that are enough
# gets a part of it; a larger one and its student share the rest. A teacher that saw the data three
# times taught nothing on MNIST, where one fit of all the time did better. Judgements.
TAUGHT_EPOCHS, MAIN_PART, TEACHER_PART = 12.0, 0.45, 0.4
MOST_MEMBERS = 5  # each costs its bytes and its time whenever it answers


def planned(known: Known) -> tuple[Step, ...]:
    """The steps that are still to be done, in order; none where nothing is expected to pay."""
    if finished(known):
        return ()
    steps: list[Step] = []
    left = known.seconds
    tail = _tail(known)
    fallback = _fallback(known)
    if known.result(FIRST) is None and known.result(MAIN) is None:
        if left >= FEWEST_SECONDS and _seconds(fallback) <= MOST_FALLBACK * left:
            steps += fallback
            left -= _seconds(fallback)
    elif _needs_quantizing(known, FIRST) and known.result(MAIN) is None:
        after = steps_of.quantize(known, FIRST, "so that what to fall back on keeps to the limit")
        steps.append(after)
        left -= after.seconds
    if _probes(known):
        probe = steps_of.probe(known, left)
        steps.append(probe)
        left -= probe.seconds
    if _crosses(known):
        folds = steps_of.folds(known, left)
        steps.append(folds)
        left -= folds.seconds
    members = _members(known, left - tail)
    teaches = members == 1 and _teaches(known, left - tail)
    if known.result(MAIN) is None:
        seconds = max(1.0, (left - tail - joining(known) * (members > 1)) / members)
        seconds *= MAIN_PART if teaches else 1.0
        seconds /= 1 + sum(known.portions)
        if known.easy:
            most = known.enough_epochs * known.epoch_seconds + known.after_seconds
            seconds = min(seconds, most)
        steps.append(steps_of.main(known, seconds, members))
        steps += [steps_of.member(known, number, seconds) for number in range(2, members + 1)]
    else:
        done = known.result(MAIN)
        assert done is not None
        missing = range(len(known.fits) + 1, members + 1) if members > 1 else ()
        steps += [steps_of.member(known, number, done.seconds) for number in missing]
    if members > 1 and known.result(JOIN) is None:
        steps.append(steps_of.join(known, members))
    if teaches:
        steps += _taught(known, left - tail)
    last = JOIN if members > 1 else _better_of(known, MAIN, DISTILLED)
    asked = _asked(known, left - tail)
    for words, portion_seconds in asked:
        name = words.partition(":")[0]
        if known.result(name) is None:
            steps.append(steps_of.finisher(name, words, last, portion_seconds))
        last = name if not _failed(known, name) else last
    planned_already = known.result(last) is None and known.rounds
    if planned_already or _needs_quantizing(known, last):
        steps.append(
            steps_of.quantize(known, last, "so that the bundle keeps to the limit of bytes")
        )
    elif _too_slow(known, last):
        steps.append(steps_of.prune(known, last))
    return tuple(_shared(step, known.total) for step in steps)


def finished(known: Known) -> str:
    """Why nothing more is worth doing; "" where something is."""
    best = max(
        (r for r in known.done if r.quality is not None and r.ships and r.bundled),
        key=lambda r: (r.quality or 0.0, r.epochs),
        default=None,
    )
    if best is None or best.quality is None:
        return ""
    long = best.deciding >= EASY and best.epochs >= ENOUGH * known.enough_epochs
    if best.quality >= known.perfect and (best.deciding >= SURE or long):
        return (
            f"all {best.deciding} examples that decide are right after the {best.name}: there is "
            "nothing left to gain that they could show"
        )
    first = known.result(FIRST)
    if best.step.on[:1] == (FIRST,) or best.name == FIRST:
        rest = known.seconds - known.after_seconds - _tail(known)
        if first is not None and known.result(MAIN) is None and rest < first.fit_seconds:
            return (
                f"the {max(0.0, rest):.0f} s left for training are fewer than those of the first "
                "fit, so that another one would not be better"
            )
    return ""


def _better_of(known: Known, name: str, other: str) -> str:
    """The name of whichever did better on the examples that decide."""
    one, two = known.result(name), known.result(other)
    if two is None or two.failure:
        return name
    if one is None or one.failure:
        return other

    def rank(result: Result) -> tuple[float, float]:
        return (result.quality or 0.0, -(result.loss or 0.0))

    return other if rank(two) > rank(one) else name


def _teaches(known: Known, seconds: float) -> bool:
    """Whether a larger network is worth training to teach the one that ships: where limits keep
    that one small, and it would see the data many times over anyway."""
    if not known.larger or {"distill"} & known.without or known.finishers or known.easy:
        return False
    if known.result(MAIN) is not None:
        teacher, main = known.result(TEACHER), known.result(MAIN)
        taught = known.result(DISTILLED)
        assert main is not None
        long = main.epochs >= MAIN_PART * TAUGHT_EPOCHS * known.enough_epochs
        failed = teacher is not None and bool(teacher.failure)
        return long and not failed and taught is None and not main.failure
    return seconds >= TAUGHT_EPOCHS * known.enough_epochs * known.epoch_seconds


def _taught(known: Known, seconds: float) -> list[Step]:
    """The teacher and what it teaches, of what the main fit leaves them."""
    rest = seconds if known.result(MAIN) is not None else (1 - MAIN_PART) * seconds
    if known.result(TEACHER) is not None:
        return [steps_of.distilled(known, rest)]
    return [
        steps_of.teacher(known, TEACHER_PART * rest),
        steps_of.distilled(known, (1 - TEACHER_PART) * rest),
    ]


def _fallback(known: Known) -> list[Step]:
    """A short fit, and what makes its bundle keep to the limits."""
    steps = [steps_of.first(known, known.seconds)]
    if known.rounds:
        why = "so that what to fall back on keeps to the limit"
        steps.append(steps_of.quantize(known, FIRST, why))
    return steps


def _seconds(steps: list[Step]) -> float:
    return sum(step.seconds for step in steps)


# --- how many, how long --------------------------------------------------------------------------


def _members(known: Known, seconds: float) -> int:
    """How many networks to train beside each other: one, where size, latency or time forbid more,
    or where a longer fit of one is expected to pay more."""
    if known.easy or {"ensemble"} & known.without or known.finishers or known.epoch_seconds <= 0:
        return 1
    main = known.result(MAIN)
    if main is not None and main.failure:
        return 1
    most = MOST_MEMBERS
    if known.limits.size_bytes is not None:
        most = min(most, known.limits.size_bytes // max(1, known.per_member()))
    if known.limits.latency_ms is not None:
        latency = main.latency_ms if main is not None else None
        most = min(most, int(known.limits.latency_ms / latency) if latency else 1)
    each = known.enough_epochs * known.epoch_seconds + known.after_seconds
    room = seconds - joining(known)
    if main is not None:
        if known.result(JOIN) is not None:
            return len(known.fits)
        more = int(room / (MARGIN * max(main.seconds, 1e-9)))
        affordable = len(known.fits) + max(0, more)
    else:
        affordable = int(room / max(each, 1e-9))
    count = min(most, affordable)
    return count if count >= FEWEST_MEMBERS else 1


def _probes(known: Known) -> bool:
    if known.probe is None or known.result(PROBE) is not None or known.result(MAIN) is not None:
        return False
    return known.limits.size_bytes is None and known.seconds >= PROBE_SECONDS


def _crosses(known: Known) -> bool:
    """Whether tiny data are worth fits of folds, and there is time for them."""
    if not known.folds or known.result(FOLDS) is not None or known.result(MAIN) is not None:
        return False
    return known.seconds >= FOLDS_SECONDS


def _tail(known: Known) -> float:
    """Seconds for what follows the last fit, but for joining and for what was asked for."""
    return quantize_seconds(known) if known.rounds else 0.0


def _asked(known: Known, seconds: float) -> list[tuple[str, float]]:
    """The techniques on finished runs that a person asked for, in order, with the seconds of each
    that is still to be done: portions beside the 1 of a fit."""
    pairs = list(zip(known.finishers, known.portions, strict=True))
    pending = [p for words, p in pairs if known.result(words.partition(":")[0]) is None]
    whole = sum(pending) + (1.0 if known.result(MAIN) is None else 0.0)
    return [(words, seconds * portion / max(whole, 1e-9)) for words, portion in pairs]


def _failed(known: Known, name: str) -> bool:
    found = known.result(name)
    return found is not None and bool(found.failure)


def _needs_quantizing(known: Known, on: str) -> bool:
    found, most = known.result(on), known.limits.size_bytes
    if found is None or found.failure or most is None or QUANTIZE in known.without:
        return False
    return found.size_bytes > most and known.result(quantized_name(on)) is None


def _too_slow(known: Known, on: str) -> bool:
    found, most = known.result(on), known.limits.latency_ms
    if found is None or most is None or found.latency_ms is None or PRUNE in known.without:
        return False
    return found.latency_ms > most and known.result(PRUNE) is None


def _shared(step: Step, total: float) -> Step:
    return replace(step, share=step.seconds / total if isfinite(total) and total > 0 else 0.0)
