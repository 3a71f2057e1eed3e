"""cards: what each technique does, when it helps and what it costs, as its own file says."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from shoestring import plugins


@dataclass(frozen=True)
class Option:
    name: str
    kind: str  # the annotated type, as written
    default: str  # as written on a command line; "" where one has to be given
    help: str


@dataclass(frozen=True)
class Card:
    name: str
    sentence: str  # what it does, in one
    text: str = ""  # the whole card
    options: tuple[Option, ...] = ()


def technique_list() -> tuple[Card, ...]:
    """Every technique with its one sentence, read from its file without importing it."""
    return tuple(Card(name, _sentence(name)) for name in plugins.technique_names())


def card(name: str) -> Card:
    """The whole card of one technique; UserError with the names there are."""
    kind = plugins.technique_class(name)
    return Card(name, _sentence(name), inspect.cleandoc(kind.__doc__ or ""), options(kind))


def options(kind: type[Any]) -> tuple[Option, ...]:
    """The fields of an options dataclass as a person gives them. The help is the field's
    `metadata["help"]`, or else the comment beside it."""
    comments: Mapping[str, str] | None = None
    found = []
    for f in fields(kind):
        text = f.metadata.get("help")
        if text is None:
            comments = _comments(kind) if comments is None else comments
            text = comments.get(f.name, "")
        found.append(Option(f.name, str(f.type), _default(f), str(text)))
    return tuple(found)


def _default(field: Any) -> str:
    if field.default_factory is not MISSING:
        value = field.default_factory()
    elif field.default is not MISSING:
        value = field.default
    else:
        return ""
    if isinstance(value, (tuple, list)):
        return "+".join(map(str, value)) or "none"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _sentence(name: str) -> str:
    """The part after `name:` of a technique module's opening docstring."""
    spec = importlib.util.find_spec(f"shoestring.techniques.{name}")
    file_name = None if spec is None else spec.origin
    assert file_name is not None, name
    with tokenize.open(file_name) as file:
        docstring = ast.get_docstring(ast.parse(file.read())) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return first.removeprefix(f"{name}:").strip()


def _comments(kind: type[Any]) -> dict[str, str]:
    """Field name to the comment that stands on its line."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except OSError:  # a class that was not written in a file
        return {}
    lines: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0]] = token.string.lstrip("# ")
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: lines[node.end_lineno]
        for node in body.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.end_lineno in lines
    }
