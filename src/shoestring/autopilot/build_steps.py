"""build_steps: the single steps that a build may take: their seconds, their words and why."""

from __future__ import annotations

from shoestring import plugins
from shoestring.autopilot.knowledge import (
    DISTILLED,
    FIRST,
    FOLDS,
    JOIN,
    MAIN,
    PROBE,
    PRUNE,
    QUANTIZE,
    TEACHER,
    Known,
    member_name,
    quantized_name,
)
from shoestring.core.decisions import Step
from shoestring.core.quantity import plain_quality

FIRST_SHARE = (
    0.06  # of the seconds, for a bundle to fall back on: what it takes, the main fit lacks
)
PROBE_SHARE = 0.08
FOLDS_SHARE = 0.2
FIRST_FIT_SECONDS = 30.0  # and at most so long: a fallback need not be good
LEAST_FIT_SECONDS = 2.0  # of training, in a fit that is worth a bundle
QUANTIZE_SECONDS = 3.0  # of a technique, beside export and grading, before one was timed
JOINING = 1.5  # of the seconds after a fit, for a bundle of several networks
MARGIN = 1.2  # on seconds that were measured once
# What an ensemble is expected to leave of wrong answers: as the handbook's examples came out.
JOINED_FACTOR = 0.85


def first(known: Known, left: float) -> Step:
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


def probe(known: Known, left: float) -> Step:
    assert known.probe is not None
    return Step(
        PROBE, "fit", PROBE_SHARE * left + known.after_seconds, 0.0, known.probe.why,
        known.probe.words, known.probe.network, known.seed,
        gain="unknown: these features were learned elsewhere",
    )  # fmt: skip


def folds(known: Known, left: float) -> Step:
    return Step(
        FOLDS, "folds", FOLDS_SHARE * left, 0.0,
        f"the validation split is too small to say much; {known.folds} fits, each judged on "
        "another part that it did not see, say more about what ships",
        network=known.network, words=known.words, seed=known.seed, gain="a narrower interval",
    )  # fmt: skip


def main(known: Known, seconds: float, members: int) -> Step:
    epochs = (seconds - known.after_seconds) / max(known.epoch_seconds, 1e-9)
    if known.easy:
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
        gain=longer(known, seconds - known.after_seconds),
    )  # fmt: skip


def member(known: Known, number: int, seconds: float) -> Step:
    return Step(
        member_name(number), "fit", seconds, 0.0,
        "the same network from another beginning errs on other examples",
        known.words, known.network, known.seed + number - 1, gain="alone none",
    )  # fmt: skip


def join(known: Known, members: int) -> Step:
    names = (MAIN, *(member_name(number) for number in range(2, members + 1)))
    return Step(
        JOIN, "technique", joining(known), 0.0,
        f"{members} networks that answer as one are right more often than each; nothing that was "
        "asked forbids their bytes",
        "ensemble", on=names, gain=f"a share of {1 - JOINED_FACTOR:.0%} of the errors",
    )  # fmt: skip


def quantize(known: Known, on: str, why: str) -> Step:
    name = quantized_name(on)
    size = f"about {known.small_bytes:,} bytes instead of {known.size_bytes:,}"
    return Step(
        name, "technique", quantize_seconds(known), 0.0, why, "quantize:want=size", on=(on,),
        gain=f"{size}, for at most 0.5 points",
    )  # fmt: skip


def prune(known: Known, on: str) -> Step:
    found = known.result(on)
    assert found is not None
    assert known.limits.latency_ms is not None
    ratio = min(0.9, 1 - 0.9 * known.limits.latency_ms / (found.latency_ms or 1.0))
    return Step(
        PRUNE, "technique", max(QUANTIZE_SECONDS, 0.8 * known.seconds), 0.0,
        f"{found.latency_ms:.3f} ms are more than was asked",
        f"prune:ratio={ratio:.2f},of=macs", on=(on,), gain=f"{ratio:.0%} of the operations less",
    )  # fmt: skip


def finisher(name: str, words: str, on: str, seconds: float) -> Step:
    return Step(
        name, "technique", seconds, 0.0, "as asked", words, on=(on,), gain="as its card says"
    )


def teacher(known: Known, seconds: float) -> Step:
    return Step(
        TEACHER, "fit", seconds, 0.0,
        "limits keep what ships small, and there is time: a larger network learns more in the same "
        "epochs, and can teach it",
        known.larger_words, known.larger, known.seed, gain="none by itself: it is too large",
    )  # fmt: skip


def distilled(known: Known, seconds: float) -> Step:
    student = plugins.spelled(known.network).replace(",", "+")  # inside a technique's words
    return Step(
        DISTILLED, "technique", seconds, 0.0,
        "what a teacher thinks of each label says more than the label; whichever is better on the "
        "examples that decide goes on, this or the main fit",
        f"distill:student={student}", on=(TEACHER,),
        gain="some of what the teacher is ahead",
    )  # fmt: skip


def joining(known: Known) -> float:
    return JOINING * known.after_seconds


def quantize_seconds(known: Known) -> float:
    timed = [r.seconds for r in known.done if r.name.startswith(QUANTIZE) and not r.failure]
    return MARGIN * timed[-1] if timed else QUANTIZE_SECONDS + known.after_seconds


def longer(known: Known, seconds: float) -> str:
    """What a fit of so many seconds is expected to come to, from a shorter one, by the power law
    of learning curves."""
    first = known.result(FIRST)
    if first is None or first.quality is None or first.fit_seconds <= 0:
        return "not known before the first fit"
    ratio = max(1.0, seconds / first.fit_seconds)
    wrong = (known.perfect - first.quality) * ratio**-known.learning_power
    to, since = (plain_quality(q, known.metric) for q in (known.perfect - wrong, first.quality))
    return f"{to}, from {since} after {first.fit_seconds:.0f} s"
