"""plain: dataclasses to nested plain values and back, for JSON and TOML."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from shoestring.core.errors import UserError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Nested dict, list, str, int, float, bool and None. Raises TypeError for anything else."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} is not a plain value")


def from_plain(kind: type[T], plain: Any, where: str = "") -> T:
    """The dataclass that `to_plain` came from. Fields that are absent take their defaults; an
    unknown name or a value of another type is a UserError that names `where`."""
    return cast(T, _build(kind, plain, where or kind.__name__))


def _build(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise UserError(f"{where} should be a table of values, not {value!r}")
        hints = typing.get_type_hints(hint)
        known = {f.name: f for f in fields(hint)}
        for name in value:
            if name not in known:
                raise UserError(f"{where} has no field {name!r}; it has: {', '.join(known)}")
        for name, f in known.items():
            if name not in value and f.default is MISSING and f.default_factory is MISSING:
                raise UserError(f"{where} needs the field {name!r}")
        built = {n: _build(hints[n], v, f"{where}.{n}") for n, v in value.items()}
        return hint(**built)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = next(h for h in typing.get_args(hint) if h is not type(None))
        return _build(inner, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where} should be a list, not {value!r}")
        inner = typing.get_args(hint)[0]
        return tuple(_build(inner, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is collections.abc.Mapping and not isinstance(value, Mapping):
        raise UserError(f"{where} should be a table of values, not {value!r}")
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            allowed = ", ".join(map(str, typing.get_args(hint)))
            raise UserError(f"{where} is one of {allowed}, not {value!r}")
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    simple = hint in (str, int, float, bool)
    if simple and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise UserError(f"{where} should be {hint.__name__}, not {value!r}")
    return value
