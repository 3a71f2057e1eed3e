"""Tables and JSON lines hold sentence pairs; what is wrong is named by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError
from shoestring.tasks.translation.reading import formats, moses
from shoestring.tasks.translation.reading.pairs import Pairs


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path, source: str = "en", target: str = "de", *, stop: bool = True) -> Pairs:
    return formats.read(formats.kind_of(path) or "", path, source, target, stop)


def languages(path: Path) -> list[str]:
    return list(formats.languages(formats.kind_of(path) or "", path))


def texts(pairs: Pairs) -> list[tuple[str, str]]:
    return list(zip(pairs.sources, pairs.targets, strict=True))


# --- aligned files ------------------------------------------------------------------------------


def test_files_of_different_length_are_refused_with_both_counts(tmp_path: Path) -> None:
    one = written(tmp_path, "train.en", *["a"] * 1_234)
    other = written(tmp_path, "train.de", *["b"] * 1_233)
    with pytest.raises(DataError, match=r"train\.en has 1,234 lines and .*train\.de has 1,233"):
        moses.read(one, other, stop=True)


def test_a_separator_inside_a_line_ends_no_line(tmp_path: Path) -> None:
    one = written(tmp_path, "train.en", "a\u2028b\x85c\x0bd\re", "f")
    other = written(tmp_path, "train.de", "g", "h")
    assert len(moses.read(one, other, stop=True)) == 2


# --- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.tsv", "en\tde", ["en", "de"]),
        ("a.tsv", "de\tEN\tnote", ["de", "en"]),
        ("a.tsv", '"de"\t"en"', ["de", "en"]),
        ("a.tsv", "source\ttarget", []),
        ("a.tsv", "the dog\tder Hund", []),
        ("news.en-de.tsv", "the dog\tder Hund", ["en", "de"]),
        ("de_en.tsv", "der Hund\tthe dog", ["de", "en"]),
        ("a-b.tsv", "der Hund\tthe dog", []),
        ("news.en-de.tsv", "in\tan", ["en", "de"]),
        ("to_de.tsv", "en\tde", ["en", "de"]),
        ("news.en-de.tsv", "de\ten", ["de", "en"]),
        ("news.en-de.tsv", "source\ttarget", ["en", "de"]),
    ],
)
def test_a_table_says_its_languages(
    name: str, head: str, expected: list[str], tmp_path: Path
) -> None:
    assert languages(written(tmp_path, name, head, "one\teins")) == expected


def test_columns_are_found_by_name_else_in_order(tmp_path: Path) -> None:
    named = written(tmp_path, "a.tsv", "id\tde\ten", "1\teins\tone")
    assert texts(read(written(tmp_path, "b.tsv", "de\ten", "eins\tone"))) == [("one", "eins")]
    assert texts(read(written(tmp_path, "c.tsv", "one\teins\tCC-BY"))) == [("one", "eins")]
    assert texts(read(written(tmp_path, "src.tsv", "src\ttrg", "one\teins"))) == [("one", "eins")]
    late = written(tmp_path, "late.tsv", "id\tsource\ttarget", "1\tone\teins")
    assert texts(read(late)) == [("one", "eins")]
    turned = written(tmp_path, "turned.tsv", "target\tsource", "eins\tone")
    assert texts(read(turned)) == [("one", "eins")]
    numbered = written(tmp_path, "numbered.tsv", "number\tde\ten", "1\teins\tone")
    assert texts(read(numbered)) == [("one", "eins")]
    assert texts(read(named)) == [("one", "eins")]


def test_two_words_that_are_codes_are_a_pair_where_others_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "news.en-de.tsv", "in\tan", "one\teins")
    assert texts(read(path)) == [("in", "an"), ("one", "eins")]
    path = written(tmp_path, "more.en-de.tsv", "source\ttarget", "one\teins")
    assert texts(read(path, "de", "en")) == [("eins", "one")]


def test_a_missing_tab_is_named_with_its_line(tmp_path: Path) -> None:
    lines = [f"one {i}\teins {i}" for i in range(1, 2_000)]
    lines[1_233] = "one 1234 eins 1234"
    path = written(tmp_path, "a.tsv", *lines)
    with pytest.raises(DataError, match=r"a\.tsv, line 1,234: no tab in 'one 1234 eins 1234'"):
        read(path)
    found = read(path, stop=False)
    assert len(found) == 1_999
    assert texts(found)[1_233] == ("", "")
    assert list(found.broken) == [1_234]


def test_a_head_is_counted_as_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", "en\tde", "one\teins", "two")
    with pytest.raises(DataError, match="line 3"):
        read(path)
    assert list(read(path, stop=False).lines) == [2, 3]


def test_packed_tables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.en-de.tsv.gz"
    path.write_bytes(gzip.compress(b"one\teins\r\n"))
    assert languages(path) == ["en", "de"]
    assert texts(read(path)) == [("one", "eins")]


# --- JSON lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ({"en": "one", "de": "eins"}, ["en", "de"]),
        ({"id": 3, "de": "eins", "en": "one"}, ["de", "en"]),
        ({"translation": {"en": "one", "de": "eins"}}, ["en", "de"]),
        ({"source": "one", "target": "eins"}, []),
        ({"src": "one", "tgt": "eins"}, []),
        ({"en_US": "one", "de-AT": "eins", "fr": "un"}, ["en-US", "de-AT", "fr"]),
    ],
)
def test_objects_by_language_or_by_side(
    pair: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, "a.jsonl", json.dumps(pair))
    assert languages(path) == expected
    assert texts(read(path)) == [("one", "eins")]
    assert formats.plausible("jsonl", path)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1, 2]",
        '{"en": "two"}',
        '{"en": 2, "de": "zwei"}',
        '{"en": "two", "de": null}',
        '{"en": "tw\\u0000o", "de": "zwei"}',
        '{"en": "\\ud800", "de": "zwei"}',
        "[" * 100_000,
        '{"en": ' + "9" * 5_000 + ', "de": "x"}',
    ],
)
def test_a_bad_object_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"en": "one", "de": "eins"}', line)
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: "):
        read(path)
    found = read(path, stop=False)
    assert texts(found) == [("one", "eins"), ("", "")]
    assert list(found.broken) == [2]


def test_line_breaks_inside_a_text_become_spaces(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"en": "one\\ntwo", "de": "eins\\r\\nzwei"}')
    assert texts(read(path)) == [("one two", "eins zwei")]


def test_a_language_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"en": "one", "fr": "un"}')
    with pytest.raises(DataError, match="no text of 'de'; the object has en, fr"):
        read(path)


@pytest.mark.parametrize(
    "line", ['{"file_name": "a.jpg", "label": "cat"}', "[]", "x", '{"en": "a"}']
)
def test_other_json_lines_are_no_parallel_text(line: str, tmp_path: Path) -> None:
    assert not formats.plausible("jsonl", written(tmp_path, "metadata.jsonl", line))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    st.sampled_from(["tsv", "jsonl"]),
)
def test_any_text_is_pairs_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_text(content, encoding="utf-8")
    languages(path)
    try:
        found = read(path, stop=False)
    except DataError:
        return
    assert len(found.sources) == len(found.targets) == len(found.lines)
    assert not any("\n" in text for pair in texts(found) for text in pair)
