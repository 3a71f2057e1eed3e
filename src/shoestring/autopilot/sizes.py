"""sizes: chooses the network of a build: the largest that pays and keeps to the limits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shoestring import plugins
from shoestring.autopilot import train
from shoestring.autopilot.build_record import Chosen, Record
from shoestring.autopilot.knowledge import FEWEST_MEMBERS, QUANTIZE
from shoestring.core.budget import Budget
from shoestring.core.decisions import Decision
from shoestring.core.errors import UserError
from shoestring.core.limits import Limits
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.run import Run
from shoestring.core.sizing import Candidate, Weight
from shoestring.core.techniques import Searcher

SIZE_ROOM = 0.97  # of a limit of bytes: manifests differ by some digits
LATENCY_ROOM = 0.8  # of a limit of milliseconds: a machine is not always as fast


def chosen(
    record: Record, dataset: Dataset, seconds: float, listener: Listener
) -> tuple[Chosen, tuple[Decision, ...]]:
    """The network, with its rates, and the decision. UserError where no network of the task can
    keep to the limits."""
    from shoestring.engine import gauge

    task, seconds = plugins.task(record.recipe.task), max(1.0, seconds)
    with tempfile.TemporaryDirectory(prefix="shoestring-gauge-") as folder:
        bare = Run(Path(folder), task.name, record.recipe, facts=dataset.facts)
        offered = task.candidates(record.recipe, dataset, seconds)
        one, weight, decision = _fitting(offered, record, bare, dataset)
        recipe = replace(record.recipe, network=one.network if not one.words else {})
        words = [*record.techniques, *filter(None, [one.words])]
        techniques = [plugins.technique(spelled) for spelled in words]
        quick = [t for t in techniques if not isinstance(t, Searcher)]
        run = train.completed(
            replace(bare, recipe=recipe), quick, dataset, Budget(seconds), seconds
        )
        found = gauge.gauged(run, dataset, Budget(seconds), listener)
    usual = offered[-1]
    larger = (usual.network, usual.words) if usual is not one else ({}, "")
    decisions = [decision]
    if rounded := _rounded(record, weight):
        decisions.append(_rounding(weight))
    return Chosen(
        one.network, one.words, one.enough_epochs, weight, found, *larger, rounded
    ), tuple(decisions)


def _rounded(record: Record, weight: Weight) -> bool:
    """Whether fits ship whole numbers at once: where the limit of bytes leaves them no choice, and
    their task can. Where there is room for an ensemble, that is rounded once it is made."""
    most, recipe = record.limits.size_bytes, record.recipe
    if most is None or weight.size_bytes <= SIZE_ROOM * most or QUANTIZE in recipe.without:
        return False
    if most // max(1, weight.small_bytes) >= FEWEST_MEMBERS:
        return False
    return plugins.task(recipe.task).rounded(recipe.options) is not None


def _rounding(weight: Weight) -> Decision:
    return Decision(
        "weights", "int8", "the limit of bytes leaves no room for float32, and a fit that ships "
        "them rounded needs no step for it afterwards",
        f"{weight.small_bytes:,} bytes instead of {weight.size_bytes:,}",
    )  # fmt: skip


def _fitting(
    offered: Sequence[Candidate], record: Record, bare: Run, dataset: Dataset
) -> tuple[Candidate, Weight, Decision]:
    from shoestring.engine import gauge

    limits, usual = record.limits, offered[-1]
    if limits.size_bytes is None and limits.latency_ms is None:
        weight = Weight(usual.parameters, 4 * usual.parameters, usual.parameters)
        why = "the usual one for these data and seconds, for nothing limits it"
        told = f"about {usual.parameters:,} parameters"
        return usual, weight, Decision("network", plugins.spelled(usual.network), why, told)
    rounds = QUANTIZE not in record.recipe.without
    nearest: tuple[Candidate, Weight] | None = None
    for one in reversed(offered):
        if _hopeless(one, limits, rounds):
            continue
        weight = gauge.weighed(bare, dataset, one.network)
        nearest = one, weight
        if _keeps(weight, limits, rounds):
            return one, weight, _decision(one, usual, weight, limits)
    smallest = offered[0]
    if nearest is None:
        nearest = smallest, gauge.weighed(bare, dataset, smallest.network)
    raise UserError(_too_small(nearest[0], nearest[1], limits, rounds, bool(record.recipe.network)))


def _hopeless(one: Candidate, limits: Limits, rounds: bool) -> bool:
    """Whether a look at the number of weights is enough."""
    most = limits.size_bytes
    return most is not None and one.parameters * (1 if rounds else 4) > most


def _keeps(weight: Weight, limits: Limits, rounds: bool) -> bool:
    if limits.size_bytes is not None:
        least = min(weight.size_bytes, weight.small_bytes) if rounds else weight.size_bytes
        if least > SIZE_ROOM * limits.size_bytes:
            return False
    if limits.latency_ms is not None and weight.latency_ms is not None:
        return weight.latency_ms <= LATENCY_ROOM * limits.latency_ms
    return True


def _decision(one: Candidate, usual: Candidate, weight: Weight, limits: Limits) -> Decision:
    size = f"{weight.size_bytes:,} bytes in float32, {weight.small_bytes:,} in int8"
    took = "" if weight.latency_ms is None else f", {weight.latency_ms:.3f} ms"
    if one is usual:
        why = "the usual one for these data and seconds" + (
            ", and it keeps to the limits" if limits else ""
        )
    else:
        why = (
            f"the largest that keeps to the limits; the usual one, "
            f"{plugins.spelled(usual.network)} of {usual.parameters:,} weights, does not"
        )
    return Decision(
        "network", plugins.spelled(one.network), why,
        f"{weight.parameters:,} parameters, {size}{took}", "measured with random weights",
    )  # fmt: skip


def _too_small(one: Candidate, weight: Weight, limits: Limits, rounds: bool, asked: bool) -> str:
    """`asked`: whether the network was; others are not tried then."""
    which = "form of the network that was asked for" if asked else "network for these data"
    others = ", or leave out --network, for others are smaller and faster" if asked else ""
    words = plugins.spelled(one.network)
    least = min(weight.size_bytes, weight.small_bytes) if rounds else weight.size_bytes
    if limits.size_bytes is not None and least > SIZE_ROOM * limits.size_bytes:
        return (
            f"max_size {limits.size_bytes:,} bytes: the smallest {which}, {words}, takes about "
            f"{least:,}"
            + ("" if rounds else " in float32, and quantize was asked to stay out")
            + f"; give --max-size {int(least * 1.05 / 1000) + 1}KB or more{others}"
        )
    return (
        f"max_latency {limits.latency_ms:g} ms: the fastest {which}, {words}, takes "
        f"{weight.latency_ms:.3f} ms here; give --max-latency "
        f"{(weight.latency_ms or 0.0) / LATENCY_ROOM + 0.001:.3f}ms or more{others}"
    )
