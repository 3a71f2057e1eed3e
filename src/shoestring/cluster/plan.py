"""plan: will it fit, how long does it take, which strategy, what does it cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shoestring import plugins
from shoestring.cluster import mesh as meshes
from shoestring.cluster.description import Cluster
from shoestring.cluster.description import cluster as described
from shoestring.cluster.devices import USUAL
from shoestring.cluster.efficiency import efficiency
from shoestring.cluster.mesh import Mesh, Method, checked
from shoestring.cluster.strategies import Asked, Strategy, every
from shoestring.core.errors import UserError
from shoestring.core.quantity import parse_count
from shoestring.core.workload import Size, Workload
from shoestring.engine import store

BATCH = 512
HOUR = 3600.0


@dataclass(frozen=True)
class Plan:
    """Ways of training one model on one cluster. `feasible` stand fastest first, `infeasible`
    nearest to fitting first."""

    task: str
    workload: Workload
    cluster: Cluster
    amount: float | None  # tokens or examples that were asked for, as `workload.unit` says
    feasible: tuple[Strategy, ...]
    infeasible: tuple[Strategy, ...]
    notes: tuple[str, ...]


def plan(
    source: str | os.PathLike[str] | None = None,
    *,
    cluster: str,
    task: str | None = None,
    parameters: str | float | None = None,
    macs: str | float | None = None,
    tokens: str | float | None = None,
    examples: str | float | None = None,
    batch: int = BATCH,
    micro_batch: int | None = None,
    mesh: str | None = None,
    sharding: str | None = None,
    checkpointing: str | None = None,
    precision: str | None = None,
    optimizer: str = "adamw",
    fusion: str = "blocks",
    interleave: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Predicts memory, time, utilisation and cost of training on a cluster, for every strategy.

    The model is a run's (`source`), or one of a `task` with so many `parameters` ("1.3B") and the
    task's own `options` (sequence, image_size); with parameters alone, a transformer. `cluster` is
    "2x8xH100" or a file of TOML. Hours and dollars are for `tokens` or `examples`; dollars need a
    price. `precision` is that of products; None: bfloat16, or what the device has in its place.
    Nothing is run, and neither torch nor a cluster is needed. Raises UserError for what makes no
    sense."""
    place = described(cluster)
    named, size = _size(source, task, parameters, macs)
    taken = plugins.task(named)
    asked = plugins.options_from(taken.plan_options, dict(options or {}), f"a plan of {named}")
    workload = taken.planned(size, asked)
    amount = _amount(workload, tokens, examples)
    precision = precision or place.device.usual
    place.device.rate(precision)  # refuses a precision that the device has no rate for
    method = Method(
        batch=batch,
        precision=precision,
        optimizer=optimizer,
        fusion=fusion,
        interleave=interleave,
        sharding=sharding or "none",
        checkpointing=checkpointing or "none",
        micro_batch=1 if micro_batch is None else micro_batch,
    )
    fixed = Asked(
        checked(method),
        None if mesh is None else _mesh(mesh, workload, place),
        sharding,
        checkpointing,
        micro_batch,
    )
    found = every(workload, place, fixed)
    able = sorted((s for s in found if s.feasible), key=lambda s: -s.units_a_second)
    unable = sorted((s for s in found if not s.feasible), key=_lack)
    return Plan(
        named,
        workload,
        place,
        amount,
        tuple(_priced(s, place, amount) for s in able),
        tuple(unable),
        tuple(_notes(workload, place, amount, precision)),
    )


def _size(
    source: str | os.PathLike[str] | None,
    task: str | None,
    parameters: str | float | None,
    macs: str | float | None,
) -> tuple[str, Size]:
    """The task and what is known of the model, from a run's folder or from words."""
    many = None if parameters is None else parse_count(parameters, "--parameters")
    products = None if macs is None else parse_count(macs, "--macs")
    if source is None:
        task = task or _usual_task(Size(many, products))
        if task is None:
            names = ", ".join(plugins.task_names())
            raise UserError(
                f"say what is planned: a run's folder, or --task ({names}) with a model's size"
            )
        return task, Size(many, products)
    if many is not None or products is not None:
        raise UserError(f"{source} has its own parameters and MACs: leave --parameters and --macs")
    run = store.read(source)
    if task is not None and task != run.task:
        raise UserError(f"{source} is a run of {run.task}, not of {task}")
    if run.architecture is None or run.scores is None or run.scores.parameters is None:
        raise UserError(f"{source} has no counted network: train it to its end first")
    scores = run.scores
    return run.task, Size(scores.parameters, scores.macs, run.architecture)


def _usual_task(size: Size) -> str | None:
    """Where nobody says: the first whose models of that size are as those that published trainings
    calibrate."""
    for name in plugins.task_names():
        taken = plugins.task(name)
        try:
            if taken.planned(size, taken.plan_options()).usual:
                return name
        except UserError:
            continue
    return None


def _amount(
    workload: Workload, tokens: str | float | None, examples: str | float | None
) -> float | None:
    if tokens is not None and examples is not None:
        raise UserError("--tokens and --examples say the same thing twice: leave one of them out")
    if tokens is not None:
        if workload.unit != "tokens":
            raise UserError(f"this model counts in {workload.unit}: say --examples")
        return parse_count(tokens, "--tokens")
    return None if examples is None else parse_count(examples, "--examples") * workload.length


def _mesh(words: str, workload: Workload, cluster: Cluster) -> Mesh:
    found = meshes.parse(words)
    if found.devices != cluster.devices:
        raise UserError(
            f"--mesh {words} is for {found.devices} devices, and {cluster.told()} are "
            f"{cluster.devices}"
        )
    if found.pipeline > workload.blocks:
        raise UserError(
            f"--mesh {words} has {found.pipeline} stages, more than the {workload.blocks} layers "
            "that could be divided among them"
        )
    return found


def _priced(strategy: Strategy, cluster: Cluster, amount: float | None) -> Strategy:
    if amount is None:
        return strategy
    hours = amount / strategy.units_a_second / HOUR
    price = cluster.device.price_an_hour
    dollars = None if price is None else price * cluster.devices * hours
    return replace(strategy, hours=hours, dollars=dollars)


def _lack(strategy: Strategy) -> tuple[bool, float]:
    """What does not fit before what cannot be, the nearest first."""
    memory = strategy.memory
    return memory is None, 0.0 if memory is None else memory.total


def _notes(workload: Workload, cluster: Cluster, amount: float | None, precision: str) -> list[str]:
    device = cluster.device
    notes = ["an estimate: bench/cluster.md has its errors against published trainings"]
    if precision != USUAL[0]:
        notes.append(f"products in {precision}")
    if not workload.usual:
        notes.append("none of these trained such a network: take times as no more than an order")
    if not efficiency(device.family).fitted:
        notes.append(
            f"no published training calibrates {device.title}: shares of its rate are assumed"
        )
    if amount is not None and device.price_an_hour is None:
        notes.append(f"no price of {device.title} is known: say one in a cluster file")
    elif amount is not None:
        since = f" on {device.price_as_of}" if device.price_as_of else ""
        whose = device.price_source.partition(", as ")[0]
        notes.append(
            f"${device.price_an_hour:,.2f} a device and hour{since} ({whose}); "
            "start-up, looks at validation and storage are not in it"
        )
    if cluster.nodes > 1:
        notes.append(
            f"{device.network_bandwidth / 1e9:g} GB/s a device between nodes, and "
            f"{device.link_bandwidth / 1e9:g} within one; a cluster file can say others"
        )
    return notes
