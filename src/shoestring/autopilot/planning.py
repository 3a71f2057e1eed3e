"""planning: which steps a build takes, in which order and with which share of the time.

Nothing here measures or trains: the same knowledge gives the same plan. It is asked again after
each step, with what that step taught.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from shoestring.autopilot.knowledge import (
    FIRST,
    FOLDS,
    JOIN,
    MAIN,
    PROBE,
    PRUNE,
    QUANTIZE,
    Known,
    member_name,
    quantized_name,
)
from shoestring.core.decisions import Step

ENOUGH = 0.9  # of the epochs that are enough
FIRST_SHARE = 0.12  # of the seconds, for a bundle to fall back on
PROBE_SHARE = 0.08
FEWEST_SECONDS = 30.0  # for steps, below which there is a single fit
MOST_FALLBACK = 0.28  # of the seconds, that having something to fall back on may take in all
PROBE_SECONDS = 60.0  # for steps, below which nothing is probed
FOLDS_SHARE = 0.2
FOLDS_SECONDS = 30.0  # for steps, below which nothing is crossed
LEAST_FIT_SECONDS = 2.0  # of training, in a fit that is worth a bundle
FIRST_FIT_SECONDS = 60.0  # and at most so long: a fallback need not be good
MOST_MEMBERS = 5  # each costs its bytes and its time whenever it answers
FEWEST_MEMBERS = 3  # two are hardly better than one that learned twice as long
QUANTIZE_SECONDS = 6.0  # of a technique after a fit, before one was timed
JOINING = 1.5  # of the seconds after a fit, for a bundle of several networks
# Deciding examples, all right: so many say that there is nothing left to gain (at most 1% is
# wrong, by the rule of three), and so many that it will not take long.
SURE, EASY = 300, 50
MARGIN = 1.2  # on seconds that were measured once
# What steps are expected to do to the share of wrong answers. Judgements: a longer fit as power
# laws of learning curves go, an ensemble as the handbook's examples came out.
LONGER_POWER = 0.3
JOINED_FACTOR = 0.85


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
        after = _quantize(known, FIRST, "so that what to fall back on keeps to the limit")
        steps.append(after)
        left -= after.seconds
    if _probes(known):
        probe = _probe(known, left)
        steps.append(probe)
        left -= probe.seconds
    if _crosses(known):
        folds = _folds(known, left)
        steps.append(folds)
        left -= folds.seconds
    members = _members(known, left - tail)
    if known.result(MAIN) is None:
        seconds = max(1.0, (left - tail - _joining(known) * (members > 1)) / members)
        if _easy(known):
            most = known.enough_epochs * known.epoch_seconds + known.after_seconds
            seconds = min(seconds, most)
        steps.append(_main(known, seconds, members))
        steps += [_member(known, number, seconds) for number in range(2, members + 1)]
    else:
        done = known.result(MAIN)
        assert done is not None
        missing = range(len(known.fits) + 1, members + 1) if members > 1 else ()
        steps += [_member(known, number, done.seconds) for number in missing]
    if members > 1 and known.result(JOIN) is None:
        steps.append(_join(known, members))
    last = JOIN if members > 1 else MAIN
    steps += [
        Step(words.partition(":")[0], "technique", QUANTIZE_SECONDS, 0.0, "as asked", words,
             on=(last,))
        for words in known.finishers
        if known.result(words.partition(":")[0]) is None
    ]  # fmt: skip
    planned_already = known.result(last) is None and known.rounds
    if planned_already or _needs_quantizing(known, last):
        steps.append(_quantize(known, last, "so that the bundle keeps to the limit of bytes"))
    elif _too_slow(known, last):
        steps.append(_prune(known, last))
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


def _easy(known: Known) -> bool:
    """Whether the first fit made no fault on examples that are enough to tell."""
    first = known.result(FIRST)
    if first is None or first.quality is None:
        return False
    return first.deciding >= EASY and first.quality >= known.perfect


def _fallback(known: Known) -> list[Step]:
    """A short fit, and what makes its bundle keep to the limits."""
    steps = [_first(known, known.seconds)]
    if known.rounds:
        why = "so that what to fall back on keeps to the limit"
        steps.append(_quantize(known, FIRST, why))
    return steps


def _seconds(steps: list[Step]) -> float:
    return sum(step.seconds for step in steps)


# --- single steps --------------------------------------------------------------------------------


def _first(known: Known, left: float) -> Step:
    fit = min(FIRST_FIT_SECONDS, max(LEAST_FIT_SECONDS, FIRST_SHARE * left))
    seconds = fit + known.after_seconds
    return Step(
        FIRST,
        "fit",
        seconds,
        0.0,
        "a finished bundle to fall back on, whatever happens to the rest; it also shows what "
        "training, exporting and grading take here",
        words=known.words,
        network=known.network,
        seed=known.seed,
        gain="the first",
    )


def _probe(known: Known, left: float) -> Step:
    assert known.probe is not None
    return Step(
        PROBE, "fit", PROBE_SHARE * left + known.after_seconds, 0.0, known.probe.why,
        known.probe.words, known.probe.network, known.seed,
        gain="unknown: these features were learned elsewhere",
    )  # fmt: skip


def _folds(known: Known, left: float) -> Step:
    return Step(
        FOLDS, "folds", FOLDS_SHARE * left, 0.0,
        f"the validation split is too small to say much; {known.folds} fits, each judged on "
        "another part that it did not see, say more about what ships",
        network=known.network, words=known.words, seed=known.seed, gain="a narrower interval",
    )  # fmt: skip


def _main(known: Known, seconds: float, members: int) -> Step:
    epochs = (seconds - known.after_seconds) / max(known.epoch_seconds, 1e-9)
    if _easy(known):
        why = (
            f"the first fit made no fault on the examples that decide: these data are "
            f"easy, and {epochs:.0f} epochs are enough for them"
        )
    elif members > 1:
        why = (
            f"{epochs:.0f} epochs are as many as one network here makes good use of "
            f"({known.enough_epochs:.0f}); the rest of the time goes into others beside it"
        )
    else:
        why = f"one good long fit is the best use of {seconds:.0f} s: {epochs:.1f} epochs"
    return Step(
        MAIN, "fit", seconds, 0.0, why, known.words, known.network, known.seed,
        gain=_longer(known, seconds - known.after_seconds),
    )  # fmt: skip


def _member(known: Known, number: int, seconds: float) -> Step:
    return Step(
        member_name(number), "fit", seconds, 0.0,
        "the same network from another beginning errs on other examples",
        known.words, known.network, known.seed + number - 1, gain="alone none",
    )  # fmt: skip


def _join(known: Known, members: int) -> Step:
    names = (MAIN, *(member_name(number) for number in range(2, members + 1)))
    return Step(
        JOIN, "technique", _joining(known), 0.0,
        f"{members} networks that answer as one are right more often than each; nothing that was "
        "asked forbids their bytes",
        "ensemble", on=names, gain=f"a share of {1 - JOINED_FACTOR:.0%} of the errors",
    )  # fmt: skip


def _quantize(known: Known, on: str, why: str) -> Step:
    name = quantized_name(on)
    size = f"about {known.small_bytes:,} bytes instead of {known.size_bytes:,}"
    return Step(
        name, "technique", _quantize_seconds(known), 0.0, why, "quantize:want=size", on=(on,),
        gain=f"{size}, for at most 0.5 points",
    )  # fmt: skip


def _prune(known: Known, on: str) -> Step:
    found = known.result(on)
    assert found is not None
    assert known.limits.latency_ms is not None
    ratio = min(0.9, 1 - 0.9 * known.limits.latency_ms / (found.latency_ms or 1.0))
    return Step(
        PRUNE, "technique", max(QUANTIZE_SECONDS, 0.8 * known.seconds), 0.0,
        f"{found.latency_ms:.3f} ms are more than was asked",
        f"prune:ratio={ratio:.2f},of=macs", on=(on,), gain=f"{ratio:.0%} of the operations less",
    )  # fmt: skip


# --- how many, how long --------------------------------------------------------------------------


def _members(known: Known, seconds: float) -> int:
    """How many networks to train beside each other: one, where size, latency or time forbid more,
    or where a longer fit of one is expected to pay more."""
    if _easy(known) or {"ensemble"} & known.without or known.finishers or known.epoch_seconds <= 0:
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
    room = seconds - _joining(known)
    if main is not None:
        if known.result(JOIN) is not None:
            return len(known.fits)
        more = int(room / (MARGIN * max(main.seconds, 1e-9)))
        affordable = len(known.fits) + max(0, more)
    else:
        affordable = int(room / max(each, 1e-9))
    count = min(most, affordable)
    return count if count >= FEWEST_MEMBERS else 1


def _joining(known: Known) -> float:
    return JOINING * known.after_seconds


def _probes(known: Known) -> bool:
    if known.probe is None or known.result(PROBE) is not None or known.result(MAIN) is not None:
        return False
    return known.limits.size_bytes is None and known.seconds >= PROBE_SECONDS


def _crosses(known: Known) -> bool:
    """Whether tiny data are worth fits of folds, and there is time for them."""
    if not known.folds or known.result(FOLDS) is not None or known.result(MAIN) is not None:
        return False
    return known.seconds >= FOLDS_SECONDS


def _quantize_seconds(known: Known) -> float:
    timed = [r.seconds for r in known.done if r.name.startswith(QUANTIZE) and not r.failure]
    return MARGIN * timed[-1] if timed else QUANTIZE_SECONDS + known.after_seconds


def _tail(known: Known) -> float:
    """Seconds for what follows the last fit, but for joining."""
    asked = QUANTIZE_SECONDS * len(known.finishers)
    return asked + (_quantize_seconds(known) if known.rounds else 0.0)


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


def _longer(known: Known, seconds: float) -> str:
    """What a fit of so many seconds is expected to come to, from a shorter one."""
    first = known.result(FIRST)
    if first is None or first.quality is None or first.fit_seconds <= 0:
        return "not known before the first fit"
    ratio = max(1.0, seconds / first.fit_seconds)
    wrong = (known.perfect - first.quality) * ratio**-LONGER_POWER
    return f"{known.perfect - wrong:.4f}, from {first.quality:.4f} after {first.fit_seconds:.0f} s"


def _shared(step: Step, total: float) -> Step:
    return replace(step, share=step.seconds / total if isfinite(total) and total > 0 else 0.0)
