"""folders: one folder a class, with or without train, validation and test above them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.receipt import Finding
from shoestring.data.names import counted, natural_key, printable, split_of
from shoestring.tasks.images.reading.reader import ENDINGS
from shoestring.tasks.images.reading.sources import Entry, Source, assemble

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_OTHER_ENDINGS = frozenset(
    ".csv .tsv .txt .md .json .jsonl .xml .yaml .yml .toml .ini .html .htm .log .pdf .py .ipynb "
    ".npy .npz .zip .gz .tar .parquet .db .mp4 .mov .avi .wav .mp3 .svg".split()
)
_SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def read(words: str, root: Path) -> Source:
    """Raises DataError for an empty folder, pictures that lie in no class folder, or splits
    without a training split."""
    folders = _folders(root)
    splits = _split_folders(root, folders)
    found: list[Entry] = []
    others: list[str] = []
    classes: list[str] = []
    for folder in folders:
        split = splits.get(folder)
        if splits and split is None:
            others.extend(name for name, _, _ in _walk(root, folder))
            continue
        labelled = _folders(root / folder) if split is not None else [""]
        for label in labelled:
            place = os.path.join(folder, label) if split is not None else folder
            classes.append(label or folder)
            for name, path, is_picture in _walk(root, place):
                if is_picture:
                    found.append(Entry(name, path, label or folder, split))
                else:
                    others.append(name)
        if split is not None:
            others.extend(_loose(root, folder))
    loose = _loose(root, "")
    if not found:
        raise _nothing(root, folders, loose)
    others.extend(loose)
    return assemble(words, root, found, classes, other_files(others))


def has_pictures(root: Path) -> bool:
    """Whether a picture lies somewhere below a folder of this folder."""
    return any(is_picture for folder in _folders(root) for _, _, is_picture in _walk(root, folder))


def other_files(names: list[str]) -> tuple[Finding, ...]:
    if not names:
        return ()
    shown = tuple(printable(n) for n in sorted(names, key=natural_key)[:10])
    words = counted(
        len(names),
        "file that is no picture of a class was left alone",
        "files that are no pictures of a class were left alone",
    )
    return (Finding("other files", len(names), words, shown),)


def _nothing(root: Path, folders: list[str], loose: list[str]) -> DataError:
    shown = printable(str(root))
    if not folders and not loose:
        return DataError(f"the folder {shown} is empty; it should hold one folder a class")
    pictures = [n for n in loose if _has_picture_ending(n)]
    if pictures and not folders:
        return DataError(
            f"{shown} holds {counted(len(pictures), 'picture')} but no class folders; put "
            f"the pictures of each class in a folder of its own, or add a metadata.csv of "
            f"file_name,label"
        )
    return DataError(f"no pictures were found in the folders of {shown}")


def _split_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Folder name to split, where the folders are splits: a train, or nothing but splits, each
    holding folders (a class may well be called `train`, but then it holds pictures alone)."""
    named = {f: s for f in folders if (s := split_of(f)) is not None and _folders(root / f)}
    if len(set(named.values())) < len(named):
        twice = ", ".join(sorted(named))
        raise DataError(f"{printable(str(root))} names a split twice among: {twice}")
    if "train" in named.values() or (named and len(named) == len(folders)):
        return named
    return {}


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not _hidden(e.name)]
    except OSError as error:
        raise DataError(
            f"the folder {printable(str(folder))} cannot be read: {error.strerror or error}"
        ) from error


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle


def _folders(root: Path) -> list[str]:
    return sorted((e.name for e in _scan(root) if _is_folder(e)), key=natural_key)


def _loose(root: Path, folder: str) -> list[str]:
    return [os.path.join(folder, e.name) for e in _scan(root / folder) if not _is_folder(e)]


def _walk(root: Path, place: str) -> Iterator[tuple[str, str, bool]]:
    """(relative name, absolute path, whether it is a picture) of every file below `place`.
    Linked folders are followed, each real folder once, but never up to one that this one lies
    in: that would bring in what lies beside it."""
    waiting, above = [place], os.path.join(os.path.abspath(root), "")
    seen = {*folders_around(root / place), os.path.realpath(root), *folders_around(root)}
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(root / here)
        if real in seen:
            continue
        seen.add(real)
        start = os.path.join(here, "")
        for entry in _scan(root / here):
            name = start + entry.name
            if _is_folder(entry):
                waiting.append(name)
            else:
                path = above + name
                yield name, path, _is_picture(entry.name, path)


def folders_around(folder: Path) -> set[str]:
    """The real folders that a folder lies in, however it is reached."""
    return {str(parent) for parent in Path(os.path.realpath(folder)).parents}


def _has_picture_ending(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS


def _is_picture(name: str, path: str) -> bool:
    """By its ending; by its first bytes where the ending is not a known one."""
    ending = os.path.splitext(name)[1].lower()
    if ending in ENDINGS or ending in _OTHER_ENDINGS:
        return ending in ENDINGS
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return False
    if start.startswith(b"RIFF"):
        return start[8:12] == b"WEBP"
    return start.startswith(_STARTS) or (start[4:8] == b"ftyp" and b"hei" in start[8:12])
