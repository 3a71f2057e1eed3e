"""cli_options: the tasks' own options as options of the command line."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.core import ParameterSource

from shoestring.core.errors import UserError
from shoestring.core.run import name_of
from shoestring.report import document

if TYPE_CHECKING:
    from shoestring.report.cards import Option

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quietly = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")

_GIVEN = "shoestring.task_options"  # where a context keeps those that were said
_PREFIX = "task_"  # of the parameters that hold them
_WITH_RESUME = {"source", "out", "resume", "budget", "log_every", "details", "quiet", "as_json"}
_WITH_RESUME |= {"cluster", "cluster_cpus", "cluster_wait"}


@dataclass(frozen=True)
class _Kind:
    """What a task's options class says of a field."""

    hint: Any  # its type
    told: str  # in the help


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
        for record, tasks in _records(ctx, self.takes):
            sections.setdefault(f"Options of {' and '.join(tasks)}", []).append(record)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class TaskOption(click.Option):
    """A field of one task's options, or of several that have one of that name. Its parameter has
    a name of its own, for the field may be called as something of the command is."""

    def __init__(self, field: str, kinds: Mapping[str, _Kind]) -> None:
        self.field, self.kinds = field, kinds  # by the name of the task
        first, *others = kinds.values()
        words = "--" + field.replace("_", "-")
        alike = all(kind.hint == first.hint for kind in others)
        assert alike or bool not in {_unwrapped(kind.hint) for kind in kinds.values()}, field
        hint = _unwrapped(first.hint) if alike else str  # the task's options convert it
        kind = _click_type(hint)
        # A switch that is off needs no word that turns it off.
        both = hint is bool and not first.told.endswith("[default: false]")
        super().__init__(
            [f"{words}/--no-{words[2:]}" if both else words, f"{_PREFIX}{field}"],
            type=kind,
            is_flag=hint is bool,
            default=None,  # the dataclass knows its own; only what was said is handed on
            help=_off(first.told),
            metavar=None if isinstance(kind, click.Choice) or hint is bool else _metavar(hint),
            expose_value=False,
            callback=_remember,
        )

    def record(self, ctx: click.Context, task: str) -> tuple[str, str]:
        """What the help says of it for a task: several need not mean the same by it."""
        record = self.get_help_record(ctx)
        assert record is not None, self.field
        return record[0], _off(self.kinds[task].told)


class DataCommand(TaskCommand):
    """Takes what a person may say of data and training."""

    takes = "options"


class AnsweringCommand(TaskCommand):
    """Takes what a person may say of answers."""

    takes = "answer_options"


def _records(ctx: click.Context, takes: str) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """What the help says of each option and of which tasks, in the order of each task's own."""
    from shoestring import plugins

    said: dict[tuple[str, str], tuple[str, ...]] = {}
    for task in plugins.task_names():
        options = {option.field: option for option, names in task_options(takes) if task in names}
        for field in _kinds(getattr(plugins.task(task), takes)):
            record = options[field].record(ctx, task)
            said[record] = (*said.get(record, ()), task)
    yield from said.items()


@cache
def task_options(takes: str) -> tuple[tuple[TaskOption, tuple[str, ...]], ...]:
    """Each option with the names of the tasks that have it."""
    from shoestring import plugins

    kinds: dict[str, dict[str, _Kind]] = {}
    for name in plugins.task_names():
        for field, kind in _kinds(getattr(plugins.task(name), takes)).items():
            kinds.setdefault(field, {})[name] = kind
    return tuple((TaskOption(field, found), tuple(found)) for field, found in kinds.items())


def given(context: click.Context, task: Callable[[], str | None], what: str) -> dict[str, Any]:
    """The task options that were said, by field name. `task` is asked for the name of the task of
    `what` only where there are any; None: not known yet. UserError for another task's option."""
    said: dict[str, Any] = context.meta.get(_GIVEN, {})
    name = task() if said else None
    command = context.command
    assert isinstance(command, TaskCommand)
    for option, tasks in task_options(command.takes):
        if name is not None and option.field in said and name not in tasks:
            raise UserError(f"{option.opts[0]} belongs to {' and '.join(tasks)}; {what} is {name}")
    return said


def refuse_changes(context: click.Context) -> None:
    """A resumed run goes on as it began: anything else that is said would be lost."""
    for parameter in context.command.get_params(context):
        said = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if parameter.name == "techniques":
            said = not all(map(_places, context.params[parameter.name]))
        if said and parameter.name not in _WITH_RESUME:
            raise UserError(
                f"{parameter.opts[0]} cannot be changed by --resume: a run goes on as it began; "
                "start a new one for another recipe"
            )


def _places(words: str) -> bool:
    """Whether a technique sees to the processes of a fit, which may be others each time."""
    from shoestring import plugins
    from shoestring.core.techniques import Placer

    return issubclass(plugins.technique_class(name_of(words)), Placer)


def _kinds(options: type[Any]) -> dict[str, _Kind]:
    from shoestring.report import cards

    hints = typing.get_type_hints(options)
    return {o.name: _Kind(hints[o.name], _told(o)) for o in cards.options(options)}


def _off(told: str) -> str:
    return told.removesuffix("[default: false]").rstrip()


def _told(option: Option) -> str:
    """`Side in pixels.  [default: decided from the data]` of a field's comment."""
    said, _, otherwise = option.help.partition("None:")  # how a comment tells its default
    said = said.rstrip(" ;,")
    told = said[:1].upper() + said[1:] + "." * bool(said)
    default = otherwise.strip() or option.default.removeprefix("none")
    return (told + f"  [default: {default}]" * bool(default)).strip()


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        assert isinstance(option, TaskOption)
        context.meta.setdefault(_GIVEN, {})[option.field] = value


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


def print_json(value: object) -> None:
    click.echo(json_words(value))


def json_words(value: object) -> str:
    """One JSON document, in letters that standard output has."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return document.json_text(value, ascii_only=not unicode)
