"""cli_plan: the verbs of machines that are not here: what they would take, and renting one."""

from __future__ import annotations

import shlex
import sys

import click

import shoestring
from shoestring import plugins
from shoestring.cli_options import TaskCommand, as_json, given, print_json
from shoestring.cluster.devices import PRECISIONS
from shoestring.cluster.efficiency import FUSIONS
from shoestring.cluster.mesh import CHECKPOINTINGS, OPTIMIZERS, SHARDINGS
from shoestring.core.budget import parse_seconds
from shoestring.core.errors import UserError


class PlanCommand(TaskCommand):
    """Takes what a person may say of a model that is planned."""

    takes = "plan_options"


@click.command(cls=PlanCommand)
@click.argument("source", required=False)
@click.option("--cluster", required=True, metavar="WORDS",
              help="[NODESx]DEVICESxNAME, such as 2x8xH100, or a file.toml.")  # fmt: skip
@click.option("--task", metavar="NAME", help="The kind of problem; of a run it is known.")
@click.option("--parameters", metavar="COUNT", help="Of the model: 25M, 1.3B.")
@click.option("--macs", metavar="COUNT", help="Multiply-accumulates of one example, if known.")
@click.option("--tokens", metavar="COUNT", help="To train on: 20B. Hours and cost are for these.")
@click.option("--examples", metavar="COUNT", help="The same, counted in examples.")
@click.option("--batch", type=int, default=512, show_default=True,
              help="Examples of a step, of all devices together.")  # fmt: skip
@click.option("--micro-batch", type=int, metavar="N",
              help="Examples at once on a device.  [default: the best]")  # fmt: skip
@click.option("--mesh", metavar="WORDS",
              help="Only this: data2xtensor4xpipeline2.  [default: every one]")  # fmt: skip
@click.option("--sharding", type=click.Choice(SHARDINGS), help="Only this.  [default: each]")
@click.option("--checkpointing", type=click.Choice(CHECKPOINTINGS),
              help="Of activations: what is computed again.  [default: the best]")  # fmt: skip
@click.option("--precision", type=click.Choice(PRECISIONS),
              help="Of products.  [default: bfloat16 where the device has it]")  # fmt: skip
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adamw",
              show_default=True, help="Whose states are kept.")  # fmt: skip
@click.option("--fusion", type=click.Choice(FUSIONS), default="blocks", show_default=True,
              help="What is compiled; all: the loss as well.")  # fmt: skip
@click.option("--interleave", type=click.IntRange(min=1), default=1, show_default=True,
              help="Parts of the model that each pipeline stage holds.")  # fmt: skip
@click.option("--details", is_flag=True, help="Every strategy, not the first ones alone.")
@as_json
@click.pass_context
def plan(
    context: click.Context,
    source: str | None,
    cluster: str,
    task: str | None,
    parameters: str | None,
    macs: str | None,
    tokens: str | None,
    examples: str | None,
    batch: int,
    micro_batch: int | None,
    mesh: str | None,
    sharding: str | None,
    checkpointing: str | None,
    precision: str | None,
    optimizer: str,
    fusion: str,
    interleave: int,
    details: bool,
    as_json: bool,
) -> None:
    """Predict what training takes on machines that are not here.

    Of a run (SOURCE), or of a model of a task: will it fit, how fast, which strategy, at what
    cost. An estimate from sizes and data sheets; nothing is run.

    \b
    shoestring plan --task translation --parameters 1.3B --tokens 20B --cluster 2x8xH100
    shoestring plan runs/a --examples 10M --cluster 4xT4
    """
    options = given(context, lambda: _task_of(source, task), source or "this plan")
    found = shoestring.plan(
        source,
        cluster=cluster,
        task=task,
        parameters=parameters,
        macs=macs,
        tokens=tokens,
        examples=examples,
        batch=batch,
        micro_batch=micro_batch,
        mesh=mesh,
        sharding=sharding,
        checkpointing=checkpointing,
        precision=precision,
        optimizer=optimizer,
        fusion=fusion,
        interleave=interleave,
        options=options,
    )
    if as_json:
        print_json(found)
        return
    from shoestring.report import planning, text

    text.show(planning.planned(found, details), sys.stdout)


def _task_of(source: str | None, task: str | None) -> str | None:
    from shoestring.engine import store

    return store.read(source).task if source is not None else task


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="VERB ...")
@click.option("--accelerators", default="", metavar="NAME:COUNT", help="Such as H100:1.")
@click.option("--cpus", default="", metavar="COUNT", help="Processors, at least: 4+.")
@click.option("--spot", is_flag=True, help="A cheaper machine that may be taken away.")
@click.option("--infra", default="", metavar="PLACE", help="aws, gcp/us-central1, kubernetes.")
@click.option("--disk", "disk_gb", type=int, metavar="GB", help="Size of the disk.")
@click.option("--bucket", default="", metavar="URL", help="Keep runs there: s3://NAME/FOLDER.")
@click.option("--name", default="", metavar="NAME", help="Of the task.")
@click.option("--install", default="", metavar="WORDS",
              help="What pip installs there, or a wheel.  [default: this version]")  # fmt: skip
@click.option("--file", metavar="FILE", help="What is written.  [default: NAME.sky.yaml]")
@click.option("--dry-run", is_flag=True, help="Write the file, and hand nothing over.")
@as_json
@click.pass_context
def launch(
    context: click.Context,
    words: tuple[str, ...],
    accelerators: str,
    cpus: str,
    spot: bool,
    infra: str,
    disk_gb: int | None,
    bucket: str,
    name: str,
    install: str,
    file: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a VERB with its words on a rented machine.

    Writes a task for SkyPilot, which finds the cheapest machine on any cloud that you have an
    account of, and hands it over. Paths among the words are copied there. No cloud was there to
    try it on: SkyPilot's own loader has read such files, and that is all.

    \b
    shoestring launch train photos --budget 10m --accelerators L4:1 --dry-run
    shoestring launch train photos --accelerators H100:1 --spot --bucket s3://mine/runs
    """
    verb = _verb(context, words)
    found = shoestring.launch(
        words,
        accelerators=accelerators,
        cpus=cpus,
        spot=spot,
        infra=infra,
        disk_gb=disk_gb,
        bucket=bucket,
        name=name,
        install=install,
        file=file,
        resumable=any("--resume" in option.opts for option in verb.get_params(context)),
        dry_run=dry_run,
    )
    if as_json:
        print_json(found)
    else:
        click.echo(found.text if dry_run else f"{found.path} was handed over")
        click.echo(f"# written to {found.path}; to hand it over: {shlex.join(found.command)}")
        for note in found.notes:
            click.echo(f"# - {note}")
    if found.exit_code:
        context.exit(found.exit_code)


def _verb(context: click.Context, words: tuple[str, ...]) -> click.Command:
    """The command that the words call, which takes them; checked here, before anything costs."""
    group = context.find_root().command
    assert isinstance(group, click.Group)
    verb = group.get_command(context, words[0])
    if verb is None:
        raise UserError(f"there is no verb {words[0]!r}; there are: {', '.join(group.commands)}")
    # Under the root, as when it is called: a context of its own would forget what `-h` is.
    told = verb.make_context(words[0], list(words[1:]), parent=context.find_root()).params
    for technique in told.get("techniques") or ():
        plugins.technique(technique)
    if told.get("budget") is not None:
        parse_seconds(told["budget"])
    return verb
