"""Translation memories are read; files that could grow or reach out are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError
from shoestring.tasks.translation.reading import tmx

HEAD = '<?xml version="1.0"?>\n{doctype}<tmx version="1.4">\n<header srclang="{source}"/>\n<body>\n'
END = "</body></tmx>\n"


def unit(*texts: tuple[str, str]) -> str:
    rows = "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in texts)
    return f"<tu>{rows}</tu>\n"


def written(folder: Path, *units: str, source: str = "en", doctype: str = "") -> Path:
    path = folder / "memory.tmx"
    head = HEAD.format(source=source, doctype=doctype)
    path.write_text(head + "".join(units) + END, encoding="utf-8")
    return path


def texts(path: Path, source: str = "en", target: str = "de") -> list[tuple[str, str]]:
    found = tmx.read(path, source, target)
    return list(zip(found.sources, found.targets, strict=True))


def test_units_are_pairs(tmp_path: Path) -> None:
    path = written(
        tmp_path, unit(("en-US", "one"), ("DE", "eins")), unit(("de", "zwei"), ("en", "two"))
    )
    assert texts(path) == [("one", "eins"), ("two", "zwei")]
    assert texts(path, "de", "en") == [("eins", "one"), ("zwei", "two")]
    assert list(tmx.read(path, "en", "de").lines) == [5, 6]


def test_the_language_that_the_file_names_comes_first(tmp_path: Path) -> None:
    pair = unit(("en", "one"), ("de", "eins"))
    assert tmx.languages(written(tmp_path, pair, source="de-DE")) == ["de", "en"]
    assert tmx.languages(written(tmp_path, pair, source="*all*")) == ["en", "de"]


def test_codes_of_other_formats_are_no_text(tmp_path: Path) -> None:
    marked = 'Press <bpt i="1">&lt;b&gt;</bpt>the <hi>red</hi><ept i="1">&lt;/b&gt;</ept>\n'
    marked += "  key<ph/> &amp; go"
    path = written(tmp_path, unit(("en", marked), ("de", "Taste")))
    assert texts(path) == [("Press the red key & go", "Taste")]


def test_units_without_a_language_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path, unit(("en", "one"), ("de", "eins")), unit(("en", "two"), ("fr", "deux"))
    )
    (found,) = tmx.read(path, "en", "de").findings
    assert (found.kind, found.count, found.dropped) == ("incomplete", 1, 1)


def test_packed_and_utf_16_files_are_read(tmp_path: Path) -> None:
    plain = written(tmp_path, unit(("en", "one"), ("de", "fünf")))
    packed = tmp_path / "packed.tmx.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert texts(packed) == [("one", "fünf")]
    plain.write_text(plain.read_text("utf-8"), encoding="utf-16")
    assert texts(plain) == [("one", "fünf")]


def test_a_document_type_without_entities_is_harmless(tmp_path: Path) -> None:
    pair = unit(("en", "one"), ("de", "eins"))
    path = written(tmp_path, pair, doctype='<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n')
    assert texts(path) == [("one", "eins")]


BOMB = (
    '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>\n'
)


@pytest.mark.parametrize(
    "doctype",
    [
        BOMB,
        '<!DOCTYPE tmx [<!ENTITY c SYSTEM "file:///etc/passwd">]>\n',
        '<!DOCTYPE tmx [<!ENTITY % c SYSTEM "http://localhost/evil.dtd"> %c;]>\n',
        '<!DOCTYPE tmx [<!ENTITY c PUBLIC "x" "file:///etc/passwd">]>\n',
        '<!DOCTYPE tmx [<!NOTATION n SYSTEM "n"><!ENTITY c SYSTEM "x" NDATA n>]>\n',
    ],
)
def test_entities_are_refused(doctype: str, tmp_path: Path) -> None:
    path = written(tmp_path, unit(("en", "&c;"), ("de", "x")), doctype=doctype)
    for look in (tmx.languages, lambda p: tmx.read(p, "en", "de")):
        with pytest.raises(
            DataError, match=r"memory\.tmx, line 2: .*files with entities are refused"
        ):
            look(path)


def test_an_entity_that_an_outer_file_would_declare_is_refused(tmp_path: Path) -> None:
    doctype = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    path = written(tmp_path, unit(("en", "&secret;"), ("de", "x")), doctype=doctype)
    with pytest.raises(DataError, match="line 6: the entity 'secret' is not known"):
        tmx.read(path, "en", "de")


def test_what_is_no_xml_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, unit(("en", "one"), ("de", "a < b")))
    with pytest.raises(DataError, match=r"memory\.tmx, line 5: no well-formed XML"):
        tmx.read(path, "en", "de")


@pytest.mark.parametrize("encoding", ["gbk", "klingon", "undefined"])
def test_an_encoding_that_is_not_read_is_refused(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><tmx></tmx>'.encode())
    with pytest.raises(
        DataError, match=r"line 1.*encoding that is not read here; save it as UTF-8"
    ):
        tmx.languages(path)


def test_no_unit_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no translation unit"):
        tmx.read(written(tmp_path), "en", "de")


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, whole: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.tmx"
    path.write_bytes(whole)
    with pytest.raises(DataError):
        tmx.read(path, "en", "de")
