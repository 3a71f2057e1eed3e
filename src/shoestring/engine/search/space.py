"""space: a search space read from TOML, and its values written into a recipe. No torch."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from math import isclose, isfinite
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.core.run import OPTIMIZERS, SCHEDULES, Recipe, Run
from shoestring.core.space import DIGITS, Range
from shoestring.core.techniques import Finisher, Placer, Searcher

KEYS = ("low", "high", "log", "choices", "scales")
WORDS: Mapping[str, tuple[str, ...]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": ("float32", "bfloat16"),
}
# Fields of a recipe that are numbers: whether they are whole, the least value and whether it is
# allowed itself, and the value that they stay below.
NUMBERS: Mapping[str, tuple[bool, float, bool, float]] = {
    "learning_rate": (False, 0.0, False, float("inf")),
    "batch_size": (True, 1, True, float("inf")),
    "weight_decay": (False, 0.0, True, float("inf")),
    "label_smoothing": (False, 0.0, True, 1.0),
    "beta2": (False, 0.0, True, 1.0),
    "clip": (False, 0.0, True, float("inf")),
    "warm_up": (False, 0.0, True, 1.0),
    "accumulate": (True, 1, True, float("inf")),
}
NETWORK = "network"
UNITS = 8  # what a number of units is rounded to, where a factor scales it
EXAMPLE = (
    '[learning_rate]\nlow = 1e-4\nhigh = 0.1\nlog = true\n\n["network.width"]\nchoices = [16, 32]'
)


def read(path: Path) -> tuple[Range, ...]:
    """The ranges of a file; UserError, with its name and the line, for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the search space {path} cannot be read: {error}") from error
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"the search space {path} is not TOML: {error}") from error
    found, taken = [], dict[str, str]()
    for name, table in _tables(plain, ()):
        where = f"{path}, line {_line(text, name)}"
        try:
            one = _range(name, table)
            _known(one)
            for place in one.paths:
                if place in taken:
                    raise UserError(f"{place} is searched by {taken[place]} and by {name}")
                taken[place] = name
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        found.append(one)
    if not found:
        raise UserError(f"{path} names nothing to search; it holds tables such as:\n{EXAMPLE}")
    return tuple(found)


def placed(ranges: Sequence[Range], path: Path | None) -> Iterator[tuple[Range, str]]:
    """Each range with where it was read, for a message: `space.toml, line 3: `; "" without file."""
    text = ""
    if path is not None and path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    for one in ranges:
        yield one, f"{path}, line {_line(text, one.name)}: " if text else ""


def _tables(plain: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The tables that say what is searched, by their dotted names, however they were nested."""
    for name, value in plain.items():
        path = (*above, name)
        nested = isinstance(value, dict) and value and not set(value) & set(KEYS)
        if nested and all(isinstance(inner, dict) for inner in value.values()):
            yield from _tables(value, path)
        else:
            yield ".".join(path), value


def _line(text: str, name: str) -> int:
    """Where a table of this dotted name begins; the line of the deepest part of it that is found.
    A reader of TOML does not tell."""
    parts = name.split(".")
    lines = [re.sub(r"[\s\"']", "", line.partition("#")[0]) for line in text.splitlines()]
    for count in range(len(parts), 0, -1):
        dotted = ".".join(parts[:count])
        for number, line in enumerate(lines, 1):
            if line == f"[{dotted}]" or line.startswith((f"{dotted}=", f"{dotted}.")):
                return number
        last = parts[count - 1]
        for number, line in enumerate(lines, 1):
            if count > 1 and line.startswith(f"{last}="):
                return number
    return 1


def _range(name: str, table: Any) -> Range:
    if not isinstance(table, dict):
        raise UserError(
            f"{name} should be a table with low and high, or with choices, not {table!r}"
        )
    for key in table:
        if key not in KEYS:
            raise UserError(f"{name} has no key {key!r}; it has: {', '.join(KEYS)}")
    choices = table.get("choices", ())
    low, high = (_bound(f"{name}: {key}", table.get(key)) for key in ("low", "high"))
    if not isinstance(table.get("log", False), bool):
        raise UserError(f"{name}: log is true or false, not {table['log']!r}")
    if "choices" in table and (not isinstance(choices, list) or not choices):
        raise UserError(f"{name} has an empty range: choices is a list of two or more values")
    if any(isinstance(choice, (dict, list)) for choice in choices):
        raise UserError(f"{name}: choices are numbers, words or truths, not {choices!r}")
    scales = table.get("scales", {})
    if not isinstance(scales, dict):
        raise UserError(f"{name}: scales names fields, each with what 1.0 stands for")
    whole = all(isinstance(table.get(key), int) for key in ("low", "high")) and not scales
    if name in NUMBERS:
        if NUMBERS[name][0] and not whole and not choices:
            raise UserError(f"{name} is a whole number; write low and high without a point")
        whole = NUMBERS[name][0]
    return Range(
        name,
        low,
        high,
        log=table.get("log", False),
        whole=whole,
        choices=tuple(choices),
        scales=dict(_flat(scales)),
    )


def _bound(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where} is a number, not {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise UserError(f"{where} is a number, not one of {len(str(value))} digits") from error


def _flat(plain: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names, whether they were quoted or not."""
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


# --- what there is to search ---------------------------------------------------------------------


def _known(one: Range) -> None:
    """Raises UserError for a field that there is not, or a value that it cannot have, as far as
    that can be told before the data are read."""
    for path, usual in one.paths.items():
        first, _, option = path.partition(".")
        ends = one.choices or (one.value(one.low), one.value(one.high))
        if not option:
            _known_field(path)
            for end in ends:
                _fits(path, usual * end if one.scales else end)
        elif first != NETWORK:
            _known_option(first, option)
            for end in ends:
                value = _scaled(end, usual) if one.scales else end
                plugins.option(plugins.technique_class(first), option, value, first)


def _known_field(name: str) -> None:
    if name in NUMBERS or name in WORDS:
        return
    there = ", ".join((*NUMBERS, *WORDS))
    exists = name in {f.name for f in fields(Recipe)}
    what = "is no field that can be searched" if exists else "is no field of a recipe"
    raise UserError(
        f"{name!r} {what}; there are: {there}; and network.OPTION, and TECHNIQUE.OPTION for "
        f"{', '.join(_techniques())}"
    )


def _techniques() -> list[str]:
    """Those that change a fit: what comes after it is no part of a trial."""
    kinds = {name: plugins.technique_class(name) for name in plugins.technique_names()}
    return [n for n, kind in kinds.items() if not issubclass(kind, (Finisher, Placer, Searcher))]


def _known_option(name: str, option: str) -> None:
    if name not in _techniques():
        raise UserError(
            f"{name!r} is neither network nor a technique that changes a fit; these are: "
            f"{', '.join(_techniques())}"
        )
    options = [f.name for f in fields(plugins.technique_class(name))]
    if option not in options:
        raise UserError(f"{name} has no option {option!r}; it has: {', '.join(options)}")


def _fits(name: str, value: Any) -> None:
    """Raises UserError for a value that the field of a recipe cannot have."""
    if name in WORDS:
        if value not in WORDS[name]:
            raise UserError(f"{name} is one of {', '.join(WORDS[name])}, not {value!r}")
        return
    whole, least, itself, below = NUMBERS[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not isfinite(value) or (whole and value != int(value)):
        raise UserError(f"{name} is a {'whole ' * whole}number, not {value!r}")
    if value < least or (value == least and not itself) or value >= below:
        bounds = f"{'from' if itself else 'above'} {least:g}"
        bounds += "" if below == float("inf") else f" to below {below:g}"
        raise UserError(f"{name} is a number {bounds}, not {value:g}")


# --- values in a recipe --------------------------------------------------------------------------


def spared(ranges: Sequence[Range], names: Collection[str]) -> tuple[Range, ...]:
    """Those of the ranges that touch none of the fields; `augment` names all of its options."""

    def touched(path: str) -> bool:
        return path in names or path.partition(".")[0] in names

    return tuple(
        one for one in ranges if one.name not in names and not any(map(touched, one.paths))
    )


def with_values(run: Run, ranges: Sequence[Range], values: Plain) -> Run:
    """The untrained run with these values, by the names of the ranges, in its recipe. UserError
    for values that a technique does not take."""
    options: dict[str, dict[str, Any]] = {}
    for one in ranges:
        if one.name not in values:
            continue
        for path, usual in one.paths.items():
            value = values[one.name]
            if one.scales:
                value = _scaled(value, usual)
            first, _, option = path.partition(".")
            if not option:
                run = run.with_recipe(**{path: value})
            elif first == NETWORK:
                run = run.with_recipe(network={**run.recipe.network, option: value})
            else:
                options.setdefault(first, {})[option] = value
    for name, given in options.items():
        run = _with_options(run, name, given)
    return run


def _scaled(factor: float, usual: float) -> float | int:
    """A factor on a whole number gives whole units."""
    if isinstance(usual, int):
        return max(UNITS, round(factor * usual / UNITS) * UNITS)
    return float(f"{factor * usual:.3g}")


def _with_options(run: Run, name: str, given: Plain) -> Run:
    words = run.recipe.hook(name)
    kind = plugins.technique_class(name)
    given = {option: plugins.option(kind, option, value, name) for option, value in given.items()}
    try:
        changed = kind(**given) if words is None else _changed(plugins.technique(words), given)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    edited: Run = changed.apply(run, Budget())
    return replace(edited, receipts=run.receipts, findings=run.findings)


def _changed(technique: Any, given: Plain) -> Any:
    """Every technique is a dataclass."""
    return replace(technique, **given)


def standing(recipe: Recipe, architecture: Plain, ranges: Sequence[Range]) -> dict[str, Any]:
    """What the recipe, whose network is written out in `architecture`, has of each range, inside
    of it or not; those that it says nothing of are left out."""
    found = {}
    for one in ranges:
        path, usual = next(iter(one.paths.items()))
        value = _value_at(recipe, architecture, path)
        if one.scales and isinstance(value, (int, float)):
            value = value / usual
        if value is not None:
            found[one.name] = value
    return found


def values_in(recipe: Recipe, architecture: Plain, ranges: Sequence[Range]) -> dict[str, Any]:
    """What each range would draw to come nearest to this recipe; those that it says nothing of, or
    that have nothing near, are left out."""
    there = standing(recipe, architecture, ranges)
    found = {one.name: one.drawn(there[one.name]) for one in ranges if one.name in there}
    return {name: drawn for name, drawn in found.items() if drawn is not None}


def holds(ranges: Sequence[Range], there: Plain, drawn: Plain) -> bool:
    """Whether what is drawn for a recipe is what it has, of every range."""
    return all(
        one.name in drawn and _same(one.value(drawn[one.name]), there[one.name]) for one in ranges
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return isclose(one, other, rel_tol=10.0**-DIGITS * 5)
    return bool(one == other)


def _value_at(recipe: Recipe, architecture: Plain, path: str) -> Any:
    first, _, option = path.partition(".")
    if not option:
        return getattr(recipe, path)
    if first == NETWORK:
        return recipe.network.get(option, architecture.get(option))
    words = recipe.hook(first)
    return None if words is None else getattr(plugins.technique(words), option)
