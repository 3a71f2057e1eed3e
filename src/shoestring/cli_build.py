"""cli_build: the verb that builds the best bundle within a budget and limits."""

from __future__ import annotations

import importlib
import sys
import time

import click

import shoestring
from shoestring.cli_options import DataCommand, as_json, given, print_json, refuse_changes
from shoestring.cli_receipts import show_receipts
from shoestring.core.decisions import BuildPlan
from shoestring.core.errors import LimitsMissed, UserError


@click.command(cls=DataCommand)
@click.argument("source", required=False)
@click.option("--task", metavar="NAME", help="The kind of problem; told from the data.")
@click.option(
    "--budget", metavar="TIME", help="Wall clock of the whole command: 60s, 5m, 1h30m.  [required]"
)
@click.option("--max-size", metavar="BYTES", help="Of all files that predict: 200KB, 5MB.")
@click.option("--max-latency", metavar="TIME",
              help="Of one input on one thread, the median: 2ms, 500us.")  # fmt: skip
@click.option("--min-quality", metavar="NUMBER",
              help="Of the task's metric on validation: 0.9, 90%, 35.")  # fmt: skip
@click.option("--min-accuracy", metavar="NUMBER", help="The same, where the metric is accuracy.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and train nothing.")
@click.option("--with", "techniques", multiple=True, metavar="NAME:OPTION=VALUE,...",
              help="Add a technique (see: shoestring techniques); may be repeated.")  # fmt: skip
@click.option("--without", multiple=True, metavar="NAME", help="Leave a technique out.")
@click.option(
    "--network", metavar="KIND:OPTION=VALUE,...", help="This network instead of a chosen one."
)
@click.option("--seed", type=int, help="Seed of every random draw.  [default: 0]")
@click.option("--threads", type=int, help="Processor threads of the fits.")
@click.option("--out", metavar="FOLDER",
              help="A run with the bundle in it.  [default: runs/NAME-build-N]")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an unfinished build: --out.")
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but the folder.")
@as_json
@click.pass_context
def build(
    context: click.Context,
    source: str | None,
    task: str | None,
    budget: str | None,
    max_size: str | None,
    max_latency: str | None,
    min_quality: str | None,
    min_accuracy: str | None,
    dry_run: bool,
    techniques: tuple[str, ...],
    without: tuple[str, ...],
    network: str | None,
    seed: int | None,
    threads: int | None,
    out: str | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build the best bundle that a budget and limits allow.

    SOURCE is a folder, a file, or a name of `shoestring data list`. A short fit comes first, so
    that there is always a bundle; what else is done, and why, is planned from what is measured
    here, and stands on the receipt. Where a limit cannot be kept to, the nearest bundle is left,
    and the exit code is 7. What --out names takes predict, verify, evaluate, receipt and export.
    """
    from shoestring import plugins
    from shoestring.core.budget import Budget, parse_seconds, process_age
    from shoestring.report import progress

    if resume:
        refuse_changes(context)
    seconds = None if budget is None else parse_seconds(budget)
    clock = Budget(seconds, started=time.monotonic() - process_age())
    chosen = [plugins.technique(spelled) for spelled in techniques]
    options = given(
        context, lambda: plugins.task_for(source, task).name if source else None, source or ""
    )
    least = _least(source, task, min_quality, min_accuracy)
    if not quiet and not as_json:  # what shows the receipt is imported on the budget's clock
        importlib.import_module("shoestring.report.text")
    stream = sys.stderr if as_json else sys.stdout
    missed: LimitsMissed | None = None
    with progress.watch(stream, quiet=quiet) as listener:
        try:
            found = shoestring.build(
                source,
                task=task,
                budget=clock,
                max_size=max_size,
                max_latency=max_latency,
                min_quality=least,
                out=out,
                options=options,
                seed=seed,
                techniques=chosen,
                without=without,
                network=network,
                threads=threads,
                dry_run=dry_run,
                resume=resume,
                listener=listener,
            )
            if isinstance(found, BuildPlan):
                _show_plan(found, as_json)
                return
            path = found.path
        except LimitsMissed as error:
            missed, path = error, error.folder
    if quiet and not as_json:
        click.echo(str(path))
    else:
        show_receipts([path], as_json, details=False, single=True)
    if missed is not None:
        raise missed


def _least(
    source: str | None, task: str | None, quality: str | None, accuracy: str | None
) -> str | None:
    """The least quality, by whichever of its names. UserError for both, and for an accuracy of a
    task that is measured otherwise."""
    if accuracy is None or not source:  # which is said to be missing soon enough
        return accuracy or quality
    if quality is not None:
        raise UserError("--min-quality and --min-accuracy say the same; give one of them")
    from shoestring import plugins

    metric = plugins.task_for(source, task).metric
    if metric != "accuracy":
        raise UserError(f"{source} is measured by {metric}, not by accuracy; give --min-quality")
    return accuracy


def _show_plan(plan: BuildPlan, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    from shoestring.report import decisions, text

    text.show(decisions.plan(plan), sys.stdout)
