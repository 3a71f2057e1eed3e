"""_text_sets: language pairs that nobody tuned for, out of the catalogues of translated programs.

A catalogue of gettext (.mo) holds each text of a program with its translation by people.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from _packages import Package, unpacked

CAMPAIGNS = (
    *("did", "dm", "dw", "ei", "httt", "l", "low", "nr"),
    *("sof", "sota", "sotbe", "thot", "trow", "tsg", "ttb", "utbs"),
)
LONGEST_WORDS = 80  # of a source; what is longer are pages of help
MARKS = re.compile(r"[<>$|{}\\]|%[sdnL0-9]|https?:")  # markup and what a program fills in
SHORTCUT = re.compile(r"[_~](?=\w)|\((?:_|~)\w\)")  # of a menu: "_Save"


@dataclass(frozen=True)
class TextSet:
    """One language pair: where it comes from, and how it is read."""

    source: str
    target: str
    asks: str
    licence: str
    packages: tuple[Package, ...]
    pairs: Callable[[Path], Iterator[tuple[str, str]]]  # of the folder of packages


def tales(root: Path) -> Iterator[tuple[str, str]]:
    for package in TALES:
        yield from _paragraphs(unpacked(package, root), "fr")


def office(root: Path) -> Iterator[tuple[str, str]]:
    for package in OFFICE:
        yield from _paragraphs(unpacked(package, root), "es")


def _paragraphs(files: Path, language: str) -> Iterator[tuple[str, str]]:
    """Source and translation, cut at line ends where both have as many, cleaned."""
    for path in sorted(files.rglob(f"{language}/LC_MESSAGES/*.mo"), key=lambda p: p.as_posix()):
        for source, target in _catalogue(path):
            sources, targets = (
                [line for line in map(str.strip, text.split("\n")) if line]
                for text in (source, target)
            )
            if len(sources) != len(targets):
                continue
            for one, other in zip(sources, targets, strict=True):
                if MARKS.search(one) or MARKS.search(other) or len(one.split()) > LONGEST_WORDS:
                    continue
                pair = _plain(one), _plain(other)
                if len(pair[0].split()) >= 2 and pair[1] and pair[0] != pair[1]:
                    yield pair


def _catalogue(path: Path) -> Iterator[tuple[str, str]]:
    """Messages in the order of their source. gettext offers no list of them, but keeps one."""
    with path.open("rb") as file:
        messages = vars(gettext.GNUTranslations(file))["_catalog"]
    for key in sorted(k for k in messages if isinstance(k, str)):
        # A context stands before EOT, or before "^" in these games.
        source = key.rpartition("\x04")[2]
        yield re.sub(r"^[\w -]+\^", "", source), messages[key]


def _plain(text: str) -> str:
    return " ".join(SHORTCUT.sub("", text).split())


TALES = tuple(
    Package("apt", f"wesnoth-1.16-{name}", wanted=("usr/share/games/wesnoth/1.16/locale/fr/",))
    for name in ("data", *CAMPAIGNS)
)
OFFICE = (
    Package("apt", "libreoffice-l10n-es", wanted=("usr/lib/libreoffice/program/resource/es/",)),
)

SETS: Mapping[str, TextSet] = {
    "tales": TextSet(
        "en",
        "fr",
        "dialogue and tales of a game, English to French",
        "The Battle for Wesnoth, GPL 2 or later",
        TALES,
        tales,
    ),
    "office": TextSet(
        "en",
        "es",
        "menus, messages and hints of an office suite, English to Spanish",
        "LibreOffice, MPL 2.0",
        OFFICE,
        office,
    ),
}
