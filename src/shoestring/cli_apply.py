"""cli_apply: the verb that applies a technique to finished runs."""

from __future__ import annotations

import sys
import time

import click

import shoestring
from shoestring.cli_cluster import joined, on_cluster
from shoestring.cli_options import as_json
from shoestring.cli_receipts import show_receipts


@click.command()
@click.argument("technique", metavar="NAME:OPTION=VALUE,...")
@click.argument("runs", nargs=-1, required=True)
@click.option("--budget", metavar="TIME", help="Wall clock of the whole command: 60s, 5m, 1h30m.")
@on_cluster
@click.option("--out", metavar="FOLDER", help="Where the run goes.  [default: runs/NAME-N]")
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but the run's folder.")
@as_json
@click.pass_context
def apply(
    context: click.Context,
    technique: str,
    runs: tuple[str, ...],
    budget: str | None,
    out: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a smaller, faster or better run of finished RUNS.

    The technique (see: shoestring techniques) works on the first; a technique that joins runs
    takes them all. What comes of it is a run of its own, with a bundle, and the receipt of the
    whole lineage; its parents stay as they are.
    """
    from shoestring import plugins
    from shoestring.core.budget import Budget, parse_seconds, process_age
    from shoestring.report import progress

    seconds = None if budget is None else parse_seconds(budget)
    clock = Budget(seconds, started=time.monotonic() - process_age())
    chosen = plugins.technique(technique)
    joined(context, [chosen])
    stream = sys.stderr if as_json else sys.stdout
    with progress.watch(stream, quiet=quiet) as listener:
        run = shoestring.apply(chosen, *runs, budget=clock, out=out, listener=listener)
    if quiet and not as_json:
        click.echo(str(run.path))
    else:
        show_receipts([run.path], as_json, details=False, single=True)
