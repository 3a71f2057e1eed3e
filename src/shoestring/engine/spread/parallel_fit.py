"""parallel_fit: a fit by several processes, from what a person asked to what the receipt says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shoestring import plugins
from shoestring.core.budget import Budget, Cost, Meter
from shoestring.core.errors import UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Listener
from shoestring.core.machine import cores
from shoestring.core.plain import from_plain
from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe, Run
from shoestring.core.techniques import Hook, Interrupting
from shoestring.data.names import counted
from shoestring.engine import store, tensorfile
from shoestring.engine.apply import noted
from shoestring.engine.spread import launched
from shoestring.engine.spread.parallel_crew import Crew
from shoestring.engine.spread.parallel_job import FITTED, Fitted, Job

if TYPE_CHECKING:
    import torch

LINE = "workers"  # of the receipt


def fitted(
    job: Job, dataset: Dataset, meter: Meter, listener: Listener, interrupt: Interrupting
) -> tuple[Run, Mapping[str, torch.Tensor]]:
    """The fit by processes that are started here and end here, or that were started with this
    one."""
    if job.layout.workers == 1 and not launched.count():
        return _alone(job, dataset, meter, listener, interrupt)
    began = time.time()
    if launched.count():
        found, weights = launched.led(job, dataset, listener, interrupt)
        meter.cost += found.cost
        return remarked(found.run, job.layout, found, max(0.0, found.began - began)), weights
    crew = Crew(job, listener, lambda: interrupt.asked)
    try:
        weights, plain = tensorfile.load(crew.work() / FITTED)
    finally:
        store.remove(crew.folder)
    found = from_plain(Fitted, plain, FITTED)
    run = replace(found.run, path=job.run.path)
    meter.cost += found.cost
    return remarked(run, job.layout, found, max(0.0, found.began - began)), weights


def _alone(
    job: Job, dataset: Dataset, meter: Meter, listener: Listener, interrupt: Interrupting
) -> tuple[Run, Mapping[str, torch.Tensor]]:
    """By this process, as a fit that was begun by several may go on."""
    from shoestring.engine import fit, placement

    place, clock = placement.Local(job.run.recipe.device), job.budget()
    return fit.fit(job.run, dataset, clock, place, meter, listener, interrupt, job.log_every)


def remarked(run: Run, layout: Layout, found: Fitted, start_seconds: float) -> Run:
    """The run with its line on the processes: how many, how they shared the work, what their start
    took, and what went between them."""
    words = [f"{layout.workers} processes, {layout.words}"]
    options: dict[str, object] = {
        "mesh": layout.words,
        "global_batch": run.recipe.batch_size,
        "accumulate": run.recipe.accumulate or 1,
        "start_seconds": round(start_seconds, 3),
        "sent_bytes": found.sent_bytes,
        "ideal_bytes": found.ideal_bytes or None,
    }
    if found.sent_bytes is not None:
        words.append(f"{found.sent_bytes / 1e6:.1f} MB went between them")
        if found.ideal_bytes:
            times = found.sent_bytes / found.ideal_bytes
            options["times_ideal"] = round(times, 4)
            words.append(f"{times:.2f} times what a ring all-reduce of the gradients sends")
    words.append(f"they were ready after {start_seconds:.1f} s")
    reason = f"{words[0]}: {', '.join(words[1:])}"
    return noted(run, LINE, cost=Cost(wall_seconds=start_seconds), reason=reason, options=options)


def threaded(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe with the threads of each process written out: the cores, shared out."""
    beside = launched.beside() or layout.workers
    threads = recipe.threads or max(1, cores() // beside)
    return replace(recipe, threads=threads)


def enough(recipe: Recipe, layout: Layout, oversubscribe: bool) -> None:
    """Raises UserError for more processes than there is room for, with what is free."""
    if oversubscribe or launched.count():
        return
    free, what = cores(), "processor core"
    if recipe.device.startswith("cuda"):
        import torch

        free, what = torch.cuda.device_count(), "device"
    if layout.workers > free:
        fewer = f"workers={free} or fewer" if free > 1 else "workers=1"
        raise UserError(
            f"{layout.workers} processes were asked for ({layout.words}), and this machine has "
            f"{counted(free, what)} free; take {fewer}, or say oversubscribe=yes to have them "
            "share, which is slower than fewer"
        )


def possible(run: Run, layout: Layout) -> None:
    """Raises UserError where the network or a technique of the run cannot be divided so. No process
    has been started yet."""
    if layout.uncut:
        return
    for words in run.recipe.hooks:
        technique = plugins.technique(words)
        if isinstance(technique, Hook) and technique.whole_weights:
            raise UserError(
                f"{words} freezes weights in the middle of the fit, and {layout.words} cuts them; "
                "leave it out, or take strategy=data"
            )
    kind = str((run.architecture or run.recipe.network)["kind"])
    network = plugins.task(run.task).network(kind)
    architecture = run.architecture or network.architecture(run.recipe.network, run.facts)
    model = network.build(architecture)
    if layout.pipeline > 1:
        network.stages(model, architecture, layout.pipeline)
    elif layout.tensor > 1 and not network.matrices(model, layout.tensor):
        raise UserError(
            f"network {kind} has no matrix that could be cut {layout.tensor} ways; take "
            "strategy=data or fsdp"
        )


def scaled(recipe: Recipe, layout: Layout, batch: str, rate: str) -> Recipe:
    """The recipe with the batch of all processes together, and the rate that goes with it: the
    same, in proportion (Goyal et al. 2017, "Accurate, large minibatch SGD": for gradient descent),
    or with the root (Malladi et al. 2022: for Adam and its kin). Raises UserError for a batch that
    cannot be shared."""
    size, parts = recipe.batch_size or 1, layout.parts
    if batch == "each":
        size *= parts
        power = {"same": 0.0, "linear": 1.0, "root": 0.5}[rate]
        faster = None if recipe.learning_rate is None else recipe.learning_rate * parts**power
        recipe = replace(recipe, batch_size=size, learning_rate=faster)
    if size < parts:
        raise UserError(
            f"a batch of {size} cannot be divided among {parts} processes; take a --batch-size "
            f"from {parts}, or fewer workers"
        )
    return recipe


def budgeted(run: Run, layout: Layout, budget: Budget, log_every: int | None) -> Job:
    """The job, by the clock that has run until now."""
    return Job(run, layout, budget.seconds, budget.elapsed(), log_every=log_every)
