"""Labels from tables: as given, with every mistake named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError
from shoestring.tasks.images.reading.sources import recognizes
from shoestring.tasks.images.reading.tables import read_csv
from tests.tasks.images.drawn import folder_of, kinds, loaded, save, sizes


def csv_of(folder: Path, rows: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path)
    return str(caught.value)


def listing(folder: Path, split: bool = False) -> str:
    folder_of(folder / "pics", {"all": 24})
    lines = ["path,label,split" if split else "path,label"]
    for i in range(24):
        part = ",val" if i < 4 else ",test" if i < 8 else ",train" if i < 16 else ","
        lines.append(f"pics/all/{i}.png,{'odd' if i % 2 else 'even'}{part if split else ''}")
    return "\n".join(lines)


def test_paths_and_labels(tmp_path: Path) -> None:
    dataset = loaded(csv_of(tmp_path, listing(tmp_path)))
    assert dataset.facts["labels"] == ["even", "odd"]
    assert sizes(dataset) == (22, 2, 0)


def test_a_column_of_splits(tmp_path: Path) -> None:
    assert sizes(loaded(csv_of(tmp_path, listing(tmp_path, split=True)))) == (16, 4, 4)


def test_other_column_names_order_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    folder_of(tmp_path, {"ä b": 6})
    rows = "".join(f'x,"{i % 2}","ä b/{i}.png"\r\n' for i in range(6))
    path = csv_of(tmp_path, b"\xef\xbb\xbf" + f"Other,Class, File_Name\r\n{rows}".encode())
    assert sizes(loaded(path)) == (4, 2, 0)
    assert recognizes(str(path))


def test_absolute_paths(tmp_path: Path) -> None:
    folder_of(tmp_path / "far", {"a": 6})
    rows = "".join(f"{tmp_path}/far/a/{i}.png,{i % 2}\n" for i in range(6))
    (tmp_path / "near").mkdir()
    assert sizes(loaded(csv_of(tmp_path / "near", f"path,label\n{rows}"))) == (4, 2, 0)


def test_a_file_that_is_not_there_is_counted(tmp_path: Path) -> None:
    rows = listing(tmp_path) + "\npics/gone.png,odd\n"
    dataset = loaded(csv_of(tmp_path, rows))
    assert kinds(dataset)["broken"] == 1
    assert "pics/gone.png: No such file" in dataset.findings[0].examples[0]
    (tmp_path / "other").mkdir()
    path = csv_of(tmp_path / "other", "path,label\ngone.png,a\n")
    assert "none of the 1 files" in refused(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "line 1: the first line should name the columns"),
        ("a.png,cat\n", "line 1: the first line should name the columns.*it has: a.png, cat"),
        ("path,label\n", "lists no pictures"),
        ("path,label\na.png,cat\nb.png\n", "line 3: 1 fields where the first line has 2"),
        ("path,label\na.png,cat,dog\n", "line 2: 3 fields"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        ("path,label\na.png,\n", "line 2: the label is empty"),
        ("path,label,split\na.png,cat,later\n", "line 2: 'later' is no split"),
        ('path,label\n\n"a.png,cat\n', "line 3: unexpected end"),
        (b"path,label\na.png,c\xfft\n", "not UTF-8"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, rows: str, words: str) -> None:
    path = csv_of(tmp_path, rows)
    with pytest.raises(DataError, match=f"list.csv.*{words}"):
        loaded(path)


@given(st.binary(max_size=60))
def test_any_table_gives_pictures_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "list.csv"
    for start in (b"", b"path,label\n"):
        path.write_bytes(start + content)
        recognizes(str(path))
        try:
            read_csv(str(path), path)
        except DataError as error:
            assert str(path) in str(error)


def test_metadata_as_hugging_face_has_it(tmp_path: Path) -> None:
    folder_of(tmp_path, {"data": 12})
    rows = "".join(f"data/{i}.png,{i % 3}\n" for i in range(12))
    csv_of(tmp_path, f"file_name,label\n{rows}", "metadata.csv")
    assert recognizes(str(tmp_path))
    assert sizes(loaded(tmp_path)) == (9, 3, 0)


def test_metadata_in_folders_of_splits(tmp_path: Path) -> None:
    number = 0
    for folder, count in (("train", 8), ("validation", 4), ("test", 6)):
        rows = ""
        for i in range(count):
            save(tmp_path / folder / f"{i}.png", number := number + 1)
            rows += f"{i}.png,{i % 2}\n"
        csv_of(tmp_path / folder, f"file_name,label\n{rows}", "metadata.csv")
    assert recognizes(str(tmp_path))
    dataset = loaded(tmp_path)
    assert sizes(dataset) == (8, 4, 6)
    assert dataset.test().names[0] == "test/0.png"


def test_tables_of_something_else_are_not_ours(tmp_path: Path) -> None:
    assert not recognizes(str(csv_of(tmp_path, "source,target\na,b\n")))
    assert not recognizes(str(csv_of(tmp_path, b"\xff\xfe")))
    assert not recognizes(str(tmp_path / "gone.csv"))
