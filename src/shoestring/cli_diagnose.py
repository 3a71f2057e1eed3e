"""cli_diagnose: the verb that says what is wrong with data or a run."""

from __future__ import annotations

import sys
import time

import click

import shoestring
from shoestring.cli_options import DataCommand, as_json, given, print_json, quietly


@click.command(cls=DataCommand)
@click.argument("source")
@click.option("--task", metavar="NAME", help="The kind of problem; told from the data.")
@click.option("--budget", metavar="TIME",
              help="Wall clock of the whole command.  [default: 2m for data]")  # fmt: skip
@click.option("--labels/--no-labels", default=True, help="Judge labels, out of fold.")
@click.option("--more-data/--no-more-data", default=None,
              help="Train on growing shares.  [default: for data]")  # fmt: skip
@click.option("--with", "techniques", multiple=True, metavar="NAME:OPTION=VALUE,...",
              help="Add a technique to the fits; may be repeated.")  # fmt: skip
@click.option("--without", multiple=True, metavar="NAME", help="Leave a default technique out.")
@click.option("--network", metavar="KIND:OPTION=VALUE,...", help="The network of the fits.")
@click.option("--seed", type=int, help="Seed of every random draw.  [default: 0]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")
@click.option("--threads", type=int, help="Processor threads of the fits.")
@click.option("--plot", metavar="FILE", help="Where a picture of more data goes (.svg).")
@click.option("--details", is_flag=True, help="Also the longer tables.")
@quietly
@as_json
@click.pass_context
def diagnose(
    context: click.Context,
    source: str,
    task: str | None,
    budget: str | None,
    labels: bool,
    more_data: bool | None,
    techniques: tuple[str, ...],
    without: tuple[str, ...],
    network: str | None,
    seed: int | None,
    device: str | None,
    threads: int | None,
    plot: str | None,
    details: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say what is wrong with data or a run, and what to try.

    SOURCE is a run, or data as `train` takes them. Of data: broken, duplicate, leaking and unequal
    examples, labels that are likely wrong, and what twice as many examples would buy. Of a run:
    whether it over- or underfits. The fits that this needs are made within the budget and thrown
    away; nothing is written.
    """
    from shoestring import plugins
    from shoestring.core.budget import Budget, parse_seconds, process_age
    from shoestring.report import diagnosis, progress, text
    from shoestring.report import plot as plots

    if plot is not None:
        plots.check(plot)
    started = time.monotonic() - process_age()
    clock = None if budget is None else Budget(parse_seconds(budget), started=started)
    options = given(context, lambda: plugins.task_for(source, task).name, source)
    with progress.watch(sys.stderr, quiet=quiet) as listener:
        found = shoestring.diagnose(
            source,
            task=task,
            budget=clock,
            labels=labels,
            more_data=more_data,
            techniques=techniques,
            without=without,
            network=network,
            seed=seed,
            device=device,
            threads=threads,
            options=options,
            listener=listener,
        )
    if as_json:
        print_json(found)
    else:
        text.show(diagnosis.page(found, details), sys.stdout)
    if plot is not None:
        plots.write(diagnosis.plot(found), plot)
