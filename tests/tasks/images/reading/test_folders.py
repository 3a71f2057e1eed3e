"""Class folders, with and without splits above them, whatever else lies among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import silent
from shoestring.tasks.images.reading import folders, inputs, sources
from shoestring.tasks.images.reading.sources import recognizes
from tests.tasks.images.drawn import folder_of, kinds, loaded, noise, save, sizes


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path)
    return str(caught.value)


def test_labels_come_in_natural_order(tmp_path: Path) -> None:
    folder_of(tmp_path, {"10": 2, "9": 2, "cat": 2, "1": 2})
    assert loaded(tmp_path).facts["labels"] == ["1", "9", "10", "cat"]
    assert recognizes(str(tmp_path))


@pytest.mark.parametrize("words", ["validation", "val", "valid", "dev", "Val"])
def test_splits_by_their_names(tmp_path: Path, words: str) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / words, {"a": 2, "b": 2}, start=50)
    folder_of(tmp_path / "test", {"a": 3, "b": 3}, start=90)
    dataset = loaded(tmp_path)
    assert sizes(dataset) == (12, 4, 6)
    assert dataset.facts["labels"] == ["a", "b"]
    assert dataset.train.names[0] == "train/a/0.png"
    assert recognizes(str(tmp_path))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder_of(tmp_path, {"train": 6, "car": 6})
    assert loaded(tmp_path).facts["labels"] == ["car", "train"]
    folder_of(tmp_path, {"test": 6, "validation": 6}, start=20)
    assert len(loaded(tmp_path).facts["labels"]) == 4


def test_one_split_twice_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "val", {"a": 2})
    folder_of(tmp_path / "valid", {"a": 2})
    folder_of(tmp_path / "train", {"a": 2})
    assert "names a split twice" in refused(tmp_path)


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "val", {"a": 3, "b": 3})
    folder_of(tmp_path / "test", {"a": 3, "b": 3}, start=20)
    assert "has no training split" in refused(tmp_path)


def test_a_folder_beside_the_splits_is_counted_and_left_alone(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 4, "b": 4})
    folder_of(tmp_path / "raw", {"a": 3}, start=20)
    save(tmp_path / "train" / "loose.png", 40)
    (finding,) = (f for f in loaded(tmp_path).findings if f.kind == "other files")
    assert finding.count == 4
    assert finding.examples[-1] == "train/loose.png"


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    assert "is empty" in refused(tmp_path)
    assert not recognizes(str(tmp_path))
    (tmp_path / "a").mkdir()
    assert "no pictures were found in the folders" in refused(tmp_path)
    assert not recognizes(str(tmp_path))
    folder_of(tmp_path, {"a": 3})
    assert "one class only, 'a'" in refused(tmp_path)
    (tmp_path / "b").mkdir()
    assert "one class only, 'a'" in refused(tmp_path)


def test_pictures_in_no_class_folder_are_said(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    save(tmp_path / "2.png", 2)
    assert "2 pictures but no class folders" in refused(tmp_path)


def test_there_is_nothing_of_that_name(tmp_path: Path) -> None:
    assert "there is no file, folder or catalogue entry" in refused(tmp_path / "gone")
    assert "the catalogue has: mnist" in refused("a\0b")
    (tmp_path / "a.txt").write_text("hello")
    assert "single file of no known kind" in refused(tmp_path / "a.txt")


def test_hidden_and_system_files_are_not_there(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 5, "b": 5})
    for name in ("__MACOSX/a/._1.png", ".git/x.png", "a/.hidden.png", "a/._0.png", "a/Thumbs.db"):
        save(tmp_path / "x.png", 99).rename(_made(tmp_path / name))
    dataset = loaded(tmp_path)
    assert sizes(dataset)[0] + sizes(dataset)[1] == 10
    assert "other files" not in kinds(dataset)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_other_files_are_counted_and_left_alone(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "groups.csv").write_text("path,group\n")
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "a" / "README").write_text("hello")
    (tmp_path / "b" / "model.npz").write_bytes(b"PK")
    save(tmp_path / "loose.png", 1)
    dataset = loaded(tmp_path)
    (finding,) = (f for f in dataset.findings if f.kind == "other files")
    assert finding.count == 5
    assert set(finding.examples) == {
        "groups.csv",
        "loose.png",
        "a/notes.txt",
        "a/README",
        "b/model.npz",
    }


def test_pictures_without_an_ending_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 3, "b": 3})
    for i, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")):
        noise(20 + i).save(tmp_path / "a" / f"file{i}.unknown", kind)
    (tmp_path / "a" / "sound").write_bytes(b"RIFF\0\0\0\0WAVE")
    dataset = loaded(tmp_path)
    assert sum(dataset.facts["class_counts"]) + len(dataset.validation) == 12
    assert kinds(dataset)["other files"] == 1


def test_strange_names(tmp_path: Path) -> None:
    strange = [
        "with space.png",
        "new\nline.png",
        "猫.png",
        "\udcff\udcfe.png",
        "a'\"b.png",
        "-x.png",
    ]
    for i, name in enumerate(strange):
        save(tmp_path / "Kätzchen 1" / "x.png", i).rename(tmp_path / "Kätzchen 1" / name)
        save(tmp_path / "b\nc" / f"{i}.png", 50 + i)
    (tmp_path / "b\nc" / "bro\nken\udcff.png").write_bytes(b"")
    dataset = loaded(tmp_path)
    assert sizes(dataset) == (10, 2, 0)
    assert dataset.facts["labels"] == ["Kätzchen 1", "b\nc"]
    (broken,) = (f for f in dataset.findings if f.kind == "broken")
    assert broken.examples == ("b\\nc/bro\\nken\\udcff.png: the file is empty (0 bytes)",)


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 3, "b": 3})
    folder_of(tmp_path / "a", {"deep/deeper": 3}, start=30)
    dataset = loaded(tmp_path)
    assert sum(dataset.facts["class_counts"]) + len(dataset.validation) == 9


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    real = folder_of(tmp_path / "real", {"a": 4, "far": 4})
    data = tmp_path / "data"
    folder_of(data, {"c": 4}, start=60)
    (data / "a").symlink_to(real / "a")
    (data / "b").mkdir()
    for i in range(4):
        (data / "b" / f"{i}.png").symlink_to(real / "far" / f"{i}.png")
    (data / "c" / "round").symlink_to(data / "c")
    (data / "c" / "loop.png").symlink_to(data / "c" / "loop.png")
    (data / "c" / "dangling.png").symlink_to("nowhere.png")
    dataset = loaded(data)
    assert dataset.facts["labels"] == ["a", "b", "c"]
    assert sizes(dataset) == (9, 3, 0)
    assert kinds(dataset)["broken"] == 2


def test_a_link_up_to_a_folder_around_brings_nothing_in(tmp_path: Path) -> None:
    folder_of(tmp_path / "data", {"a": 6, "b": 6})
    (tmp_path / "data" / "b" / "loop").symlink_to("..")
    (tmp_path / "data" / "b" / "further").symlink_to(tmp_path)
    dataset = loaded(tmp_path / "data")
    assert sum(sizes(dataset)) == 12
    assert "label conflict" not in kinds(dataset)
    given = [name for name, _ in inputs.listed(tmp_path / "data" / "b")]
    assert given == [str(tmp_path / "data" / "b" / f"{i}.png") for i in range(6)]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path, {"a": 3, "locked": 3})
    real = os.scandir

    def scan(path: str | Path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(folders.os, "scandir", scan)
    assert "locked cannot be read: Permission denied" in refused(tmp_path)


def test_the_same_files_in_another_place_or_time_have_another_stamp(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", {"a": 2, "b": 2})
    stamp = sources.read(str(one), silent).stamp
    assert stamp == sources.read(str(one), silent).stamp
    stamps = {stamp}
    os.utime(one / "a" / "0.png", (1, 1))
    stamps.add(sources.read(str(one), silent).stamp)
    (one / "a" / "0.png").chmod(0o600)
    stamps.add(sources.read(str(one), silent).stamp)
    (one / "a" / "0.png").rename(one / "a" / "9.png")
    stamps.add(sources.read(str(one), silent).stamp)
    assert len(stamps) == 4
