"""Groups come from a pattern or a table, and a picture without one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.errors import DataError, UserError
from shoestring.data.groups import groups_of

NAMES = ["0/anna_1.png", "1/anna_2.png", "1/ben_1.png"]


def table(folder: Path, text: str | bytes) -> str:
    path = folder / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_the_first_group_of_a_pattern_or_its_match() -> None:
    assert groups_of(NAMES, r"/([a-z]+)_", ".") == ["anna", "anna", "ben"]
    assert groups_of(NAMES, r"[a-z]+_", ".") == ["anna_", "anna_", "ben_"]


def test_a_name_that_the_pattern_does_not_find_is_named() -> None:
    with pytest.raises(DataError, match=r"no group in '1/ben_1.png'"):
        groups_of(NAMES, "anna", ".")
    with pytest.raises(DataError, match=r"no group in '1/ben_1.png'"):
        groups_of(NAMES, "(anna)|ben", ".")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="no regular expression"):
        groups_of(NAMES, "(", ".")


def test_a_table_beside_the_data_or_anywhere(tmp_path: Path) -> None:
    path = table(tmp_path, "group,path\na,0/anna_1.png\na,./1/anna_2.png\n\nb,1/ben_1.png\nc,x\n")
    assert groups_of(NAMES, path, "nowhere") == ["a", "a", "b"]
    assert groups_of(NAMES, "groups.csv", str(tmp_path)) == ["a", "a", "b"]


def test_the_first_picture_without_a_line_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, "path,group\n0/anna_1.png,a\n")
    with pytest.raises(
        DataError, match=r"no group for 2 of 3 pictures; the first is '1/anna_2.png'"
    ):
        groups_of(NAMES, path, ".")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1.*path,group"),
        ("file,person\n", "line 1.*path,group"),
        ("path,group\na\n", "line 2: needs a path and a group"),
        ("path,group\na,1\nb,\n", "line 3: needs a path and a group"),
        ("path,group\na,1\na,2\n", "line 3: 'a' was in the group '1' before"),
        ('path,group\n"a,1\n', "cannot be read"),
        (b"path,group\n\xff,1\n", "cannot be read"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=f"groups.csv.*{words}"):
        groups_of(NAMES, table(tmp_path, text), ".")


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"'who.csv': there is no such file"):
        groups_of(NAMES, "who.csv", ".")
