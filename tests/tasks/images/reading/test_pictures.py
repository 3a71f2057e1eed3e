"""The form that pictures are kept in, and the cache that keeps them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.core.errors import DataError
from shoestring.data import cache
from shoestring.tasks.images.reading import decoders, pictures
from shoestring.tasks.images.reading.pictures import Wish, choose
from shoestring.tasks.images.reading.preprocess import Resizer, resize_graph
from shoestring.tasks.images.reading.reader import Plan
from tests.tasks.images.drawn import folder_of, kinds, loaded, loaded_for, noise, save, sizes


@pytest.mark.parametrize(
    ("sizes", "wish", "height", "width", "resize"),
    [
        ([(28, 28)] * 3, Wish(), 28, 28, False),
        ([(128, 40)] * 3, Wish(), 128, 40, False),
        ([(129, 40)] * 3, Wish(), 40, 40, True),
        ([(100, 100)] * 3, Wish(size=64), 64, 64, True),
        ([(64, 64)] * 3, Wish(size=64), 64, 64, False),
        ([(100, 100), (100, 100), (3024, 3024)], Wish(), 100, 100, True),
        ([(100, 100), (100, 101), (300, 200)], Wish(), 96, 96, True),
        ([(30, 50), (45, 99), (70, 60)], Wish(), 40, 40, True),
        ([(1, 1), (1, 20_000), (3, 3)], Wish(), 16, 16, True),
        ([(480, 640)], Wish(), 96, 96, True),
    ],
)
def test_the_size_is_decided(sizes, wish, height, width, resize) -> None:
    assert choose(sizes, False, wish) == Plan(height, width, 3, resize)


def test_channels_are_one_when_all_is_grey(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 4, "b": 4}, mode="L")
    assert loaded(tmp_path).facts["channels"] == 1
    assert loaded(tmp_path, channels=3).facts["channels"] == 3
    save(tmp_path / "b" / "colour.png", 9)
    assert loaded(tmp_path).facts["channels"] == 3
    assert loaded(tmp_path, channels=1).facts["channels"] == 1


def test_what_a_sample_missed_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, {"a": 20, "b": 20}, mode="L")
    real = pictures._probed
    monkeypatch.setattr(pictures, "_probed", lambda source: ([(16, 16)], True))
    save(tmp_path / "a" / "17.png", 70, side=24)
    dataset = loaded(tmp_path)
    monkeypatch.setattr(pictures, "_probed", real)
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / ".other"))
    again = loaded(tmp_path)
    assert dataset.facts == again.facts
    assert dataset.facts["channels"] == 3
    assert dataset.facts["resize"] is True
    assert dataset.fingerprint == again.fingerprint


def test_large_sets_are_probed_where_odd_ones_hide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_PROBES", 5)
    folder_of(tmp_path, {"a": 50, "b": 50})
    save(tmp_path / "a" / "33.png", 7, side=60)
    probed = []
    real = pictures.pixels.probe

    def probe(path: str):
        probed.append(path)
        return real(path)

    monkeypatch.setattr(pictures.pixels, "probe", probe)
    assert loaded(tmp_path).facts["resize"] is True
    assert len(probed) < 100


def test_cached_pixels_are_what_the_shipped_graph_makes(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 4, "b": 4}, side=40)
    save(tmp_path / "a" / "wide.png", 50, side=30, width=50)
    dataset = loaded(tmp_path, size=24)
    resizer = Resizer(resize_graph((24, 24)))
    for i, name in enumerate(dataset.train.names):
        with Image.open(tmp_path / name) as image:
            raw = np.asarray(image)[None]
        assert np.array_equal(dataset.train.pixels()[i], resizer(raw)[0])
        assert np.array_equal(resizer(dataset.train.pixels()[i : i + 1])[0], resizer(raw)[0])


def test_odd_shapes_are_brought_to_size(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 4, "b": 4}, side=40)
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "a" / "dot.png")
    Image.new("RGB", (20_000, 1), (9, 9, 9)).save(tmp_path / "a" / "line.png")
    dataset = loaded(tmp_path)
    assert dataset.facts["size"] == [40, 40]
    assert "broken" not in kinds(dataset)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    real = pictures._fill

    def fill(*arguments: object) -> None:
        reads.append(1)
        real(*arguments)

    monkeypatch.setattr(pictures, "_fill", fill)
    return reads


def test_pictures_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    folder_of(tmp_path / "d", {"a": 6, "b": 6})
    one = loaded(tmp_path / "d")
    assert (loaded(tmp_path / "d").fingerprint, len(reads)) == (one.fingerprint, 1)
    loaded(tmp_path / "d", split_seed=4, validation_share=0.5, per_class=2)
    loaded_for(tmp_path / "d", one)
    assert len(reads) == 1
    loaded(tmp_path / "d", size=8)
    assert len(reads) == 2
    os.utime(tmp_path / "d" / "a" / "0.png", (1, 1))
    assert (loaded(tmp_path / "d").fingerprint, len(reads)) == (one.fingerprint, 3)


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))
    reads = count_reads(monkeypatch)
    folder_of(tmp_path / "d", {"a": 6, "b": 6})
    one = loaded(tmp_path / "d")
    pixels = one.train.pixels().copy()
    for name in ("pixels", "records", "meta.json"):
        (file,) = (tmp_path / "cache" / "images").glob(f"*/{name}")
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(bytes(10) + content[10:])
        assert np.array_equal(loaded(tmp_path / "d").train.pixels(), pixels)
    assert len(reads) == 4


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))
    folder_of(tmp_path / "d", {"a": 6, "b": 6})
    create = decoders.create

    def on_a_full_disk(folder: Path, count: int, plan: Plan) -> None:
        create(folder, count, plan)
        (folder / "pixels").unlink()
        (folder / "pixels").symlink_to("/dev/full")

    monkeypatch.setattr(decoders, "create", on_a_full_disk)
    with pytest.raises(DataError, match="disk is full"):
        loaded(tmp_path / "d")
    assert list((tmp_path / "cache").rglob("*")) == [tmp_path / "cache" / "images"]


def test_an_unsound_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, {"a": 2, "b": 2})
    monkeypatch.setattr(cache, "existing", lambda key: None)
    with pytest.raises(DataError, match="cannot be read back"):
        loaded(tmp_path)


def test_only_broken_pictures_are_an_error_with_a_reason(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 2 pictures .* the first is a/1.png: .*empty"):
        loaded(tmp_path)


def test_progress_is_told(tmp_path: Path) -> None:
    from shoestring.tasks.images.data import load
    from shoestring.tasks.images.options import ImageOptions

    folder_of(tmp_path, {"a": 20, "b": 20})
    seen: list[tuple[str, int, int]] = []
    load(str(tmp_path), ImageOptions(), lambda *what: seen.append(what))
    assert seen[0] == ("reading pictures", 0, 40)
    assert seen[-1] == ("reading pictures", 40, 40)


def test_jpeg_and_png_of_one_set_mix(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 5, "b": 5})
    file = io.BytesIO()
    noise(40).save(file, "JPEG")
    (tmp_path / "a" / "x.jpg").write_bytes(file.getvalue())
    (tmp_path / "a" / "y.jpg").write_bytes((tmp_path / "b" / "0.png").read_bytes())
    dataset = loaded(tmp_path)
    assert kinds(dataset)["misnamed"] == 1
    assert sum(sizes(dataset)) == 12
