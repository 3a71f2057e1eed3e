"""cli_evaluate: the verb that measures a bundle on labelled data."""

from __future__ import annotations

import sys

import click

import shoestring
from shoestring.cli_options import DataCommand, as_json, given, print_json, quietly


@click.command(cls=DataCommand)
@click.argument("bundle")
@click.argument("source")
@click.option("--shift", is_flag=True, help="Also on corrupted inputs: noise, typos and the like.")
@click.option("--plot", metavar="FILE", help="Where a picture of the shift goes (.svg).")
@click.option("--details", is_flag=True, help="Also the longer tables.")
@quietly
@as_json
@click.pass_context
def evaluate(
    context: click.Context,
    bundle: str,
    source: str,
    shift: bool,
    plot: str | None,
    details: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure a BUNDLE or a run on SOURCE.

    SOURCE is a folder, a file, or a name such as mnist:test. Each opening of a test split is
    written down beside the bundle.
    """
    from shoestring.report import plot as plots
    from shoestring.report import progress, tables, text
    from shoestring.report import shift as shifts
    from shoestring.report.sheet import was_trained_on

    if plot is not None:
        plots.check(plot)
    options = given(context, lambda: shoestring.receipt(bundle).task, bundle)
    with progress.watch(sys.stderr, quiet=quiet) as listener:
        scores = shoestring.evaluate(
            bundle, source, options, shift=shift or plot is not None, progress=listener.stage
        )
    if as_json:
        print_json(scores)
    else:
        text.show(tables.scores(scores, details), sys.stdout)
        if was_trained_on(bundle, source, scores.split):
            click.echo("  - examples that it was trained on are among these: it knows them already")
    if plot is not None:
        plots.write(shifts.plot(scores), plot)
