"""The captions are found or fetched, and whatever the way, they are the published ones or none."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress, silent
from shoestring.data import cache, catalog, download, multi30k


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world in which the published files are short, and nothing is on this machine."""
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SHOESTRING_DATA", raising=False)
    folder, sums = tmp_path / "data" / "multi30k", {}
    folder.mkdir(parents=True)
    for name in multi30k.FILES:
        content = f"a caption of {name}\n".encode()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(multi30k, "FILES", sums)

    def fetch(url: str, partial: Path, progress: Progress) -> Path:
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / url.removeprefix(multi30k.PUBLISHED), partial)
        return partial

    monkeypatch.setattr(download, "fetch", fetch)
    return folder


def test_files_on_this_machine_are_used_where_they_lie(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert multi30k.here() is None
    monkeypatch.setenv("SHOESTRING_DATA", f"/none:{published.parent}")
    assert multi30k.here() == published
    assert multi30k.get(silent) == published


def test_fetched_files_are_kept(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = multi30k.get(silent)
    assert folder == cache.cache_folder() / multi30k.KEY
    assert {p.name for p in folder.iterdir()} == {
        "manifest.json",
        *(f"{name}.gz" for name in multi30k.FILES),
    }
    monkeypatch.setattr(download, "fetch", None)  # not asked again
    assert multi30k.get(silent) == folder


@pytest.mark.parametrize(
    "content", [gzip.compress(b"another caption\n", mtime=0), b"<html>no</html>"]
)
def test_other_content_is_refused(
    content: bytes, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (published / "val.de.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"could not be fetched.*SHOESTRING_DATA.*val\.de\.gz is n"):
        multi30k.get(silent)
    assert multi30k.here() is None
    monkeypatch.setenv("SHOESTRING_DATA", str(published.parent))
    with pytest.raises(DataError, match=r"val\.de\.gz is n"):
        multi30k.get(silent)


def test_files_are_hashed_once(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOESTRING_DATA", str(published.parent))
    multi30k.get(silent)
    monkeypatch.setattr(multi30k, "_check", None)
    assert multi30k.get(silent) == published


def test_the_licence_is_said() -> None:
    entry = catalog.find("multi30k")
    assert entry is not None
    assert "not for commercial use" in entry.licence
    assert entry.direction == ("en", "de")
