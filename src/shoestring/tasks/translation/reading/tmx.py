"""tmx: translation memories (TMX 1.1 to 1.4), read so that a file can neither grow nor reach out.

Entities that a file declares are refused, and nothing outside the file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never
from xml.parsers import expat

from shoestring.core.errors import DataError
from shoestring.core.receipt import Finding
from shoestring.data.names import counted, printable
from shoestring.tasks.translation.languages import known, matches
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import one_line, unpacked

_CODES = {"bpt", "ept", "ph", "it", "ut"}  # inside a segment: the codes of another format
_LOOKED_AT = 200  # units that are looked at for languages


@dataclass
class _Unit:
    line: int
    texts: dict[str, str] = field(default_factory=dict)  # the first of each language


class _Enough(Exception):
    """Ends a parse that has seen what it was for."""


class _Reader:
    """Units of a file, one after the other."""

    def __init__(self, path: Path, most: int | None = None) -> None:
        self.path, self.most = path, most
        self.units: list[_Unit] = []
        self.source_language: str | None = None
        self._language: str | None = None
        self._segment: list[str] | None = None
        self._codes = 0  # depth inside codes
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        parser.UnparsedEntityDeclHandler = self._entity
        parser.ExternalEntityRefHandler = self._entity
        parser.SkippedEntityHandler = self._skipped

    def read(self) -> None:
        whole = unpacked(self.path)
        try:
            self._parser.Parse(whole, True)
        except _Enough:
            return
        except expat.ExpatError as error:
            self._refuse(f"no well-formed XML: {expat.ErrorString(error.code)}", error.lineno)
        except (LookupError, ValueError):  # from the codec that the declaration names
            self._refuse(
                "its XML declaration names an encoding that is not read here; save it as UTF-8", 1
            )
        if not self.units:
            raise DataError(f"{printable(str(self.path))} has no translation unit; is it a TMX?")

    def _refuse(self, reason: str, line: int | None = None) -> Never:
        at = self._parser.CurrentLineNumber if line is None else line
        raise DataError(f"{printable(str(self.path))}, line {at:,}: {reason}")

    def _entity(self, name: str, *_: object) -> Never:
        self._refuse(f"declares or calls for the entity {name!r}; files with entities are refused")

    def _skipped(self, name: str, is_parameter: bool) -> None:
        self._refuse(f"the entity {name!r} is not known")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "header":
            self.source_language = known(attributes.get("srclang", ""))
        elif name == "tu":
            if self.most is not None and len(self.units) >= self.most:
                raise _Enough
            self.units.append(_Unit(self._parser.CurrentLineNumber))
        elif name == "tuv":
            self._language = known(attributes.get("xml:lang", attributes.get("lang", "")))
        elif name == "seg" and self.units and self._segment is None:
            self._segment = []
        elif name in _CODES and self._segment is not None:
            self._codes += 1

    def _end(self, name: str) -> None:
        if name in _CODES and self._segment is not None:
            self._codes -= 1
        elif name == "seg" and self._segment is not None:
            if self._language is not None:
                text = one_line("".join(self._segment))
                self.units[-1].texts.setdefault(self._language, text)
            self._segment, self._codes = None, 0
        elif name == "tuv":
            self._language = None

    def _text(self, text: str) -> None:
        if self._segment is not None and not self._codes:
            self._segment.append(text)


def languages(path: Path) -> Sequence[str]:
    """Of the first units; the one that the file names as its source comes first."""
    reader = _Reader(path, _LOOKED_AT)
    reader.read()
    found = dict.fromkeys(code for unit in reader.units for code in unit.texts)
    first = reader.source_language
    return sorted(found, key=lambda code: first is None or not matches(code, first))


def read(path: Path, source: str, target: str) -> Pairs:
    """Units that lack one of the languages are left out and counted. Raises DataError."""
    reader = _Reader(path)
    reader.read()
    sources, targets, lines, lacking = [], [], [], 0
    for unit in reader.units:
        one, other = _best(unit.texts, source), _best(unit.texts, target)
        if one is None or other is None:
            lacking += 1
            continue
        sources.append(unit.texts[one])
        targets.append(unit.texts[other])
        lines.append(unit.line)
    findings = []
    if lacking:
        what = f"without {source} or {target}"
        one, several = f"unit {what} was left out", f"units {what} were left out"
        words = f"{printable(path.name)}: {counted(lacking, one, several)}"
        findings.append(Finding("incomplete", lacking, words, dropped=lacking))
    return Pairs(sources, targets, lines, printable(path.name), findings=tuple(findings))


def _best(texts: dict[str, str], code: str) -> str | None:
    if code in texts:
        return code
    return next((have for have in texts if matches(have, code)), None)
