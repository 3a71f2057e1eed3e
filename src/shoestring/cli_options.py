"""cli_options: the tasks' own options as options of the command line."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from shoestring.core.errors import UserError

_GIVEN = "shoestring.task_options"  # where a context keeps those that were said
_WITH_RESUME = {"source", "out", "resume", "budget", "log_every", "quiet", "as_json"}


class TaskCommand(click.Command):
    """A command that takes its task's options beside its own. Which task it is shows only when
    the command runs, so it takes those of every task, and `given` refuses the wrong ones."""

    takes: ClassVar[str]  # the attribute of a task that holds the dataclass

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *(option for option, _ in task_options(self.takes))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [p for p in super().get_params(ctx) if isinstance(p, click.Option)]
        records = [option.get_help_record(ctx) for option in own]
        sections = {"Options": [record for record in records if record is not None]}
        for option, tasks in task_options(self.takes):
            record = option.get_help_record(ctx)
            assert record is not None, option.name
            sections.setdefault(f"Options of {' and '.join(tasks)}", []).append(record)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class DataCommand(TaskCommand):
    """Takes what a person may say of data and training."""

    takes = "options"


class AnsweringCommand(TaskCommand):
    """Takes what a person may say of answers."""

    takes = "answer_options"


@cache
def task_options(takes: str) -> tuple[tuple[click.Option, tuple[str, ...]], ...]:
    """Each option with the names of the tasks that have it."""
    from shoestring import plugins

    options: dict[str, click.Option] = {}
    tasks: dict[str, tuple[str, ...]] = {}
    for name in plugins.task_names():
        for option in _options(getattr(plugins.task(name), takes)):
            assert option.name is not None
            options.setdefault(option.name, option)
            tasks[option.name] = (*tasks.get(option.name, ()), name)
    return tuple((option, tasks[name]) for name, option in options.items())


def given(context: click.Context, task: Callable[[], str | None], what: str) -> dict[str, Any]:
    """The task options that were said, by field name. `task` is asked for the name of the task of
    `what` only where there are any; None: not known yet. UserError for another task's option."""
    said: dict[str, Any] = context.meta.get(_GIVEN, {})
    name = task() if said else None
    command = context.command
    assert isinstance(command, TaskCommand)
    for option, tasks in task_options(command.takes):
        field = str(option.name)
        if name is not None and field in said and name not in tasks:
            raise UserError(f"{option.opts[0]} belongs to {' and '.join(tasks)}; {what} is {name}")
    return said


def refuse_changes(context: click.Context) -> None:
    """A resumed run goes on as it began: anything else that is said would be lost."""
    for parameter in context.command.get_params(context):
        said = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if said and parameter.name not in _WITH_RESUME:
            raise UserError(
                f"{parameter.opts[0]} cannot be changed by --resume: a run goes on as it began; "
                "start a new one for another recipe"
            )


def _options(kind: type[Any]) -> list[click.Option]:
    from shoestring.report.cards import options

    hints = typing.get_type_hints(kind)
    return [_option(o.name, hints[o.name], o.default, o.help) for o in options(kind)]


def _option(field: str, hint: Any, default: str, text: str) -> click.Option:
    inner = _unwrapped(hint)
    words = "--" + field.replace("_", "-")
    said, _, otherwise = text.partition("None:")  # how a field's comment tells its default
    said = said.rstrip(" ;,")
    told = said[:1].upper() + said[1:] + "." * bool(said)
    default = otherwise.strip() or default.removeprefix("none")
    if default:
        told += f"  [default: {default}]"
    kind = _click_type(inner)
    return click.Option(
        [f"{words}/--no-{words[2:]}" if inner is bool else words, field],
        type=kind,
        is_flag=inner is bool,
        default=None,  # the dataclass knows its own; only what was said is handed on
        help=told.strip(),
        metavar=None if isinstance(kind, click.Choice) or inner is bool else _metavar(inner),
        expose_value=False,
        callback=_remember,
    )


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(_GIVEN, {})[option.name] = value


def _unwrapped(hint: Any) -> Any:
    """`X` of `X | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(h for h in typing.get_args(hint) if h is not types.NoneType)
    return hint


def _click_type(hint: Any) -> click.ParamType[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return click.Choice([str(choice) for choice in typing.get_args(hint)])
    kinds: dict[Any, click.ParamType[Any]] = {
        int: click.INT,
        float: click.FLOAT,
        bool: click.BOOL,
    }
    return kinds.get(hint, click.STRING)


def _metavar(hint: Any) -> str:
    return {int: "N", float: "NUMBER"}.get(hint, "TEXT")
