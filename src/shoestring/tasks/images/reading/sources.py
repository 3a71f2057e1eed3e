"""sources: what a person names as data, as a list of pictures with labels and splits."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.core.receipt import Finding
from shoestring.data import catalog
from shoestring.data.names import SPLITS, natural_key, printable, split_of

NO_SPLIT = -1  # in `Source.splits`: the source does not say; else a position in SPLITS

Arrays = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Source:
    """N pictures in a fixed order. Files have `paths`; pictures that lie in arrays `arrays`."""

    words: str  # as the person named it
    root: str  # the folder that names are relative to, or the file
    names: Sequence[str]  # relative paths, or split/number
    label_names: tuple[str, ...]  # in natural order; some may have no picture
    labels: NDArray[np.int64]  # (N,) positions in label_names
    splits: NDArray[np.int8]  # (N,) positions in SPLITS, or NO_SPLIT
    stamp: str  # changes when a name, a size or a modification time does
    paths: Sequence[str] = ()  # absolute
    file_sizes: Sequence[int] = ()
    arrays: Arrays | None = None  # reads (N, H, W, C)
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def given(self, split: str) -> bool:
        return bool((self.splits == SPLITS.index(split)).any())


def read(words: str, progress: Progress) -> Source:
    """Raises DataError where there is nothing by that name, or it is no labelled pictures."""
    from shoestring.tasks.images.reading import arrays, folders, tables

    entry = catalog.find(words)
    if entry is not None:
        if entry.task != "images":
            raise DataError(f"{words!r} is data for {entry.task}, not images")
        return arrays.read_folder(words, catalog.get(words, progress))
    path = Path(words).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"there is no file, folder or catalogue entry {printable(words)!r} ({reason}); "
            f"the catalogue has: {', '.join(e.name for e in catalog.ENTRIES)}"
        ) from error
    if stat.S_ISDIR(mode):
        if arrays.has_idx(path):
            return arrays.read_folder(words, path)
        if tables.has_metadata(path):
            return tables.read_metadata(words, path)
        return folders.read(words, path)
    if path.suffix.lower() == ".npz":
        return arrays.read_npz(words, path)
    if path.suffix.lower() == ".csv":
        return tables.read_csv(words, path)
    raise DataError(
        f"{printable(words)!r} is a single file of no known kind; give a folder of class folders, "
        f"a CSV of path,label, a folder of IDX files or an .npz"
    )


def with_split(words: str) -> tuple[str, str | None]:
    """`mnist:test` as ("mnist", "test"); ("mnist", None) where no split is named."""
    if os.path.exists(words):
        return words, None
    name, colon, last = words.rpartition(":")
    split = split_of(last) if colon else None
    return (name, split) if split is not None else (words, None)


def recognizes(words: str) -> bool:
    """Whether this looks like labelled pictures. Quick: stops at the first picture found."""
    from shoestring.tasks.images.reading import arrays, folders, tables

    name, _ = with_split(words)
    entry = catalog.find(name)
    if entry is not None:
        return entry.task == "images"
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return arrays.has_idx(path) or tables.has_metadata(path) or folders.has_pictures(path)
        if path.suffix.lower() == ".npz":
            return path.is_file()
        return path.suffix.lower() == ".csv" and tables.is_picture_table(path)
    except (OSError, ValueError, DataError):
        return False


@dataclass(frozen=True)
class Entry:
    """One picture file, before labels became numbers."""

    name: str  # relative
    path: str  # absolute
    label: str
    split: str | None


def assemble(
    words: str,
    root: Path,
    entries: Sequence[Entry],
    labels: Iterable[str] = (),
    findings: tuple[Finding, ...] = (),
) -> Source:
    """Files in natural order of split, label and name, with their sizes and times looked up.
    `labels` are known ones, of which some may have no file."""
    rank: dict[str | None, int] = {s: i for i, s in enumerate(SPLITS)}
    rank[None] = NO_SPLIT
    every = sorted({*labels, *(e.label for e in entries)}, key=natural_key)
    position = {label: i for i, label in enumerate(every)}
    ordered = sorted(
        entries,
        key=lambda e: (rank[e.split], position[e.label], natural_key(e.name), e.path),
    )
    digest = hashlib.blake2b(digest_size=16)
    sizes = []
    for entry in ordered:
        try:
            info = os.stat(entry.path)
            # the mode, because a file that could not be read is tried again once it can
            size, time, mode = info.st_size, info.st_mtime_ns, info.st_mode
        except (OSError, ValueError):
            size, time, mode = 0, 0, 0  # the reading will say why
        sizes.append(size)
        digest.update(os.fsencode(entry.path) + b"\0%d %d %d\n" % (size, time, mode))
    return Source(
        words,
        str(root),
        [e.name for e in ordered],
        tuple(every),
        np.array([position[e.label] for e in ordered], np.int64),
        np.array([rank[e.split] for e in ordered], np.int8),
        digest.hexdigest(),
        [e.path for e in ordered],
        sizes,
        findings=findings,
    )


def file_stamp(paths: Sequence[Path]) -> str:
    """Changes when one of these files is replaced."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        info = path.stat()
        absolute = os.fsencode(os.path.abspath(path))
        digest.update(absolute + b"\0%d %d\n" % (info.st_size, info.st_mtime_ns))
    return digest.hexdigest()
