"""plugins: finds tasks and techniques by their files. The folder is the registry."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, cast

import shoestring.tasks
import shoestring.techniques
from shoestring.core.errors import UserError
from shoestring.core.protocols import Task
from shoestring.core.techniques import Technique


@cache
def task_names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(shoestring.tasks.__path__) if m.ispkg))


@cache
def technique_names() -> tuple[str, ...]:
    return tuple(
        sorted(
            m.name
            for m in pkgutil.iter_modules(shoestring.techniques.__path__)
            if not m.name.startswith("_")
        )
    )


@cache
def task(name: str) -> Task:
    """The task of that name; UserError with the names there are."""
    if name not in task_names():
        raise UserError(f"there is no task {name!r}; there are: {', '.join(task_names())}")
    module = importlib.import_module(f"shoestring.tasks.{name}.task")
    return cast(Task, module.TASK)


def task_for(source: str, named: str | None = None) -> Task:
    """The task that recognizes this source, or the one that was named."""
    if named is not None:
        return task(named)
    matching = [task(name) for name in task_names() if task(name).recognizes(source)]
    if len(matching) == 1:
        return matching[0]
    path = source.partition(":")[0]
    if not matching and os.path.islink(path) and not os.path.exists(path):
        raise UserError(f"{path!r} is a link to {os.readlink(path)!r}, which is not there")
    if not matching and not os.path.lexists(path):
        raise UserError(
            f"there is no file or folder {source!r}, and no data set of that name "
            f"(see: shoestring data list)"
        )
    if not matching and len(task_names()) == 1:
        return task(task_names()[0])  # its own reader says best what is wrong
    found = ", ".join(t.name for t in matching) or "no task"
    raise UserError(
        f"{source!r} looks like data of {found}; say which with --task ({', '.join(task_names())})"
    )


def technique_class(name: str) -> type[Any]:
    if name not in technique_names():
        raise UserError(
            f"there is no technique {name!r}; there are: {', '.join(technique_names())}"
        )
    module = importlib.import_module(f"shoestring.techniques.{name}")
    return cast(type[Any], module.TECHNIQUE)


def technique(words: str) -> Technique:
    """The technique that `name:option=value,option=value` stands for."""
    name, given = named(words, technique_names(), "technique")
    return cast(Technique, options_from(technique_class(name), given, name, escaped=True))


def named(words: str, names: Sequence[str], what: str) -> tuple[str, dict[str, str]]:
    """`name:option=value,option=value` as the name, which is one of `names`, and its options."""
    name, _, rest = words.partition(":")
    if name not in names:
        raise UserError(f"there is no {what} {name!r}; there are: {', '.join(names)}")
    given: dict[str, str] = {}
    for piece in filter(None, rest.split(",")):
        key, equals, value = piece.partition("=")
        if not equals:
            raise UserError(
                f"{name}: {piece!r} is not option=value; a comma inside a value is written %2C"
            )
        given[key.strip()] = value.strip()
    return name, given


def network(words: str, task: Task) -> dict[str, Any]:
    """The network that `compact:width=32,depth=2` stands for, or a preset of the task with further
    options, as plain values. The network itself knows which options fit."""
    name, _, more = words.partition(":")
    if name in task.presets:
        words = ",".join(filter(None, (task.presets[name], more)))
    kind, given = named(words, (*task.networks, *task.presets), "network")
    return {"kind": kind, **{option: _plain(value) for option, value in given.items()}}


def spelled(network: Mapping[str, Any]) -> str:
    """A network's plain values in the words that `network` reads."""
    kind = str(network.get("kind", ""))
    sizes = ",".join(f"{name}={value}" for name, value in network.items() if name != "kind")
    return f"{kind}:{sizes}" if sizes else kind


def _plain(text: str) -> int | float | bool | str:
    """A number or a truth where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def words(technique: Technique) -> str:
    """The command-line form of a technique: its name and the options that are not default."""
    name = type(technique).__module__.rpartition(".")[2]
    changed = [
        f"{f.name}={_written(getattr(technique, f.name))}"
        for f in fields(cast(Any, technique))
        if getattr(technique, f.name) != _default(f)
    ]
    return f"{name}:{','.join(changed)}" if changed else name


def options_from(kind: type[Any], given: dict[str, Any], owner: str, escaped: bool = False) -> Any:
    """An options dataclass from plain values or strings; a wrong name or value is a UserError
    that lists what there is. `escaped`: strings are as `words` writes them."""
    assert is_dataclass(kind)
    known = {f.name: f for f in fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in given:
        if name not in known:
            raise UserError(f"{owner} has no option {name!r}; it has: {', '.join(known) or 'none'}")
    values = {n: _convert(value, hints[n], f"{owner}: {n}") for n, value in given.items()}
    if escaped:
        values = {name: _unescaped(value) for name, value in values.items()}
    missing = [
        n
        for n, f in known.items()
        if n not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise UserError(f"{owner} needs {', '.join(missing)}")
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(f"{owner}: {error}") from error


def option(kind: type[Any], name: str, value: Any, owner: str) -> Any:
    """A single option of an options dataclass, as its type; UserError for what it does not take."""
    return _convert(value, typing.get_type_hints(kind)[name], f"{owner}: {name}")


# Signs that words are divided at, as they stand inside a value: names of folders hold them.
_ESCAPES = {"%": "%25", ",": "%2C", "+": "%2B"}


def _written(value: Any) -> str:
    """An option's value as `_convert` reads it back."""
    if isinstance(value, tuple):
        return "+".join(_escaped(str(one), "%,+") for one in value)
    return _escaped(value, "%,") if isinstance(value, str) else str(value)


def _escaped(text: str, signs: str) -> str:
    return "".join(_ESCAPES[sign] if sign in signs else sign for sign in text)


def _unescaped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_unescaped, value))
    if isinstance(value, str):
        for sign in (",", "+", "%"):
            value = re.sub(_ESCAPES[sign], sign, value, flags=re.IGNORECASE)
    return value


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotated type; strings as a person writes them on a command line."""
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
    if choices is not None:
        if value not in choices:
            raise UserError(f"{where} is one of {', '.join(map(str, choices))}, not {value!r}")
        return value
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [h for h in typing.get_args(hint) if h is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _convert(value, inner[0], where)
    if typing.get_origin(hint) is tuple:
        pieces = list(filter(None, value.split("+"))) if isinstance(value, str) else list(value)
        return tuple(_convert(piece, typing.get_args(hint)[0], where) for piece in pieces)
    if hint is bool:
        table = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in table:
            raise UserError(f"{where} is true or false, not {value!r}")
        return table[str(value).lower()]
    if hint in (int, float):
        return _number(value, hint, where)
    return str(value) if hint is str else value


def _number(value: Any, kind: type[int] | type[float], where: str) -> int | float:
    try:
        number = float("" if isinstance(value, bool) else value)
        if kind is float:
            return number
        if number.is_integer():  # 1e3 is a whole number too; past 2**53 a float would round
            return int(number) if abs(number) < 2**53 else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind_in_words = "a whole number" if kind is int else "a number"
        raise UserError(f"{where} is {kind_in_words}, not {value!r}") from error
    raise UserError(f"{where} is a whole number, not {value!r}")
