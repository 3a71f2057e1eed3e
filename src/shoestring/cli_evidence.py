"""cli_evidence: the verbs that say what a technique buys, and whether one run beats another."""

from __future__ import annotations

import sys
import time

import click

import shoestring
from shoestring.cli_cluster import joined, on_cluster
from shoestring.cli_options import (
    DataCommand,
    as_json,
    given,
    print_json,
    quietly,
    refuse_changes,
)


@click.command(cls=DataCommand)
@click.argument("source", required=False)
@click.option("--with", "techniques", multiple=True, metavar="NAME:OPTION=VALUE,...",
              help="A technique to train with and without; repeat it.")  # fmt: skip
@click.option("--seeds", type=int, default=3, show_default=True,
              help="Trainings of each recipe; fewer than 3 prove no technique.")  # fmt: skip
@click.option("--factorial", is_flag=True, help="All combinations, of up to 5 techniques.")
@click.option("--folds", type=int, metavar="N",
              help="Hold out N parts of the data in turn; gains are of all of them.")  # fmt: skip
@click.option("--processes", type=int, default=1, show_default=True,
              help="Fits side by side, which share the threads.")  # fmt: skip
@on_cluster
@click.option("--budget", metavar="TIME", help="Wall clock of the whole command: 20m, 2h.")
@click.option("--steps", type=int, help="Optimizer steps of each fit.")
@click.option("--epochs", type=float, help="Passes of each fit over the training split.")
@click.option("--task", metavar="NAME", help="The kind of problem; told from the data.")
@click.option("--without", multiple=True, metavar="NAME", help="Leave a default technique out.")
@click.option("--network", metavar="KIND:OPTION=VALUE,...", help="The network and its sizes.")
@click.option("--seed", type=int, help="The first of the seeds.  [default: 0]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")
@click.option("--threads", type=int, help="Processor threads of each fit.")
@click.option("--recipe", metavar="FILE", help="The base; what is named here wins.")
@click.option("--out", metavar="FOLDER", help="Where it goes.  [default: runs/NAME-ablation-N]")
@click.option("--resume", is_flag=True, help="Go on with an unfinished ablation: SOURCE or --out.")
@click.option("--details", is_flag=True, help="Also every recipe that was trained.")
@quietly
@as_json
@click.pass_context
def ablate(
    context: click.Context,
    source: str | None,
    techniques: tuple[str, ...],
    seeds: int,
    factorial: bool,
    folds: int | None,
    processes: int,
    budget: str | None,
    steps: int | None,
    epochs: float | None,
    task: str | None,
    without: tuple[str, ...],
    network: str | None,
    seed: int | None,
    device: str | None,
    threads: int | None,
    recipe: str | None,
    out: str | None,
    resume: bool,
    details: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train on SOURCE with and without each technique.

    Each recipe is trained with several seeds, each fit for the same part of the budget. The gain
    of each technique has an interval that holds seeds and examples; losers stay in the table.
    """
    from shoestring import plugins
    from shoestring.core.budget import Budget, parse_seconds, process_age
    from shoestring.report import evidence, progress, text

    if resume:
        refuse_changes(context)
    seconds = None if budget is None else parse_seconds(budget)
    clock = Budget(seconds, steps=steps, epochs=epochs, started=time.monotonic() - process_age())
    options = given(
        context, lambda: plugins.task_for(source, task).name if source else None, source or ""
    )
    joined(context, None, source)
    with progress.watch(sys.stderr, quiet=quiet) as listener:
        found = shoestring.ablate(
            source,
            techniques=techniques,
            seeds=seeds,
            factorial=factorial,
            folds=folds,
            processes=processes,
            task=task,
            without=without,
            budget=clock,
            steps=steps,
            epochs=epochs,
            recipe=recipe,
            network=network,
            seed=seed,
            device=device,
            threads=threads,
            options=options,
            out=out,
            resume=resume,
            listener=listener,
        )
    if as_json:
        print_json(found)
    else:
        text.show(evidence.ablation(found, details), sys.stdout)


@click.command(cls=DataCommand)
@click.argument("first")
@click.argument("second")
@click.option("--on", metavar="DATA", help="What both are to answer; bundles need it.")
@quietly
@as_json
@click.pass_context
def compare(
    context: click.Context, first: str, second: str, on: str | None, quiet: bool, as_json: bool
) -> None:
    """Tell whether run SECOND beats run FIRST, and where.

    Both are held against the same examples: those of validation, or DATA (a folder, a file, or a
    name such as mnist:test). Each opening of a test split is written down beside both.
    """
    from shoestring.report import evidence, progress, text

    options = given(context, lambda: shoestring.receipt(first).task, first)
    with progress.watch(sys.stderr, quiet=quiet) as listener:
        found = shoestring.compare(first, second, on=on, options=options, progress=listener.stage)
    if as_json:
        print_json(found)
    else:
        text.show(evidence.comparison(found), sys.stdout)
