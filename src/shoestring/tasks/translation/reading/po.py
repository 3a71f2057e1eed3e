"""po: a product's own messages from gettext files, read through Babel."""

from __future__ import annotations

import codecs
import gettext
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.core.errors import DataError, MissingExtra
from shoestring.core.receipt import Finding
from shoestring.data.names import counted, printable
from shoestring.tasks.translation.languages import known, matches
from shoestring.tasks.translation.reading.pairs import Pairs
from shoestring.tasks.translation.reading.text import one_line, spoiled, unpacked

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

_SOURCE_LANGUAGE = "en"  # of messages, by custom, where no X-Source-Language says otherwise
_HEADER_BYTES = 1 << 16
_CHARSET = re.compile(rb"charset=([\w.:-]+)")
_FIELD = re.compile(r'^"([A-Za-z-]+):[ \t]*(.*?)\s*(?:\\n)?"\s*$', re.MULTILINE)
_STRING = re.compile(r'\s*(?:\w+(?:\[\d+\])?\s*)?"(?:[^\\]|\\.)*"\s*')
_ENDS = re.compile(r"\r\n?|\n")  # of lines; those of Unicode beside them stand inside of texts
_DATES = re.compile(r'^"(?:POT-Creation|PO-Revision)-Date:.*$', re.MULTILINE)


def languages(path: Path) -> Sequence[str]:
    """The messages' and the translations': by the header, else by the name or its folder."""
    fields = dict(_FIELD.findall(unpacked(path)[:_HEADER_BYTES].decode("utf-8", "replace")))
    one = known(fields.get("X-Source-Language", "")) or _SOURCE_LANGUAGE
    other = known(fields.get("Language", "").partition("@")[0].partition(".")[0])
    if other is None:
        name = path.name.removesuffix(".gz").removesuffix(".po")
        pieces = [*reversed(re.split(r"[.]", name)), *reversed(path.parent.parts[-2:])]
        other = next(filter(None, map(known, pieces)), None)
    return [one, other] if other is not None else []


def read(path: Path, stop: bool, source: str | None = None) -> Pairs:
    """Each message with its translation; of a plural, the form for one with the singular and the
    others with the plural. Fuzzy and untranslated ones are left out and counted. Where `source`
    is the language of the translations, these are the sources."""
    shown = printable(path.name)
    catalog = _catalog(path)
    form_of_one = _form_of_one(catalog)
    sources, targets, lines, broken = [], [], [], dict[int, str]()
    fuzzy = untranslated = 0
    for message in catalog:
        if not message.id:
            continue  # the header
        if message.fuzzy:
            fuzzy += 1
            continue
        found = [(a, b) for a, b in _forms(message, form_of_one) if b]
        untranslated += not found
        line = int(message.lineno or 0)
        for one, other in dict.fromkeys(found):
            reason = spoiled(one) or spoiled(other)
            if reason and stop:
                raise DataError(f"{printable(str(path))}, line {line:,}: {reason}")
            if reason:
                broken[line] = reason
            sources.append("" if reason else one_line(one))
            targets.append("" if reason else one_line(other))
            lines.append(line)
    findings = []
    for kind, count in (("fuzzy", fuzzy), ("untranslated", untranslated)):
        if count:
            one, several = f"{kind} message was left out", f"{kind} messages were left out"
            words = f"{shown}: {counted(count, one, several)}"
            findings.append(Finding(kind, count, words, dropped=count))
    if source is not None and _is_translated_into(path, source):
        sources, targets = targets, sources
    return Pairs(sources, targets, lines, shown, broken, tuple(findings))


def _is_translated_into(path: Path, code: str) -> bool:
    there = languages(path)
    return bool(there) and not matches(there[0], code) and matches(there[1], code)


def _forms(message: Message, form_of_one: int) -> list[tuple[str, str]]:
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    singular, plural = message.id[0], message.id[-1]
    forms = [str(form) for form in message.string or ()]
    if len(forms) == 1:
        return [(plural, forms[0])]  # a language without plurals
    return [(singular if i == form_of_one else plural, form) for i, form in enumerate(forms)]


def _form_of_one(catalog: Catalog) -> int:
    try:
        return gettext.c2py(catalog.plural_expr)(1)
    except (ValueError, ZeroDivisionError):
        return 0


def _catalog(path: Path) -> Catalog:
    try:
        from babel.messages.pofile import PoFileError, read_po
    except ImportError as error:
        raise MissingExtra("babel", "locales", "reading gettext .po files") from error
    text = _text(path)
    try:
        # Dates of the header are of no use here, and one in another form would end the reading.
        lines = _ENDS.split(_DATES.sub('""', text))
        _check(path, lines)
        return read_po(lines, ignore_obsolete=True, abort_invalid=True)
    except PoFileError as error:
        what = str(error).rpartition(" on ")[0]
        raise DataError(f"{printable(str(path))}, line {error.lineno + 1:,}: {what}") from error
    except (ValueError, IndexError, AttributeError, TypeError, AssertionError) as error:
        raise DataError(f"{printable(str(path))} is no gettext file: {error}") from error


def _check(path: Path, lines: Sequence[str]) -> None:
    """Babel takes a string without its quotes for none, and the message would be lost."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#") and not _STRING.fullmatch(line):
            raise DataError(
                f"{printable(str(path))}, line {number:,}: no string in quotes: {line[:40]!r}"
            )


def _text(path: Path) -> str:
    whole = unpacked(path).removeprefix(codecs.BOM_UTF8)
    shown = printable(str(path))
    match = _CHARSET.search(whole[:_HEADER_BYTES])
    charset = match[1].decode("ascii") if match and match[1] != b"CHARSET" else "utf-8"
    try:
        return whole.decode(charset)
    except UnicodeDecodeError as error:
        line = whole.count(b"\n", 0, error.start) + 1
        byte = whole[error.start]
        raise DataError(
            f"{shown}, line {line:,}: no valid {charset} (byte 0x{byte:02x})"
        ) from error
    except (LookupError, UnicodeError) as error:  # the second: "undefined" and its like
        raise DataError(f"{shown}: the charset {charset!r} is not known") from error
