"""Messages of gettext are pairs; what is fuzzy or untranslated is left out and counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.errors import DataError, MissingExtra
from shoestring.tasks.translation.reading import po

HEAD = r"""
msgid ""
msgstr ""
"Language: {language}\n"
"PO-Revision-Date: sometime last year\n"
"Content-Type: text/plain; charset={charset}\n"
"Plural-Forms: {plural}\n"

"""
GERMAN = "nplurals=2; plural=(n != 1);"
RUSSIAN = (
    "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20)"
    " ? 1 : 2);"
)


def written(
    folder: Path,
    body: str,
    *,
    name: str = "messages.po",
    language: str = "de",
    plural: str = GERMAN,
    charset: str = "UTF-8",
) -> Path:
    path = folder / name
    head = HEAD.format(language=language, plural=plural, charset=charset)
    path.write_bytes((head + body).encode(charset))
    return path


def texts(path: Path, *, stop: bool = True) -> list[tuple[str, str]]:
    found = po.read(path, stop)
    return list(zip(found.sources, found.targets, strict=True))


def test_messages_are_pairs(tmp_path: Path) -> None:
    body = 'msgid "Open"\nmsgstr "Öffnen"\n\n'
    body += 'msgctxt "menu"\nmsgid "one\\n"\n"two"\nmsgstr "eins\\nzwei"\n'
    assert texts(written(tmp_path, body)) == [("Open", "Öffnen"), ("one two", "eins zwei")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("en", ("Open", "Öffnen")), ("de", ("Öffnen", "Open")), ("de-AT", ("Öffnen", "Open"))],
)
def test_translations_may_be_what_is_translated_from(
    source: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    found = po.read(written(tmp_path, 'msgid "Open"\nmsgstr "Öffnen"\n'), True, source)
    assert list(zip(found.sources, found.targets, strict=True)) == [expected]


def test_fuzzy_untranslated_and_obsolete_ones_are_left_out(tmp_path: Path) -> None:
    body = (
        'msgid "Open"\nmsgstr "Öffnen"\n\n#, fuzzy\nmsgid "Close"\nmsgstr "Öffnen"\n\n'
        'msgid "Save"\nmsgstr ""\n\n#~ msgid "Old"\n#~ msgstr "Alt"\n'
    )
    path = written(tmp_path, body)
    assert texts(path) == [("Open", "Öffnen")]
    found = {f.kind: (f.count, f.dropped) for f in po.read(path, stop=True).findings}
    assert found == {"fuzzy": (1, 1), "untranslated": (1, 1)}


PLURAL = 'msgid "%d file"\nmsgid_plural "%d files"\n'


@pytest.mark.parametrize(
    ("plural", "forms", "expected"),
    [
        (GERMAN, ["%d Datei", "%d Dateien"], [("%d file", "%d Datei"), ("%d files", "%d Dateien")]),
        ("nplurals=1; plural=0;", ["%d件"], [("%d files", "%d件")]),
        (
            RUSSIAN,
            ["%d файл", "%d файла", "%d файлов"],
            [("%d file", "%d файл"), ("%d files", "%d файла"), ("%d files", "%d файлов")],
        ),
        (
            "nplurals=2; plural=(n == 1);",
            ["viele", "eine"],
            [("%d files", "viele"), ("%d file", "eine")],
        ),
        (GERMAN, ["%d Datei", ""], [("%d file", "%d Datei")]),
        ("nplurals=2; plural=import os;", ["a", "b"], [("%d file", "a"), ("%d files", "b")]),
    ],
)
def test_each_form_of_a_plural_goes_with_its_number(
    plural: str, forms: list[str], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    body = PLURAL + "".join(f'msgstr[{i}] "{form}"\n' for i, form in enumerate(forms))
    assert texts(written(tmp_path, body, plural=plural)) == expected


@pytest.mark.parametrize(
    ("language", "name", "expected"),
    [
        ("de", "messages.po", ["en", "de"]),
        ("pt_BR", "messages.po", ["en", "pt-BR"]),
        ("sr@latin", "messages.po", ["en", "sr"]),
        ("", "de.po", ["en", "de"]),
        ("", "app.fr.po", ["en", "fr"]),
        ("", "messages.po", []),
    ],
)
def test_the_language_is_in_the_header_or_the_name(
    language: str, name: str, expected: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, 'msgid "a"\nmsgstr "b"\n', language=language, name=name)
    assert list(po.languages(path)) == expected


def test_the_language_may_be_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pt_BR" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    path = written(folder, 'msgid "a"\nmsgstr "b"\n', language="")
    assert list(po.languages(path)) == ["en", "pt-BR"]


def test_the_charset_of_the_header_counts(tmp_path: Path) -> None:
    path = written(tmp_path, 'msgid "Open"\nmsgstr "Öffnen"\n', charset="ISO-8859-1")
    assert texts(path) == [("Open", "Öffnen")]


def test_bad_bytes_are_named_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, 'msgid "Open"\nmsgstr "x"\n')
    path.write_bytes(path.read_bytes().replace(b'"x"', b'"\xf6"'))
    with pytest.raises(DataError, match=r"messages\.po, line 10: no valid UTF-8 \(byte 0xf6\)"):
        texts(path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('msgid "a"\nmsgstr "b"\nnonsense "c"\n', "line 11: Unknown or misformatted keyword"),
        ('msgid "a\nmsgstr "b"\n', r"line 9: no string in quotes: 'msgid \"a'"),
        ('msgid "a"\nmsgstr b\n', "line 10: no string in quotes"),
        ('msgid "a"\nmsgstr "b\\"\n', "line 10: no string in quotes"),
        ('msgid "a"\n\nmsgid "b"\nmsgstr "c"\n', "line 9: missing msgstr"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[9] "c"\n', "more translations than num_plurals"),
    ],
)
def test_bad_syntax_is_named_with_its_line(body: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        texts(written(tmp_path, body))


def test_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    body = 'msgid "a\u2028b\x85c\\" d"\r\nmsgstr "e\x0bf"\r\n'
    assert texts(written(tmp_path, body)) == [('a\u2028b\x85c" d', "e\x0bf")]


def test_an_unknown_charset(tmp_path: Path) -> None:
    path = written(tmp_path, 'msgid "a"\nmsgstr "b"\n')
    path.write_bytes(path.read_bytes().replace(b"UTF-8", b"KLINGON"))
    with pytest.raises(DataError, match="the charset 'KLINGON' is not known"):
        texts(path)


def test_a_nul_stops_or_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, 'msgid "a\0"\nmsgstr "b"\n')
    with pytest.raises(DataError, match="a NUL character"):
        texts(path)
    assert texts(path, stop=False) == [("", "")]


def test_without_babel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babel.messages.pofile", None)
    with pytest.raises(MissingExtra, match=r"shoestring\[locales\]"):
        texts(written(tmp_path, 'msgid "a"\nmsgstr "b"\n'))


pieces = st.sampled_from(
    ['msgid "a"\n', 'msgstr "b"\n', 'msgid_plural "c"\n', 'msgstr[0] "d"\n', 'msgstr[x] "d"\n',
     '"more"\n', 'msgctxt "e"\n', "#, fuzzy\n", "#~ msgid\n", "#: a:1\n", "msgid\n", "\n", "\0",
     '"Plural-Forms: nplurals=x\\n"\n', '"Language: ??\\n"\n', 'msgid ""\nmsgstr ""\n', "\x1f"]
)  # fmt: skip


@given(
    st.one_of(
        st.binary(min_size=1, max_size=60), st.lists(pieces).map(lambda p: "".join(p).encode())
    )
)
def test_any_file_is_messages_or_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.po"
    path.write_bytes(whole)
    try:
        po.languages(path)
        found = po.read(path, stop=False)
    except DataError as error:
        assert "any.po" in str(error)
    else:
        assert len(found.sources) == len(found.targets) == len(found.lines)
