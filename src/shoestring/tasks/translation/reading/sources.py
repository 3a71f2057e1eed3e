"""sources: what a person names as data, as parts of parallel text with their splits."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.core.receipt import Finding
from shoestring.data import catalog
from shoestring.data.names import natural_key, printable, split_of
from shoestring.tasks.translation.languages import known
from shoestring.tasks.translation.reading import formats

TASK = "translation"
_SEPARATORS = re.compile(r"[._\-]+")


@dataclass(frozen=True)
class Part:
    """Pairs that stand together: two aligned files, or one file that holds both sides."""

    name: str  # train, test_2016_flickr, ...
    split: str | None  # None: the source does not say
    kind: str  # "aligned", or one of formats.KINDS
    files: Mapping[str, Path]  # aligned: by language, or by "1" and "2"; else under ""


@dataclass(frozen=True)
class Source:
    words: str  # as the person named it
    parts: tuple[Part, ...]
    direction: tuple[str, str] | None = None  # where one is usual: from, into
    findings: tuple[Finding, ...] = ()

    def of(self, split: str | None) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.split == split)


def with_split(words: str) -> tuple[str, str | None]:
    """`multi30k:test_2016_flickr` as ("multi30k", "test_2016_flickr"); None where none is named."""
    if os.path.exists(words):
        return words, None
    name, colon, last = words.rpartition(":")
    return (name, last) if colon and name and last else (words, None)


def read(words: str, progress: Progress) -> Source:
    """Finds the files. Raises DataError where there are none, or they are no parallel text."""
    entry = catalog.find(words)
    if entry is not None:
        if entry.task != TASK:
            raise DataError(f"{words!r} is data for {entry.task}, not {TASK}")
        found = _of_folder(words, catalog.get(words, progress))
        licence = Finding("licence", 1, f"{words}: {entry.licence}")
        return Source(words, found.parts, entry.direction, (licence, *found.findings))
    path = Path(words).expanduser()
    if path.is_dir():
        return _of_folder(words, path)
    if path.is_file():
        return _of_file(words, path)
    two = [Path(piece).expanduser() for piece in words.split(",")]
    if len(two) == 2:
        for one in two:
            if not one.is_file():
                raise DataError(f"there is no file {printable(str(one))!r}")
        return Source(words, (_aligned_by_hand(two[0], two[1]),))
    parts = _grouped(_siblings(path))
    if parts:
        return Source(words, parts)
    raise DataError(
        f"there is no file, folder or catalogue entry {printable(words)!r}; "
        f"the catalogue has: {', '.join(e.name for e in catalog.ENTRIES if e.task == TASK)}"
    )


def recognizes(words: str) -> bool:
    """Whether this looks like parallel text. Quick: looks at names alone."""
    name, _ = with_split(words)
    for one in (words, name):
        entry = catalog.find(one)
        if entry is not None:
            return entry.task == TASK
        try:
            path = Path(one).expanduser()
            if path.is_dir():
                if any(_plausible(part) for part in _grouped(_files(path))):
                    return True
            elif path.is_file():
                files = [path] if formats.kind_of(path) is not None else _siblings_of(path)
                if any(_plausible(part) for part in _grouped(files)):
                    return True
            else:
                two = [Path(piece).expanduser() for piece in one.split(",")]
                by_hand = len(two) == 2 and all(p.is_file() for p in two)
                if by_hand or _grouped(_siblings(path)):
                    return True
        except (OSError, ValueError, DataError):
            continue
    return False


def _plausible(part: Part) -> bool:
    return part.kind == "aligned" or formats.plausible(part.kind, part.files[""])


def stamp(parts: Sequence[Part]) -> str:
    """Changes when one of the files is replaced."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        for key, path in part.files.items():
            info = path.stat()
            digest.update(f"{part.name} {part.split} {part.kind} {key}\n".encode())
            digest.update(os.fsencode(os.path.abspath(path)))
            digest.update(b"\0%d %d\n" % (info.st_size, info.st_mtime_ns))
    return digest.hexdigest()


def _of_folder(words: str, folder: Path) -> Source:
    files = _files(folder)
    parts = _grouped(files)
    if not parts:
        alone = next((p.name for p in files if _stem_and_language(p)[1] is not None), None)
        but = f" but {printable(alone)} without the same in another language" if alone else ""
        raise DataError(
            f"{printable(words)} holds no parallel text{but}; give two aligned files named by "
            f"language (train.en and train.de), or {', '.join(formats.ENDINGS)}, plain or as .gz"
        )
    if any(part.split == "train" for part in parts):
        unused = tuple(part.name for part in parts if part.split is None)
        parts = tuple(part for part in parts if part.split is not None)
        if unused:
            what = f"not used, because there is a train beside it: {', '.join(unused)}"
            return Source(words, parts, None, (Finding("unused", len(unused), what, unused),))
    return Source(words, parts)


def _of_file(words: str, path: Path) -> Source:
    if formats.kind_of(path) is not None:
        return Source(words, _grouped([path]))
    parts = _grouped(_siblings_of(path))
    if not parts:
        raise DataError(
            f"{printable(words)} is one file of no known kind. Parallel text is two aligned files "
            f"(FILE,FILE with --source and --target), or one of {', '.join(formats.ENDINGS)}"
        )
    return Source(words, parts)


def _files(folder: Path) -> list[Path]:
    """Of a folder, and gettext's of a folder of locales. Raises DataError."""
    try:
        every = [*folder.iterdir(), *folder.glob("*/LC_MESSAGES/*.po*")]
        found = [p for p in every if not p.name.startswith(".") and p.is_file()]
    except OSError as error:
        raise DataError(
            f"the folder {printable(str(folder))} cannot be read: {error.strerror or error}"
        ) from error
    return sorted(found, key=lambda p: natural_key(str(p.relative_to(folder))))


def _siblings(prefix: Path) -> list[Path]:
    """`corpus/news.en` and `corpus/news.de` for `corpus/news`."""
    if not prefix.parent.is_dir():
        return []
    return [p for p in _files(prefix.parent) if p.name.startswith(f"{prefix.name}.")]


def _siblings_of(path: Path) -> list[Path]:
    """The files that differ from this one in the language at the end."""
    stem, _ = _stem_and_language(path)
    return [p for p in _files(path.parent) if _stem_and_language(p)[0] == stem]


def _stem_and_language(path: Path) -> tuple[str, str | None]:
    """`train`, `en` of train.en.gz or train.en.txt; no language where the name has none."""
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    stem, dot, last = name.rpartition(".")
    return (stem if dot else "", known(last)) if known(last) else (name, None)


def _grouped(files: Sequence[Path]) -> tuple[Part, ...]:
    """Files as parts, in natural order; those that are no parallel text are passed over."""
    aligned: dict[str, dict[str, Path]] = {}
    parts = []
    for path in files:
        kind = formats.kind_of(path)
        if kind is not None:
            name = formats.stem(path)
            parts.append(Part(name, _split(name), kind, {"": path}))
            continue
        stem, language = _stem_and_language(path)
        if language is not None:
            aligned.setdefault(stem, {}).setdefault(language, path)
    for stem, by_language in aligned.items():
        if len(by_language) > 1:
            parts.append(Part(stem, _split(stem), "aligned", by_language))
    return tuple(sorted(parts, key=lambda part: natural_key(part.name)))


def _aligned_by_hand(one: Path, other: Path) -> Part:
    names = [_stem_and_language(path)[1] for path in (one, other)]
    first, second = names if names[0] and names[1] and names[0] != names[1] else ("1", "2")
    return Part(one.name, None, "aligned", {first or "1": one, second or "2": other})


def _split(stem: str) -> str | None:
    """`test` for test_2016_flickr: the first word of a name that is one of a split."""
    return next(filter(None, map(split_of, _SEPARATORS.split(stem))), None)
