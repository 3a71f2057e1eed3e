"""text: lines of a text file, packed or not, as they are meant to be read.

UTF-8 with or without a byte order mark; a line ends at LF or CRLF and nowhere else, so that the
separators that Unicode has beside them cannot put two files out of step.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.data.names import printable
from shoestring.tasks.translation.asked import MOST_LETTERS

MOST_BYTES = 4 << 30  # of one file, unpacked; a few kilobytes of gzip can hold terabytes
_BLOCK = 1 << 20
_SEEN = 20  # lines from which a format is told: the first of them may be broken
_MARK = b"\xef\xbb\xbf"
_PACKED = b"\x1f\x8b"
_BREAK = re.compile(r"\s*[\r\n]\s*")


@dataclass
class Broken:
    """Places of one file that cannot be read, each with its reason, by line from 1."""

    path: Path
    stop: bool  # raise at the first one
    reasons: dict[int, str] = field(default_factory=dict)

    def add(self, line: int, reason: str) -> None:
        """Raises DataError, with file and line, where a broken line is to stop."""
        if self.stop:
            raise DataError(
                f"{printable(str(self.path))}, line {line:,}: {reason}; mend it, or leave such "
                "lines out with --on-bad skip"
            )
        self.reasons.setdefault(line, reason)


def content(path: Path) -> bytes:
    """The bytes of a file of UTF-8 without the mark that may open it. As `unpacked`."""
    whole = unpacked(path).removeprefix(_MARK)
    shown = printable(str(path))
    if whole[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{shown} is UTF-16; save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8"
        )
    if not whole.strip():
        raise DataError(f"{shown} is empty")
    return whole


def unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzip (by its first bytes, not by its name).
    Raises DataError where it is empty, damaged or too large."""
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _PACKED
            file.seek(0)
            if not packed:
                whole = file.read(MOST_BYTES + 1)
            else:
                with gzip.GzipFile(fileobj=file) as archive:
                    blocks, size = [], 0
                    while size <= MOST_BYTES and (block := archive.read(_BLOCK)):
                        blocks.append(block)
                        size += len(block)
                    whole = b"".join(blocks)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror or error}") from error
    if len(whole) > MOST_BYTES:
        raise DataError(f"{shown} holds more than {MOST_BYTES >> 30} GiB; divide it into parts")
    if not whole:
        raise DataError(f"{shown} is empty")
    return whole


def lines(path: Path, broken: Broken) -> list[str]:
    """Every line in normal form C without its end; an unreadable one is empty and in `broken`."""
    whole = content(path).removesuffix(b"\n")
    try:
        text = whole.decode("utf-8")
    except UnicodeDecodeError:
        found = [_decoded(line, i, broken) for i, line in enumerate(whole.split(b"\n"), 1)]
    else:
        found = normal(text.replace("\r\n", "\n").removesuffix("\r")).split("\n")
    if b"\0" in whole:
        for i, line in enumerate(found):
            if "\0" in line:
                broken.add(i + 1, "a NUL byte, which no text has")
                found[i] = ""
    return found


def first_line(path: Path) -> str:
    """The first line of a file, packed or not; empty where it cannot be read as text."""
    return next(iter(first_lines(path, 1)), "")


def first_lines(path: Path, most: int = _SEEN) -> list[str]:
    """Some lines from the beginning of a file, packed or not; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _PACKED
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as content:
                found = [line for _ in range(most) if (line := content.readline(_BLOCK))]
    except (OSError, EOFError, zlib.error):
        return []
    found[:1] = [line.removeprefix(_MARK) for line in found[:1]]
    return [normal(line.decode("utf-8", "replace").rstrip("\r\n")) for line in found]


def normal(text: str) -> str:
    """Normal form C, line by line; quick where the text has it already, as nearly all has. A line
    too long to be taken stays as it is: a run of combining marks takes the square of its length."""
    if text.isascii():
        return text
    if len(text) <= MOST_LETTERS:
        return unicodedata.normalize("NFC", text)
    return "\n".join(
        line if len(line) > MOST_LETTERS else unicodedata.normalize("NFC", line)
        for line in text.split("\n")
    )


def spoiled(text: str) -> str | None:
    """Why a text of a format with escapes is none; None where it is one."""
    if "\0" in text:
        return "a NUL character"
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        return "half of a surrogate pair"
    return None


def one_line(text: str) -> str:
    """A text of a format that allows line breaks, on one line: each of them, with the blanks
    around it, is a space."""
    return normal(_BREAK.sub(" ", text) if "\n" in text or "\r" in text else text)


def _decoded(line: bytes, number: int, broken: Broken) -> str:
    try:
        return normal(line.removesuffix(b"\r").decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = line[error.start]
        broken.add(number, f"no valid UTF-8 (byte 0x{byte:02x} at {error.start + 1})")
        return ""
