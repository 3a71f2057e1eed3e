"""An entry of the cache is whole or is not there, whoever writes and whatever happens."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.data import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(key: str, content: bytes) -> Path:
    with cache.writing(key) as folder:
        (folder / "a").write_bytes(content)
    found = cache.existing(key)
    assert found is not None
    return found


def write_and_fail(error: Exception) -> None:
    with cache.writing("room/key") as folder:
        (folder / "a").write_bytes(b"abc")
        raise error


def test_what_was_written_is_found(own_cache: Path) -> None:
    assert cache.existing("room/key") is None
    assert (write("room/key", b"abc") / "a").read_bytes() == b"abc"
    assert [p.name for p in (own_cache / "room").iterdir()] == ["key"]


def test_an_exception_leaves_nothing(own_cache: Path) -> None:
    with pytest.raises(RuntimeError):
        write_and_fail(RuntimeError())
    assert list((own_cache / "room").iterdir()) == []


@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "zeroed"])
def test_damage_is_seen_and_mended(size: int, damage: str) -> None:
    file = write("key", b"x" * size) / "a"
    if damage == "cut":
        file.write_bytes(b"x" * (size - 1))
    elif damage == "changed":
        file.write_bytes(b"y" + b"x" * (size - 1))
    elif damage == "zeroed":
        file.write_bytes(b"x" * (size // 2) + bytes(size - size // 2))
    else:
        file.unlink()
    assert cache.existing("key") is None
    assert (write("key", b"new") / "a").read_bytes() == b"new"


def test_a_broken_or_foreign_manifest_is_no_entry() -> None:
    folder = write("key", b"abc")
    for text in ("", "[]", '{"version": 1, "files": 3}', '{"version": 99, "files": {}}', "nul"):
        (folder / "manifest.json").write_text(text)
        assert cache.existing("key") is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_and_leaves_nothing(own_cache: Path, code: int) -> None:
    with pytest.raises(DataError, match=r"disk is full.*SHOESTRING_CACHE"):
        write_and_fail(OSError(code, os.strerror(code)))
    assert list((own_cache / "room").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    with (
        pytest.raises(DataError, match=r"cannot be written.*SHOESTRING_CACHE"),
        cache.writing("room/key"),
    ):
        raise AssertionError("the block must not run")


def test_the_second_of_two_writers_leaves_the_first_ones_entry(own_cache: Path) -> None:
    with cache.writing("room/key") as folder:
        (folder / "a").write_bytes(b"slow")
        write("room/key", b"fast")
    found = cache.existing("room/key")
    assert found is not None
    assert (found / "a").read_bytes() == b"fast"
    assert [p.name for p in (own_cache / "room").iterdir()] == ["key"]


def _write_many(folder: str, number: int) -> None:
    os.environ["SHOESTRING_CACHE"] = folder
    for i in range(20):
        write(f"room/{i}", bytes([number]) * 1000)


def test_processes_that_write_the_same_entries_at_once(own_cache: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    crew = [spawn.Process(target=_write_many, args=(str(own_cache), n)) for n in (1, 2)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0, 0]
    assert sorted(p.name for p in (own_cache / "room").iterdir()) == sorted(map(str, range(20)))
    assert all(cache.existing(f"room/{i}") is not None for i in range(20))


def test_what_killed_writers_left_is_swept(own_cache: Path) -> None:
    write("room/key", b"abc")
    old, new = own_cache / "room" / ".writing-old", own_cache / "room" / ".writing-new"
    old.mkdir()
    new.mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    write("room/other", b"abc")
    assert not old.exists()
    assert new.exists()


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", "~/here")
    assert cache.cache_folder() == Path("~/here").expanduser()
    monkeypatch.delenv("SHOESTRING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "shoestring"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path("~/.cache/shoestring").expanduser()


def test_the_manifest_names_every_file() -> None:
    folder = write("key", b"abc")
    assert list(json.loads((folder / "manifest.json").read_text())["files"]) == ["a"]
