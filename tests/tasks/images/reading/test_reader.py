"""One pass over a chunk: pixels, hashes, and what does not fit."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from shoestring.tasks.images.reading import reader
from shoestring.tasks.images.reading.preprocess import Resizer, resize_graph, resized
from tests.tasks.images.drawn import noise, save

PLAN = reader.Plan(16, 16, 3, resize=False)


def test_what_fits_and_what_does_not(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / "a.png", 1),
        save(tmp_path / "b.png", 2, side=20),
        tmp_path / "gone.png",
        save(tmp_path / "grey.png", 3, mode="L"),
    ]
    chunk = reader.read_files([str(p) for p in paths], PLAN, None)
    assert chunk.records["status"].tolist() == [
        reader.READ,
        reader.OTHER_SIZE,
        reader.BROKEN,
        reader.READ,
    ]
    assert chunk.reasons == {2: "No such file or directory"}
    assert np.array_equal(chunk.pixels[0], np.asarray(noise(1)))
    assert not chunk.pixels[1:3].any()
    assert (chunk.records["height"][1], chunk.records["width"][1]) == (20, 20)


def test_what_a_plan_has_resized_by_pillow_fits(tmp_path: Path) -> None:
    plan = reader.Plan(16, 16, 3, resize=False, by_pillow=True)
    paths = [str(save(tmp_path / "a.png", 1)), str(save(tmp_path / "b.png", 2, side=20))]
    chunk = reader.read_files(paths, plan, None)
    assert chunk.records["status"].tolist() == [reader.READ, reader.READ]
    assert np.array_equal(chunk.pixels[0], np.asarray(noise(1)))
    assert np.array_equal(chunk.pixels[1], resized(np.asarray(noise(2, 20)), (16, 16)))
    assert chunk.records["height"].tolist() == [16, 20]  # as decoded


def test_colour_does_not_fit_a_plan_of_strict_grey(tmp_path: Path) -> None:
    strict = reader.Plan(16, 16, 1, resize=False, strict_grey=True)
    path = str(save(tmp_path / "a.png", 1))
    assert reader.read_files([path], strict, None).records["status"].tolist() == [reader.COLOURED]
    forced = reader.Plan(16, 16, 1, resize=False)
    assert reader.read_files([path], forced, None).records["status"].tolist() == [reader.READ]


def test_a_kind_that_is_not_that_of_the_name_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise(1).save(path, "PNG")
    assert reader.read_files([str(path)], PLAN, None).records["foreign"].tolist() == [1]
    noise(1).save(path, "JPEG")
    assert reader.read_files([str(path)], PLAN, None).records["foreign"].tolist() == [0]


def test_files_and_arrays_of_the_same_pixels_are_the_same(tmp_path: Path) -> None:
    paths = [str(save(tmp_path / f"{i}.png", i, side=40)) for i in range(3)]
    arrays = np.stack([np.asarray(noise(i, 40)) for i in range(3)])
    for plan, resizer in (
        (reader.Plan(40, 40, 3, resize=False), None),
        (reader.Plan(40, 40, 1, resize=False), None),
        (reader.Plan(24, 24, 1, resize=True), Resizer(resize_graph((24, 24)))),
    ):
        one, other = (
            reader.read_files(paths, plan, resizer),
            reader.read_arrays(arrays, plan, resizer),
        )
        assert np.array_equal(one.pixels, other.pixels)
        assert one.records.tobytes() == other.records.tobytes()


def test_grey_arrays_become_three_channels_and_others_do_not_fit() -> None:
    grey = np.asarray(noise(1, 16, "L"))[None, :, :, None]
    assert np.array_equal(reader.read_arrays(grey, PLAN, None).pixels, np.repeat(grey, 3, 3))
    other = reader.read_arrays(grey[:, :9], PLAN, None)
    assert other.records["status"].tolist() == [reader.OTHER_SIZE]
    assert not other.pixels.any()


def test_the_hash_is_of_shape_and_pixels() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    one = reader.content_hash(pixels.reshape(2, 6, 1))
    assert one == reader.content_hash(pixels.reshape(2, 6, 1).copy())
    assert one != reader.content_hash(pixels.reshape(6, 2, 1))
    assert one == 12611150712349970657  # on every machine


def looks(*images: Image.Image) -> tuple[list[int], list[int]]:
    arrays = np.stack([np.asarray(i.convert("RGB").resize((64, 64))) for i in images])
    records = reader.read_arrays(arrays, reader.Plan(64, 64, 3, resize=False), None).records
    return records["look"].tolist(), records["lively"].tolist()


def test_a_saved_again_picture_looks_alike_and_another_does_not() -> None:
    image = noise(1, 64)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    (one, again, other), lively = looks(image, Image.open(file), noise(2, 64))
    assert (one ^ again).bit_count() <= 3
    assert (one ^ other).bit_count() > 10
    assert lively == [1, 1, 1]


def test_flat_and_small_pictures_take_no_part() -> None:
    _, lively = looks(Image.new("RGB", (64, 64), (90, 90, 90)))
    assert lively == [0]
    small = np.stack([np.asarray(noise(1, 28))])
    assert reader.read_arrays(small, reader.Plan(28, 28, 3, False), None).records["lively"] == [0]


def run_worker(
    monkeypatch: pytest.MonkeyPatch, folder: Path, paths: list[str], graph: str | None
) -> list[dict[str, object]]:
    """The worker's loop in this process."""
    job = {
        "plan": {"height": 16, "width": 16, "channels": 3, "resize": graph is not None},
        "graph": graph,
        "pixels": str(folder / "pixels"),
        "records": str(folder / "records"),
    }
    lines = [json.dumps(job), json.dumps([0, paths])]
    stdin = SimpleNamespace(buffer=io.BytesIO("".join(f"{line}\n" for line in lines).encode()))
    stdout = SimpleNamespace(buffer=io.BytesIO())
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdout", stdout)
    reader.main()
    return [json.loads(line) for line in stdout.buffer.getvalue().splitlines()]


def test_a_worker_writes_in_place_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(save(tmp_path / "a\n.png", 1, side=20)), str(tmp_path / "b.png")]
    for name in ("pixels", "records"):
        (tmp_path / name).touch()
    (tmp_path / "graph").write_bytes(resize_graph((16, 16)))
    answers = run_worker(monkeypatch, tmp_path, paths, str(tmp_path / "graph"))
    assert answers == [
        {"ready": True},
        {"reasons": {"1": "No such file or directory"}, "statuses": [1, 2]},
    ]
    assert (tmp_path / "pixels").stat().st_size == 2 * 16 * 16 * 3
    assert np.fromfile(tmp_path / "records", reader.RECORD)["status"].tolist() == [1, 2]


def test_a_worker_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pixels").symlink_to("/dev/full")
    (tmp_path / "records").touch()
    paths = [str(save(tmp_path / "a.png", 1))]
    answers = run_worker(monkeypatch, tmp_path, paths, None)
    assert answers[1]["errno"] == 28
