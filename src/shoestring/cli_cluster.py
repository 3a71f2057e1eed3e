"""cli_cluster: the options of verbs that can work on a cluster, and joining it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shoestring.cli_options import print_json
from shoestring.core.errors import DataError, UserError
from shoestring.data.names import counted

if TYPE_CHECKING:
    from shoestring.cluster.session import Asked

_ASKED = "shoestring.cluster"  # where a context keeps what was said of it
Command = TypeVar("Command", bound=Callable[..., object])


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(_ASKED, {})[option.name] = value


def _option(words: str, help_: str, metavar: str, kind: Any = str) -> Callable[[Command], Command]:
    return click.option(
        words, type=kind, metavar=metavar, help=help_, expose_value=False, callback=_remember
    )


def on_cluster(command: Command) -> Command:
    """Gives a verb the options of a cluster; it calls `joined` with its context."""
    for option in reversed(
        (
            _option("--cluster", "auto, local, or HOST:PORT of a Ray cluster.", "ADDRESS"),
            _option(
                "--cluster-cpus", "Cores of a cluster started here.  [default: all]", "N", click.INT
            ),
            _option("--cluster-wait", "How long to wait for busy workers: 30s, 5m.", "TIME"),
        )
    ):
        command = option(command)
    return command


def in_batches(command: Command) -> Command:
    """Gives a verb the options of answers to many inputs; it calls `answered`."""
    for option in reversed(
        (
            _option("--input", "Answer all of a folder, or of a file of lines.", "PATH"),
            _option("--out", "With --input: where files of answers go.", "FOLDER"),
            _option("--shard", "Inputs in a file of answers.  [default: 500]", "N", click.INT),
        )
    ):
        command = option(command)
    return on_cluster(command)


def joined(
    context: click.Context,
    techniques: Iterable[object] | None,
    source: str | None = None,
    workers: int = 1,
) -> None:
    """Joins the cluster that was asked for, if one was, until the command ends: many fits are then
    done there. `techniques` are those of the command, None where each of its fits is work of
    its own. UserError where nothing could be done there."""
    asked = _asked(context)
    if asked is None:
        return
    if techniques is not None and not any(getattr(t, "spreads", False) for t in techniques):
        raise UserError(
            "--cluster: nothing here is work for more than one process; it takes a technique of "
            "many fits (--with tune, ensemble) or of many workers (--with distribute:workers=2)"
        )
    from shoestring.cluster import pool, session
    from shoestring.core import jobs

    stack = context.with_resource(ExitStack())
    cluster = stack.enter_context(session.joined(asked))
    cluster.wait_for(workers)
    paths = [Path(source)] if source and Path(source).exists() else []
    cluster.look_at_nodes(reads=paths)
    stack.enter_context(jobs.at(pool.RayPool(cluster)))


def answered(
    context: click.Context, bundle: str, inputs: tuple[str, ...], options: Mapping[str, Any]
) -> bool:
    """Whether answers were asked for in files, which are then written."""
    said = context.meta.get(_ASKED, {})
    source, out, asked = said.get("input"), said.get("out"), _asked(context)
    if source is None:
        if out is not None or asked is not None or "shard" in said:
            raise UserError(
                "--out, --shard and --cluster are of answers in files; name what is to be answered "
                "with --input FOLDER"
            )
        return False
    if inputs:
        raise UserError(f"name inputs once: --input {source} and {inputs[0]} are both given")
    if out is None:
        raise UserError("say where the answers go: --out FOLDER")
    from shoestring.cluster import batches, session
    from shoestring.report import progress

    as_json = bool(context.params.get("as_json"))
    with ExitStack() as stack:
        listener = stack.enter_context(progress.watch(sys.stderr, quiet=as_json))
        cluster = None
        if asked is not None:
            cluster = stack.enter_context(session.joined(asked))
            cluster.wait_for(1)
        found = batches.answered(
            bundle,
            source,
            out,
            options=options,
            session=cluster,
            shard=said.get("shard", batches.SHARD),
            progress=listener.stage,
        )
    if as_json:
        print_json(found)
    else:
        before = f" ({found.before} were there)" if found.before else ""
        click.echo(
            f"{counted(found.inputs, 'answer')} in {counted(found.shards, 'file')}{before} of "
            f"{found.folder}"
        )
    if found.errors:
        raise DataError(
            f"{found.errors:,} of {counted(found.inputs, 'input')} could not be read; their lines "
            "say why"
        )
    return True


def _asked(context: click.Context) -> Asked | None:
    said = context.meta.get(_ASKED, {})
    if "cluster" not in said:
        for name in ("cluster_cpus", "cluster_wait"):
            if name in said:
                raise UserError(f"--{name.replace('_', '-')} is of a cluster; name it: --cluster")
        return None
    from shoestring.cluster.session import Asked, equipped
    from shoestring.core.budget import parse_seconds

    equipped()
    wait = said.get("cluster_wait")
    seconds = 0.0 if wait is None else parse_seconds(wait)
    return Asked(said["cluster"], said.get("cluster_cpus"), seconds)
