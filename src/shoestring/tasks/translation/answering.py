"""answering: what a person may say of answers, where sentences come from, and how one is shown."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shoestring.core.errors import DataError, UserError
from shoestring.core.receipt import Plain
from shoestring.data.names import printable

MOST_BEAM = 64
STANDARD_INPUT = "-"
MOST_BYTES = 1 << 20  # of a line, which no network takes; the rest of a longer one is not kept
MOST_WAITING = 1 << 22  # bytes of lines that are handed on together
_LINE = str.maketrans("\t\n\r", "   ")  # what would divide columns or lines of output


@dataclass(frozen=True)
class AnswerOptions:
    beam: int | None = None  # hypotheses kept at each step, 1 is greedy; None: as the bundle says
    nbest: int = 1  # translations an answer lists, best first, in columns
    scores: bool = False  # a column with the score after each translation
    attention: str | None = None  # PNG file for a picture of the first translation's attention
    length_penalty: float | None = None  # of long translations, 0 is none; None: as the bundle says
    coverage: float | None = None  # penalty of words left out; None: as the bundle says
    no_repeat: int | None = None  # no run of so many pieces twice, 0: any; None: as the bundle says
    max_length: int | None = None  # pieces of a translation; None: from the source's length

    def __post_init__(self) -> None:
        if self.beam is not None and not 1 <= self.beam <= MOST_BEAM:
            raise UserError(
                f"beam is a number of hypotheses from 1 to {MOST_BEAM}, not {self.beam}"
            )
        if not 1 <= self.nbest <= MOST_BEAM:
            raise UserError(
                f"nbest is a number of translations from 1 to {MOST_BEAM}, not {self.nbest}"
            )
        if self.beam is not None and self.nbest > self.beam:
            raise UserError(
                f"nbest {self.nbest} is more than the beam of {self.beam} finds; "
                f"give --beam {self.nbest}, or a smaller nbest"
            )
        if self.attention is not None and Path(self.attention).suffix.lower() != ".png":
            raise UserError(f"attention is a file name that ends in .png, not {self.attention!r}")
        for name in ("length_penalty", "coverage"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 10:
                raise UserError(f"{name} is a number from 0 to 10, not {value}")
        if self.no_repeat is not None and (self.no_repeat < 0 or self.no_repeat == 1):
            raise UserError(f"no_repeat is 0 (no guard) or from 2 pieces, not {self.no_repeat}")
        if self.max_length is not None and self.max_length < 1:
            raise UserError(f"max_length is a number of pieces from 1, not {self.max_length}")


@dataclass(frozen=True)
class Unreadable:
    """A line that holds no text. It keeps its place among the answers, as an error."""

    error: str


class Lines:
    """Sentences, one a line, in order, from files or standard input; read as they are asked for.

    A line ends at LF or CRLF and nowhere else, so that every line of input has its line of
    output. Bytes that are no UTF-8 make their line `Unreadable`.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [*words] or [STANDARD_INPUT]
        for word in self._words:
            if word != STANDARD_INPUT and not _is_text(word) and not _is_file(word):
                folder = os.path.isdir(word)
                what = f"{word!r} is a folder" if folder else f"there is no file {word!r}"
                raise DataError(
                    f"{what}; a file is translated line by line, and so is "
                    "standard input: echo 'a sentence' | shoestring predict BUNDLE"
                )

    def __iter__(self) -> Iterator[str | Unreadable]:
        for group in self.groups(1):
            yield from group

    def groups(self, most: int) -> Iterator[list[str | Unreadable]]:
        """The same in lists of 1 to `most` lines. What a pipe or a keyboard has given so far is
        not kept waiting for lines that have not come."""
        for word in self._words:
            if word == STANDARD_INPUT:
                yield from _groups(sys.stdin.buffer, "standard input", most)
            elif _is_file(word):
                yield from _of_file(word, most)
            else:
                yield [word]


def _of_file(name: str, most: int) -> Iterator[list[str | Unreadable]]:
    try:
        with open(name, "rb") as file:
            yield from _groups(file, printable(name), most)
    except OSError as error:
        raise DataError(f"{name!r} cannot be read: {error.strerror or error}") from error


def _is_file(word: str) -> bool:
    """Pipes and devices are files, too: <(a command) is one."""
    return os.path.exists(word) and not os.path.isdir(word)


def _is_text(word: str) -> bool:
    """Whether a word on the command line can only be a sentence: it has blanks and is no file."""
    return any(letter.isspace() for letter in word.strip()) and not os.path.exists(word)


def _groups(stream: BinaryIO, name: str, most: int) -> Iterator[list[str | Unreadable]]:
    waiting: list[str | Unreadable] = []
    rest, number, size = b"", 0, 0
    read = getattr(stream, "read1", stream.read)  # what is there, at least a byte
    while chunk := read(1 << 16):
        first, *others = chunk.split(b"\n")
        rest = (rest + first)[: MOST_BYTES + 1]
        lines = [rest, *others]
        rest = lines.pop()
        for line in lines:
            number += 1
            waiting.append(_text(line, name, number))
            size += len(line)
            if len(waiting) == most or size > MOST_WAITING:
                yield waiting
                waiting, size = [], 0
        if waiting and not _more_is_there(stream):
            yield waiting
            waiting, size = [], 0
    if rest:
        waiting.append(_text(rest, name, number + 1))
    if waiting:
        yield waiting


def _more_is_there(stream: BinaryIO) -> bool:
    """Whether a read would return at once. Files always have more, or their end."""
    try:
        return bool(select.select([stream.fileno()], [], [], 0)[0])
    except (OSError, ValueError):  # no file of the system's, or a system that cannot tell
        return isinstance(stream, io.BytesIO)


def _text(line: bytes, name: str, number: int) -> str | Unreadable:
    if len(line) > MOST_BYTES:
        return Unreadable(
            f"line {number:,} of {name} is longer than {MOST_BYTES:,} bytes; give a sentence a line"
        )
    line = line.removesuffix(b"\r")
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        return Unreadable(
            f"line {number:,} of {name} is not UTF-8 (byte 0x{byte:02x} at {error.start + 1})"
        )


def rendered(answer: Plain) -> str:
    """One line of an answer: the translation, or the n-best ones, each with its score where scores
    were asked for, in columns divided by tabs. Nothing is answered with an empty line, and
    so is an unreadable one: every line of output stands beside its input."""
    if "error" in answer or not any(found["text"] for found in answer["translations"]):
        return ""
    columns: list[str] = []
    for found in answer["translations"]:
        columns.append(found["text"].translate(_LINE))
        if "score" in found:
            columns.append(f"{found['score']:.4f}")
    return "\t".join(columns)
