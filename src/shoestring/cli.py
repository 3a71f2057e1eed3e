"""cli: words in, one call out. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
import time

import click

import shoestring
from shoestring import cli_cluster
from shoestring.cli_apply import apply
from shoestring.cli_build import build
from shoestring.cli_diagnose import diagnose
from shoestring.cli_evaluate import evaluate
from shoestring.cli_evidence import ablate, compare
from shoestring.cli_options import (
    AnsweringCommand,
    DataCommand,
    as_json,
    given,
    json_words,
    print_json,
    quietly,
    refuse_changes,
)
from shoestring.cli_plan import launch, plan
from shoestring.cli_receipts import show_receipts, write_page
from shoestring.core.errors import DataError
from shoestring.data.names import counted
from shoestring.report import words

PIPE_CLOSED = 141  # what a shell shows for a program that a closed pipe ended
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """The verbs in the order of a day's work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # before click calls it a failure
            ctx.exit(PIPE_CLOSED)


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(shoestring.__version__, message="shoestring %(version)s")
def commands() -> None:
    """From labelled data to a small, verified model, on the budget you have, with a receipt for
    what every technique cost and bought.

    \b
    shoestring build photos/ --budget 10m --max-size 200KB --out bundle
    shoestring predict bundle cat.jpg
    shoestring receipt bundle
    """


# --- the verbs -----------------------------------------------------------------------------------


commands.add_command(build)


@commands.command(cls=DataCommand)
@click.argument("source", required=False)
@click.option("--task", metavar="NAME", help="The kind of problem; told from the data.")
@click.option("--budget", metavar="TIME", help="Wall clock of the whole command: 60s, 5m, 1h30m.")
@click.option("--steps", type=int, help="Optimizer steps.")
@click.option("--epochs", type=float, help="Passes over the training split.")
@click.option("--with", "techniques", multiple=True, metavar="NAME:OPTION=VALUE,...",
              help="Add a technique (see: shoestring techniques); may be repeated.")  # fmt: skip
@click.option("--without", multiple=True, metavar="NAME", help="Leave a default technique out.")
@click.option("--network", metavar="KIND:OPTION=VALUE,...", help="The network and its sizes.")
@click.option("--learning-rate", type=float, help="Peak learning rate.")
@click.option(
    "--batch-size", type=int, help="Labels a step: one an example, or the tokens of a sentence."
)
@click.option("--precision", metavar="NAME", help="float32 or bfloat16.  [default: the faster]")
@click.option("--seed", type=int, help="Seed of every random draw.  [default: 0]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")
@click.option("--threads", type=int, help="Processor threads of the fit.")
@click.option("--recipe", metavar="FILE", help="Repeat a recipe.toml; what is named here wins.")
@click.option("--out", metavar="FOLDER", help="Where the run goes.  [default: runs/NAME-N]")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run: SOURCE or --out.")
@cli_cluster.on_cluster
@click.option("--log-every", type=click.IntRange(min=1), metavar="STEPS",
              help="How often a line is shown.  [default: 100; a bar on a terminal]")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but the run's folder.")
@as_json
@click.pass_context
def train(
    context: click.Context,
    source: str | None,
    task: str | None,
    budget: str | None,
    steps: int | None,
    epochs: float | None,
    techniques: tuple[str, ...],
    without: tuple[str, ...],
    network: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    precision: str | None,
    seed: int | None,
    device: str | None,
    threads: int | None,
    recipe: str | None,
    out: str | None,
    resume: bool,
    log_every: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train on SOURCE and end with a verified bundle.

    SOURCE is a folder, a file, or a name of `shoestring data list`. What comes of it is a run: a
    folder with the bundle, the recipe, the weights and the receipt.
    """
    from shoestring import plugins
    from shoestring.core.budget import Budget, parse_seconds, process_age
    from shoestring.engine.spread import launched
    from shoestring.report import progress

    if resume:
        refuse_changes(context)
    seconds = None if budget is None else parse_seconds(budget)
    clock = Budget(seconds, steps=steps, epochs=epochs, started=time.monotonic() - process_age())
    chosen = [plugins.technique(spelled) for spelled in techniques]
    options = given(
        context, lambda: plugins.task_for(source, task).name if source else None, source or ""
    )
    cli_cluster.joined(context, None if resume or recipe else chosen, source)
    stream = sys.stderr if as_json else sys.stdout
    bar = progress.is_terminal(stream) and not quiet
    every = progress.BAR_EVERY_STEPS if bar else progress.LINE_EVERY_STEPS
    quiet = quiet or launched.follows()
    with progress.watch(stream, quiet=quiet, lines=log_every is not None) as listener:
        run = shoestring.train(
            source,
            task=task,
            techniques=chosen,
            without=without,
            budget=clock,
            steps=steps,
            epochs=epochs,
            recipe=recipe,
            network=network,
            learning_rate=learning_rate,
            batch_size=batch_size,
            precision=precision,
            seed=seed,
            device=device,
            threads=threads,
            options=options,
            out=out,
            resume=resume,
            log_every=log_every or every,
            listener=listener,
        )
    if launched.follows():
        return  # the process that leads says all there is to say
    if quiet and not as_json:
        click.echo(str(run.path))
    else:
        show_receipts([run.path], as_json, details=False, single=True)


commands.add_command(apply)


@commands.command(cls=AnsweringCommand)
@click.argument("bundle")
@click.argument("inputs", nargs=-1)
@cli_cluster.in_batches
@as_json
@click.pass_context
def predict(context: click.Context, bundle: str, inputs: tuple[str, ...], as_json: bool) -> None:
    """Answer INPUTS with a BUNDLE or a run.

    INPUTS are files and folders; where lines of text are answered, standard input is read when
    none is named. One line an input, its columns divided by tabs.
    """
    from shoestring import plugins

    opened = shoestring.load(bundle)
    task = plugins.task(opened.manifest["task"])
    options = given(context, lambda: task.name, bundle)
    if cli_cluster.answered(context, bundle, inputs, options):
        return
    count, failed, first = 0, 0, ""
    try:
        for answer in opened.answers(task.parse_inputs(inputs), options):
            count += 1
            if "error" in answer:
                failed, first = failed + 1, first or str(answer["error"])
            # One by one, so that a million inputs take no more memory than one.
            line = json_words(answer) if as_json else words.harmless(task.render(answer))
            click.echo(("[" if count == 1 else ",") + line if as_json else line)
    finally:  # whatever ended it, what was answered is a whole document
        if as_json:
            click.echo("]" if count else "[]")
    if failed:
        none, some = (
            f"none of {counted(count, 'input')}",
            f"{failed:,} of {counted(count, 'input')}",
        )
        were = f"{none} could be read" if failed == count else f"{some} could not be read"
        stand = "" if failed == count else "; the other answers stand"
        raise DataError(f"{were}{stand}; the first: {first}")


@commands.command()
@click.argument("run")
@click.option("--out", required=True, metavar="FOLDER", help="Where the bundle goes.")
def export(run: str, out: str) -> None:
    """Copy the finished bundle of RUN to a folder of its own."""
    click.echo(f"{shoestring.export(run, out)} holds the bundle of {run}")


@commands.command()
@click.argument("bundle")
@as_json
def verify(bundle: str, as_json: bool) -> None:
    """Check the files of BUNDLE, and that it answers as it did."""
    found = shoestring.verify(bundle)
    if as_json:
        print_json(found)
    else:
        click.echo(words.verified(found))


commands.add_command(evaluate)
commands.add_command(ablate)
commands.add_command(compare)
commands.add_command(diagnose)


@commands.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--details", is_flag=True, help="Also the longer tables; of several, each by itself.")
@click.option("--html", metavar="FILE", help="Write a page with pictures to FILE instead.")
@as_json
def receipt(runs: tuple[str, ...], details: bool, html: str | None, as_json: bool) -> None:
    """Show what RUNS (or bundles) cost, and what that bought.

    Several stand side by side, with those marked that no other one beats in score, size and
    latency at once. A page is one file that opens in any browser, without a network.
    """
    if html is not None:
        write_page(runs, html, as_json)
    if html is None or as_json:
        show_receipts(runs, as_json, details)


commands.add_command(plan)
commands.add_command(launch)


@commands.command()
@click.argument("name", required=False)
@as_json
def techniques(name: str | None, as_json: bool) -> None:
    """List the techniques, or show the card of one.

    The card of NAME says what it does, when it helps, what it costs, and its options.
    """
    from shoestring.report import cards

    found = cards.card(name) if name else cards.technique_list()
    if as_json:
        print_json(found)
        return
    from shoestring.report import tables, text

    lines = [] if isinstance(found, cards.Card) else [(c.name, c.sentence) for c in found]
    page = tables.card(found) if isinstance(found, cards.Card) else tables.rows(lines)
    text.show(page, sys.stdout)


@commands.group(cls=Commands)
def data() -> None:
    """Data sets that can be had by name."""


@data.command("list")
@as_json
def data_list(as_json: bool) -> None:
    """List the data sets with their sizes and licences."""
    found = shoestring.data_list()
    if as_json:
        print_json(found)
    else:
        from shoestring.report import tables, text

        text.show(tables.catalogue(found), sys.stdout)


@data.command("get")
@click.argument("name")
@quietly
def data_get(name: str, quiet: bool) -> None:
    """Fetch a data set, check it, and say where it lies."""
    from shoestring.report import progress

    with progress.watch(sys.stderr, quiet=quiet) as listener:
        path = shoestring.data_get(name, listener.stage)
    click.echo(str(path))
