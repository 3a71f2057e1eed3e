"""planning: a plan as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shoestring.core.quantity import count_words
from shoestring.report.tables import section
from shoestring.report.words import all_visible, duration, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shoestring.cluster.plan import Plan
    from shoestring.cluster.strategies import Strategy

SHOWN, SHOWN_NOT = 10, 5  # strategies that can be, and that cannot
LEGEND = (
    "micro: examples at once on a device; again: how much of a forward pass is computed again; "
    "used: the model's operations over what the devices could do; *: shoestring's own fit can be "
    "shared so (--with distribute), the others are for Megatron-LM or torchtitan; times are of "
    "kernels compiled as theirs, which shoestring's fit does not do"
)
SHARDED = {"none": "copies", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "fsdp": "FSDP"}
AGAIN = {"none": "-", "selective": "half", "full": "all"}
PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer's states",
    "gathered": "gathered weights",
    "activations": "activations",
    "output": "the loss, beyond these",
    "fragmentation": "fragmentation",
    "runtime": "driver and libraries",
}
TIMES = {
    "matrix": "products with weights",
    "attention": "attention",
    "traffic": "passes over arrays",
    "tensor": "tensor parallel, not hidden",
    "context": "sequence parts, not hidden",
    "data": "gradients and weights, not hidden",
    "pipeline": "stages that wait",
    "optimizer": "optimizer",
}


def planned(found: Plan, details: bool = False) -> Group:
    """The strategies of a plan, the parts of the first, and what cannot be."""
    found = all_visible(found)
    parts: list[RenderableType] = [_head(found)]
    able = found.feasible if details else found.feasible[:SHOWN]
    if able:
        title = f"Strategies that fit, fastest first: {len(able)} of {len(found.feasible)}"
        parts += section(title, _strategies(able, found))
        parts += _first(able[0])
    else:
        parts += section("Strategies that fit", Text("none: " + _advice(found)))
    unable = found.infeasible if details else found.infeasible[:SHOWN_NOT]
    if unable:
        title = f"Strategies that do not: {len(unable)} of {len(found.infeasible)}"
        parts += section(title, _reasons(unable))
    parts += section("Notes", *(Text(f"- {note}") for note in (LEGEND, *found.notes)))
    return Group(*parts)


def _head(found: Plan) -> Group:
    amount = "" if found.amount is None else f", {count_words(found.amount)} {found.workload.unit}"
    first = f"{count_words(found.workload.parameters)} parameters{amount} on {found.cluster.told()}"
    return Group(Text(first, style="bold"), Text(found.workload.told))


def _strategies(able: Sequence[Strategy], found: Plan) -> Table:
    unit = found.workload.unit
    head = ["strategy", "micro", "again", "memory", f"{unit}/s", "used", "time", "cost"]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for strategy in able:
        assert strategy.memory is not None
        table.add_row(
            f"{_named(strategy)}{' *' * bool(strategy.distribute)}",
            str(strategy.method.micro_batch),
            AGAIN[strategy.method.checkpointing],
            size(strategy.memory.total),
            count_words(strategy.units_a_second),
            f"{strategy.utilisation:.0%}",
            "-" if strategy.hours is None else _time(strategy.hours),
            "-" if strategy.dollars is None else f"${strategy.dollars:,.0f}",
        )
    return table


def _named(strategy: Strategy) -> str:
    return f"{strategy.mesh.told()}, {SHARDED[strategy.method.sharding]}"


def _time(hours: float) -> str:
    if hours < 1:
        return duration(hours * 3600)
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:,.0f} days"


def _first(strategy: Strategy) -> list[RenderableType]:
    """Where the first strategy's memory and time go."""
    assert strategy.memory is not None
    assert strategy.times is not None
    memory = {PARTS[n]: size(b) for n, b in vars(strategy.memory).items() if b > 0}
    times = {TIMES[n]: _share(s, strategy.times.step) for n, s in vars(strategy.times).items() if s}
    step = f"Its step: {strategy.times.step:.3g} s for {strategy.method.batch} examples"
    return [
        *section("Memory of a device in the first", _pairs(memory)),
        *section(step, _pairs(times)),
    ]


def _share(seconds: float, whole: float) -> str:
    return f"{seconds / whole:.1%}"


def _pairs(lines: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for line in lines.items():
        table.add_row(*line)
    return table


def _reasons(unable: Sequence[Strategy]) -> Table:
    return _wide(
        [(_named(s), s.reason) for s in unable],
    )


def _wide(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _advice(found: Plan) -> str:
    if any(s.memory is not None for s in found.infeasible):
        return "more devices, devices with more memory, or a smaller model would"
    return "another batch or number of devices would divide better"
