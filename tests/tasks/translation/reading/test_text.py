"""Lines of text files are read as they are meant, and what cannot be read is named by its line."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError
from shoestring.tasks.translation.reading import text
from shoestring.tasks.translation.reading.text import Broken

# Everything that other readers take for the end of a line stays inside it here.
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")
written = st.lists(st.text(letters), min_size=1).filter(lambda ls: "".join(ls).strip())


def read(path: Path, *, stop: bool = True) -> list[str]:
    return text.lines(path, Broken(path, stop))


@given(written, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_lines_come_back_in_any_dress(
    tmp_path_factory: pytest.TempPathFactory,
    some: list[str],
    mark: bool,
    end: str,
    last: bool,
    packed: bool,
) -> None:
    some[0] = some[0].lstrip("\ufeff")
    some[-1] = some[-1] or "."
    whole = (b"\xef\xbb\xbf" if mark else b"") + (end.join(some) + end * last).encode()
    path = tmp_path_factory.getbasetemp() / "lines.en"
    if not whole.strip():
        return
    path.write_bytes(gzip.compress(whole) if packed else whole)
    if whole[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    assert read(path) == [unicodedata.normalize("NFC", line) for line in some]
    assert text.first_line(path) == unicodedata.normalize("NFC", some[0])


@given(st.binary(max_size=200))
def test_any_bytes_are_lines_or_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.en"
    path.write_bytes(whole)
    text.first_line(path)
    try:
        found = read(path, stop=False)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert all("\0" not in line and "\n" not in line for line in found)


def test_invalid_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.de"
    path.write_bytes(b"eins\nzwei\nd\xf6rt\nvier\n")
    with pytest.raises(DataError, match=r"train\.de, line 3: .*UTF-8 \(byte 0xf6 at 2\)"):
        read(path)
    broken = Broken(path, stop=False)
    assert text.lines(path, broken) == ["eins", "zwei", "", "vier"]
    assert list(broken.reasons) == [3]


def test_a_nul_byte_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.de"
    path.write_bytes(b"eins\nzw\0ei\n")
    with pytest.raises(DataError, match="line 2: a NUL byte"):
        read(path)
    broken = Broken(path, stop=False)
    assert text.lines(path, broken) == ["eins", ""]
    assert list(broken.reasons) == [2]


@pytest.mark.parametrize(
    "whole", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\n", gzip.compress(b"", mtime=0)]
)
def test_an_empty_file_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train.en"
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"train\.en is empty"):
        read(path)


def test_utf_16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "train.en"
    path.write_text("one", encoding="utf-16")
    with pytest.raises(DataError, match="is UTF-16; save it as UTF-8"):
        read(path)


@pytest.mark.parametrize("cut", [12, -9])
def test_a_damaged_gzip_file_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "train.en.gz"
    path.write_bytes(gzip.compress(b"one two three\n" * 50)[:cut])
    with pytest.raises(DataError, match="damaged gzip"):
        read(path)


def test_a_small_file_cannot_unpack_to_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MOST_BYTES", 1 << 20)
    path = tmp_path / "train.en.gz"
    path.write_bytes(gzip.compress(b"0" * (5 << 20)))
    with pytest.raises(DataError, match="divide it into parts"):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.en cannot be read"):
        read(tmp_path / "none.en")
    assert text.first_line(tmp_path / "none.en") == ""


def test_a_line_break_is_a_space_and_other_blanks_stay() -> None:
    assert (
        text.one_line("ein\u00a0Hund \n  l\u00e4uft\r\nhier  so")
        == "ein\u00a0Hund l\u00e4uft hier  so"
    )
    assert text.one_line("a  b") == "a  b"


def test_a_line_too_long_to_be_taken_is_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of combining marks takes the square of its length."""
    monkeypatch.setattr(text, "MOST_LETTERS", 10)
    long = "e\u0301" * 8
    assert text.normal(f"e\u0301\n{long}\ne\u0301") == f"\u00e9\n{long}\n\u00e9"
