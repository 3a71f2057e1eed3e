"""What a person names is found, with its splits and languages; what is none is said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import silent
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.reading import direction, formats, sources


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\tb\n", encoding="utf-8")
    return folder


def parts(words: Path | str) -> list[tuple[str, str | None, str]]:
    return [(p.name, p.split, p.kind) for p in sources.read(str(words), silent).parts]


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train", "train"),
        ("training", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("dev", "validation"),
        ("dev2010", None),
        ("validation", "validation"),
        ("test", "test"),
        ("test_2016_flickr", "test"),
        ("europarl.train", "train"),
        ("news", None),
        ("contest", None),
    ],
)
def test_splits_are_told_from_names(stem: str, split: str | None, tmp_path: Path) -> None:
    touch(tmp_path, f"{stem}.en", f"{stem}.de")
    assert parts(tmp_path) == [(stem, split, "aligned")]


def test_a_folder_of_aligned_files(tmp_path: Path) -> None:
    touch(tmp_path, "train.en", "train.de", "train.fr", "val.en.gz", "val.de.gz", "README.md")
    touch(tmp_path, "test.en.txt", "test.de.txt", ".hidden.en", "lonely.en", "LICENSE")
    assert parts(tmp_path) == [
        ("test", "test", "aligned"),
        ("train", "train", "aligned"),
        ("val", "validation", "aligned"),
    ]


def test_files_named_by_language_alone(tmp_path: Path) -> None:
    touch(tmp_path, "en.txt", "de.txt")
    assert parts(tmp_path) == [("", None, "aligned")]


def test_other_files_beside_train_are_said_not_to_be_used(tmp_path: Path) -> None:
    touch(tmp_path, "train.tsv", "more.tsv")
    found = sources.read(str(tmp_path), silent)
    assert [p.name for p in found.parts] == ["train"]
    assert [(f.kind, f.examples) for f in found.findings] == [("unused", ("more",))]


@pytest.mark.parametrize("words", ["news", "news.en", "news.de"])
def test_two_files_by_what_they_share_or_by_one(words: str, tmp_path: Path) -> None:
    touch(tmp_path, "news.en", "news.de", "other.en", "other.de", "newspaper.en")
    assert parts(tmp_path / words) == [("news", None, "aligned")]
    assert sources.recognizes(str(tmp_path / words))


def test_any_two_files(tmp_path: Path) -> None:
    touch(tmp_path, "ours", "theirs.text")
    words = f"{tmp_path / 'ours'},{tmp_path / 'theirs.text'}"
    (part,) = sources.read(words, silent).parts
    assert direction.files(part, "en", "de") == (tmp_path / "ours", tmp_path / "theirs.text")
    assert sources.recognizes(words)
    with pytest.raises(DataError, match=r"there is no file .*gone"):
        sources.read(f"{tmp_path / 'ours'},{tmp_path / 'gone'}", silent)


def test_folders_of_locales(tmp_path: Path) -> None:
    touch(tmp_path, "de/LC_MESSAGES/app.po", "fr/LC_MESSAGES/app.po")
    assert [kind for _, _, kind in parts(tmp_path)] == ["po", "po"]


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "a.tmx", "a.po", "a.tsv.gz"])
def test_one_file_of_both_sides(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name)
    assert [name for name, _, _ in parts(tmp_path / name)] == ["a"]


@pytest.mark.parametrize(
    ("name", "broken", "good"),
    [
        ("a.tsv", "house", "house\tHaus"),
        ("a.tsv", "", "house\tHaus"),
        ("a.jsonl", '{"source": ', '{"source": "house", "target": "Haus"}'),
        ("a.jsonl", '{"en": "house"}', '{"en": "house", "de": "Haus"}'),
    ],
)
def test_a_broken_first_line_is_a_line_and_not_another_format(
    name: str, broken: str, good: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(f"{broken}\n{good}\n{good}\n", encoding="utf-8")
    (part,) = sources.read(str(path), silent).parts
    found = formats.read(part.kind, path, "en", "de", stop=False)
    assert (found.sources[1], found.targets[1]) == ("house", "Haus")
    if broken:
        with pytest.raises(DataError, match="line 1"):
            formats.read(part.kind, path, "en", "de", stop=True)


def test_what_is_not_recognized(tmp_path: Path) -> None:
    touch(tmp_path, "one/cat/1.jpg", "two/metadata.jsonl", "two/1.jpg", "three/train.en")
    (tmp_path / "notes.tsv").write_text("no tabs here\n")
    for name in ("one", "two", "three", "notes.tsv", "none", "one/cat/1.jpg"):
        assert not sources.recognizes(str(tmp_path / name)), name
    assert not sources.recognizes("mnist")
    assert not sources.recognizes("mnist:test")
    assert not sources.recognizes("a" * 5_000)
    assert not sources.recognizes("nul\0byte")


@pytest.mark.parametrize(
    "words", ["multi30k", "dates", "dates:untagged", "multi30k:test_2017_mscoco", "dates:test"]
)
def test_the_catalogue_is_recognized(words: str) -> None:
    assert sources.recognizes(words)


def test_what_is_none_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file, folder or catalogue entry .*multi30k, dates"):
        sources.read(str(tmp_path / "none"), silent)
    with pytest.raises(DataError, match="holds no parallel text"):
        sources.read(str(tmp_path), silent)
    touch(tmp_path, "lonely/train.en")
    with pytest.raises(DataError, match=r"but train\.en without the same in another language"):
        sources.read(str(tmp_path / "lonely"), silent)
    with pytest.raises(DataError, match="one file of no known kind"):
        sources.read(str(touch(tmp_path, "a.csv") / "a.csv"), silent)
    with pytest.raises(DataError, match="is data for images"):
        sources.read("mnist", silent)


# --- direction ----------------------------------------------------------------------------------


def chosen(folder: Path, source: str | None = None, target: str | None = None) -> tuple[str, str]:
    found = sources.read(str(folder), silent)
    return direction.chosen(found, found.parts, TranslationOptions(source=source, target=target))


def test_two_languages_have_two_directions(tmp_path: Path) -> None:
    touch(tmp_path, "train.en", "train.de")
    with pytest.raises(DataError, match=r"--source de --target en or --source en --target de"):
        chosen(tmp_path)
    assert chosen(tmp_path, "en") == ("en", "de")
    assert chosen(tmp_path, None, "en") == ("de", "en")
    assert chosen(tmp_path, "de", "en") == ("de", "en")


def test_of_three_languages_two_are_to_be_named(tmp_path: Path) -> None:
    touch(tmp_path, "train.en", "train.de", "train.fr")
    with pytest.raises(DataError, match="has de, en, fr: name the two languages"):
        chosen(tmp_path, "en")
    assert chosen(tmp_path, "en", "fr") == ("en", "fr")
    with pytest.raises(DataError, match="has no 'it', asked for as target; it has de, en, fr"):
        chosen(tmp_path, "en", "it")


def test_a_region_serves_for_its_language(tmp_path: Path) -> None:
    touch(tmp_path, "train.en-GB", "train.pt_BR")
    assert chosen(tmp_path, "en", "pt") == ("en", "pt")
    (part,) = sources.read(str(tmp_path), silent).parts
    assert direction.files(part, "en", "pt") == (tmp_path / "train.en-GB", tmp_path / "train.pt_BR")


def test_a_file_that_says_nothing_needs_both(tmp_path: Path) -> None:
    touch(tmp_path, "pairs.tsv")
    with pytest.raises(DataError, match="does not say which languages it holds: name both"):
        chosen(tmp_path / "pairs.tsv")
    with pytest.raises(DataError, match="does not say"):
        chosen(tmp_path / "pairs.tsv", "en")
    assert chosen(tmp_path / "pairs.tsv", "en", "fi") == ("en", "fi")


def test_columns_say_the_direction(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("de\ten\neins\tone\n")
    assert chosen(tmp_path / "a.tsv") == ("de", "en")
    (tmp_path / "a.tsv").write_text("en\tfr\nonely\tun\n")  # replaced: looked at again
    assert chosen(tmp_path / "a.tsv") == ("en", "fr")
