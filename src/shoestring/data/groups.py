"""groups: which examples belong together (a person, a video), by a pattern or by a table."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

from shoestring.core.errors import DataError, UserError
from shoestring.data.names import printable


def groups_of(names: Sequence[str], rule: str, root: str) -> list[str]:
    """The group of each name. `rule` is a CSV with the columns path and group (as given, or in
    the folder `root`), else a regular expression: its first group, or the whole match, names the
    group. Raises DataError that names the first example without one."""
    if rule.lower().endswith(".csv"):
        table = next((p for p in (Path(rule), Path(root) / rule) if p.is_file()), None)
        if table is None:
            raise DataError(f"group_by {rule!r}: there is no such file")
        return _by_table(names, table)
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UserError(f"group_by {rule!r} is no regular expression: {error}") from error
    found = []
    for name in names:
        match = pattern.search(name.replace(os.sep, "/"))
        group = match and (match.group(1) if pattern.groups else match.group(0))
        if group is None:
            raise DataError(
                f"group_by {rule!r} finds no group in {printable(name)!r}; every path needs one"
            )
        found.append(group)
    return found


def _by_table(names: Sequence[str], table: Path) -> list[str]:
    groups: dict[str, str] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            head = [c.strip().lower() for c in next(reader, [])]
            if "path" not in head or "group" not in head:
                raise DataError(f"{table}, line 1: the columns should be path,group")
            at_path, at_group = head.index("path"), head.index("group")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(head) or not row[at_path] or not row[at_group]:
                    raise DataError(f"{table}, line {reader.line_num}: needs a path and a group")
                name = _normal(row[at_path])
                if groups.setdefault(name, row[at_group]) != row[at_group]:
                    raise DataError(
                        f"{table}, line {reader.line_num}: {printable(name)!r} was in the group "
                        f"{groups[name]!r} before"
                    )
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table} cannot be read: {error}") from error
    missing = [name for name in names if _normal(name) not in groups]
    if missing:
        raise DataError(
            f"{table} gives no group for {len(missing):,} of {len(names):,} pictures; "
            f"the first is {printable(missing[0])!r}"
        )
    return [groups[_normal(name)] for name in names]


def _normal(name: str) -> str:
    return os.path.normpath(name).replace(os.sep, "/")
