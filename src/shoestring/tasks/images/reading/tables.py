"""tables: labels that stand in a CSV, or in metadata.csv files as Hugging Face has them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.data.names import printable, split_of
from shoestring.tasks.images.reading.sources import Entry, Source, assemble

_PATH_WORDS = ("path", "file_name", "filename", "file", "image", "image_path", "filepath")
_LABEL_WORDS = ("label", "class", "category", "target", "label_name")
_SPLIT_WORDS = ("split", "subset", "set")
_METADATA = "metadata.csv"


def has_metadata(folder: Path) -> bool:
    """Whether the folder, or one of its split folders, holds a metadata.csv."""
    if (folder / _METADATA).is_file():
        return True
    return any(split_of(p.name) is not None and (p / _METADATA).is_file() for p in folder.iterdir())


def is_picture_table(path: Path) -> bool:
    """Whether the first line names a column of paths and one of labels."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = [c.strip().lower() for c in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return any(w in head for w in _PATH_WORDS) and any(w in head for w in _LABEL_WORDS)


def read_csv(words: str, path: Path) -> Source:
    """A CSV with a column of paths (relative to it, or absolute), one of labels, and perhaps one
    of splits. Raises DataError naming file and line."""
    return assemble(words, path.parent, _rooted(list(_entries(path, None)), path))


def read_metadata(words: str, root: Path) -> Source:
    """metadata.csv of file_name,label in a folder, or in its train, validation, test folders."""
    own = root / _METADATA
    if own.is_file():
        return assemble(words, root, _rooted(list(_entries(own, None)), own))
    found: list[Entry] = []
    for folder in sorted(root.iterdir()):
        split = split_of(folder.name)
        table = folder / _METADATA
        if split is not None and table.is_file():
            entries = list(_entries(table, split))
            found += [Entry(f"{folder.name}/{e.name}", e.path, e.label, e.split) for e in entries]
    return assemble(words, root, _rooted(found, root))


def _rooted(entries: list[Entry], table: Path) -> list[Entry]:
    if not entries:
        raise DataError(f"{table} lists no pictures")
    if not any(os.path.exists(e.path) for e in entries):
        raise DataError(
            f"none of the {len(entries):,} files that {table} lists is there; "
            f"the first is {printable(entries[0].path)}"
        )
    return entries


def _entries(path: Path, split: str | None) -> Iterator[Entry]:
    rows = _rows(path)
    line, head = next(rows, (1, []))
    columns = [c.strip().lower() for c in head]
    at_path = _column(columns, _PATH_WORDS)
    at_label = _column(columns, _LABEL_WORDS)
    at_split = _column(columns, _SPLIT_WORDS)
    if at_path is None or at_label is None:
        raise DataError(
            f"{path}, line {line}: the first line should name the columns, one of "
            f"{'/'.join(_PATH_WORDS[:3])} and one of {'/'.join(_LABEL_WORDS[:3])}; "
            f"it has: {printable(', '.join(head)) or 'nothing'}"
        )
    for line, row in rows:
        if len(row) != len(head):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields where the first line has {len(head)}"
            )
        name, label = row[at_path].strip(), row[at_label].strip()
        if not name or not label:
            missing = "path" if not name else "label"
            raise DataError(f"{path}, line {line}: the {missing} is empty")
        here = split
        if at_split is not None and row[at_split].strip():
            here = split_of(row[at_split])
            if here is None:
                raise DataError(
                    f"{path}, line {line}: {row[at_split]!r} is no split; "
                    f"use train, validation or test"
                )
        yield Entry(name, os.path.abspath(path.parent / name), label, here)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except csv.Error as error:
                raise DataError(f"{path}, line {reader.line_num}: {error}") from error
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, after line {reader.line_num}: not UTF-8 ({error.reason})"
                ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _column(columns: list[str], words: tuple[str, ...]) -> int | None:
    return next((columns.index(w) for w in words if w in columns), None)
