"""A data set: every picture read is in a split or in a finding, and splits keep their promises."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoestring.core.errors import DataError, UserError
from shoestring.tasks.images.data import recognizes
from shoestring.tasks.images.reading import inputs, sources
from tests.tasks.images.drawn import (
    folder_of,
    kinds,
    loaded,
    loaded_for,
    noise,
    save,
    sizes,
)


def test_facts(tmp_path: Path) -> None:
    dataset = loaded(folder_of(tmp_path, {"a": 9, "b": 6}))
    pixels = dataset.train.pixels().reshape(-1, 3)
    assert dataset.facts["labels"] == ["a", "b"]
    assert dataset.facts["class_counts"] == np.bincount(dataset.train.labels).tolist()
    assert dataset.facts["mean"] == pytest.approx(pixels.mean(0).tolist(), abs=1e-5)
    assert dataset.facts["std"] == pytest.approx(pixels.std(0).tolist(), abs=1e-5)
    assert dataset.train.labels.dtype == np.int64
    assert dataset.train.hashes.dtype == np.uint64


def test_one_colour_has_a_deviation_of_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.full((20, 8, 8), 7, np.uint8), y=np.arange(20) % 2)
    with pytest.raises(DataError, match="no class has two different pictures"):
        loaded(tmp_path / "x.npz")
    x = np.full((20, 8, 8), 7, np.uint8)
    np.savez(tmp_path / "y.npz", x_train=x, y_train=np.arange(20) % 2, x_val=x + 1, y_val=[0] * 20)
    dataset = loaded(tmp_path / "y.npz")
    assert (dataset.facts["mean"], dataset.facts["std"]) == ([7.0], [1.0])


def test_a_class_with_one_picture_is_trained_on_and_named(tmp_path: Path) -> None:
    dataset = loaded(folder_of(tmp_path, {"a": 10, "b": 1}))
    assert dataset.facts["class_counts"] == [9, 1]
    (finding,) = (f for f in dataset.findings if f.kind == "missing class")
    assert finding.message == "the validation split has no picture of 1 of 2 classes"
    assert finding.examples == ("b",)


def test_classes_of_one_picture_only_leave_nothing_to_validate_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too small to set validation pictures aside"):
        loaded(folder_of(tmp_path, {"a": 1, "b": 1}))


def test_a_class_that_train_lacks_is_an_error_and_one_that_test_lacks_a_finding(
    tmp_path: Path,
) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "test", {"a": 3}, start=50)
    assert kinds(loaded(tmp_path))["missing class"] == 1
    folder_of(tmp_path / "test", {"c": 3}, start=80)
    with pytest.raises(DataError, match="training split has no picture of class 'c'"):
        loaded(tmp_path)


def test_an_empty_class_folder_is_left_out_and_said(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 6, "b": 6, "empty": 0})
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "1.png").write_bytes(b"")
    dataset = loaded(tmp_path)
    assert dataset.facts["labels"] == ["a", "b"]
    (finding,) = (f for f in dataset.findings if f.kind == "empty class")
    assert finding.examples == ("empty", "hollow")


def test_broken_files_are_listed_each_with_its_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "a" / "zero.jpg").write_bytes(b"")
    whole = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "text.gif").write_text("hello")
    dataset = loaded(tmp_path)
    (finding,) = (f for f in dataset.findings if f.kind == "broken")
    assert (finding.count, finding.dropped) == (3, 3)
    names = [line.partition(": ")[0] for line in finding.examples]
    assert names == ["a/cut.png", "a/zero.jpg", "b/text.gif"]
    with pytest.raises(DataError, match=r"3 pictures cannot be read.*a/cut.png.*--on-bad skip"):
        loaded(tmp_path, on_bad="stop")


def test_heic_without_its_package_is_a_finding_with_the_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.tasks.images.reading import pixels

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pixels._heic_formats.cache_clear()
    folder_of(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "a" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (finding,) = (f for f in loaded(tmp_path).findings if f.kind == "broken")
    assert 'pip install "shoestring[heic]"' in finding.examples[0]
    with pytest.raises(DataError, match=r"shoestring\[heic\]"):
        loaded(tmp_path, on_bad="stop")


def test_equal_pictures_never_straddle_a_split_that_is_set_aside(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 20, "b": 20})
    for i in range(20):
        shutil.copy(tmp_path / "a" / f"{i}.png", tmp_path / "a" / f"copy{i}.png")
    dataset = loaded(tmp_path, validation_share=0.3, test_share=0.2)
    parts = [set(e.hashes.tolist()) for e in (dataset.train, dataset.validation, dataset.test())]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert kinds(dataset)["duplicate"] == 20


def test_equal_pictures_under_two_labels_are_said(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 6, "b": 6})
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "b" / "again.png")
    dataset = loaded(tmp_path)
    (finding,) = (f for f in dataset.findings if f.kind == "label conflict")
    assert (finding.count, finding.dropped) == (2, 0)
    assert finding.examples == ("a/0.png", "b/again.png")


def test_training_pictures_that_stand_in_a_given_test_split_are_dropped(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 8, "b": 8})
    folder_of(tmp_path / "val", {"a": 2, "b": 2}, start=40)
    folder_of(tmp_path / "test", {"a": 2, "b": 2}, start=60)
    shutil.copy(tmp_path / "test" / "a" / "0.png", tmp_path / "train" / "b" / "leak.png")
    shutil.copy(tmp_path / "val" / "a" / "0.png", tmp_path / "train" / "a" / "leak.png")
    shutil.copy(tmp_path / "val" / "a" / "1.png", tmp_path / "test" / "a" / "both.png")
    dataset = loaded(tmp_path)
    assert sizes(dataset) == (16, 4, 5)
    first, second = (f for f in dataset.findings if f.kind == "leak")
    assert (first.dropped, first.examples) == (2, ("train/a/leak.png", "train/b/leak.png"))
    assert (second.count, second.dropped) == (1, 0)


def test_near_duplicates_across_splits_are_said_and_kept(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 8, "b": 8}, side=64)
    folder_of(tmp_path / "test", {"a": 4, "b": 4}, start=40, side=64)
    noise(3, 64).save(tmp_path / "test" / "a" / "again.jpg", quality=70)
    for _ in range(2):  # the second time from the cache
        dataset = loaded(tmp_path, validation_share=0.01)
        (finding,) = (f for f in dataset.findings if f.kind == "near duplicate")
        assert (finding.count, finding.dropped) == (1, 0)
        assert finding.examples == ("train/a/3.png ~ test/a/again.jpg (test)",)


def test_a_resized_and_recompressed_copy_of_a_noisy_picture_is_a_near_duplicate(
    tmp_path: Path,
) -> None:
    places = [("train", "a", 0), ("train", "b", 5), ("val", "a", 0), ("val", "b", 20)]
    for split, label, first in [*places, ("test", "a", 30), ("test", "b", 20)]:
        folder = tmp_path / split / label
        folder.mkdir(parents=True)
        for i in range(first, first + 4):
            clean = np.asarray(noise(i, 96), np.float64)
            noisy = clean + np.random.default_rng(i).normal(0, 25, clean.shape)
            pixels = np.clip(noisy, 0, 255).astype(np.uint8)
            side = {"train": 96, "val": 92, "test": 90}[split]
            copy = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
            copy.save(folder / f"{i}.jpg", quality=70)
    found = [f for f in loaded(tmp_path).findings if f.kind == "near duplicate"]
    assert [f.message for f in found] == [
        "4 pictures of train nearly equal one of validation or test; kept",
        "4 pictures of validation nearly equal one of test; kept",
    ]


def test_what_is_said_of_one_picture_agrees_with_it(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 6, "b": 6})
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "a" / "again.png")
    (tmp_path / "b" / "broken.png").write_bytes(b"no")
    said = {f.kind: f.message for f in loaded(tmp_path).findings}
    assert said["duplicate"] == "1 picture repeats another one pixel for pixel"
    assert said["broken"] == "1 picture could not be read and was left out"


def test_unequal_classes_are_said(tmp_path: Path) -> None:
    dataset = loaded(folder_of(tmp_path, {"a": 40, "b": 4}))
    (finding,) = (f for f in dataset.findings if f.kind == "imbalance")
    assert "balanced accuracy" in finding.message
    assert finding.examples == ("a: 36", "b: 3")


def test_a_test_split_is_set_aside_only_from_enough(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (1000, 4, 4), dtype=np.uint8)
    y = np.arange(1000) % 4
    np.savez(tmp_path / "many.npz", x=x, y=y)
    assert sizes(loaded(tmp_path / "many.npz")) == (810, 90, 100)
    assert sizes(loaded(tmp_path / "many.npz", test_share=0)) == (900, 100, 0)
    np.savez(tmp_path / "few.npz", x=x[:999], y=y[:999])
    few = loaded(tmp_path / "few.npz")
    assert few.count("test") == 0
    assert "too few to set one aside" in next(f for f in few.findings if f.kind == "split").message
    with pytest.raises(DataError, match="there is no test split"):
        few.test()
    assert loaded(tmp_path / "few.npz", test_share=0.2).count("test") == 199


def people(root: Path) -> Path:
    """Ten people who each show three signs."""
    for person in range(10):
        for sign in range(3):
            save(root / str(sign) / f"p{person}_{sign}.png", 3 * person + sign)
    return root


def persons(names) -> set[str]:
    return {Path(name).name.partition("_")[0] for name in names}


@pytest.mark.parametrize("rule", [r"(p\d+)_", "groups.csv"])
def test_groups_are_kept_together(tmp_path: Path, rule: str) -> None:
    people(tmp_path)
    rows = [f"{s}/p{p}_{s}.png,{p}" for p in range(10) for s in range(3)]
    (tmp_path / "groups.csv").write_text("path,group\n" + "\n".join(rows))
    seen: set[str] = set()
    for fold in range(5):
        dataset = loaded(tmp_path, group_by=rule, fold=f"{fold}/5", validation_share=0.25)
        parts = [persons(e.names) for e in (dataset.train, dataset.validation, dataset.test())]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 10
        assert np.bincount(dataset.test().labels).tolist() == [2, 2, 2]
        seen |= parts[2]
    assert len(seen) == 10


def test_given_splits_that_share_groups_are_said(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "test", {"a": 3, "b": 3}, start=50)
    dataset = loaded(tmp_path, group_by=r"(\d+).png")
    leaks = [f.message for f in dataset.findings if f.kind == "leak"]
    assert leaks == ["3 groups stand in train and in validation or test as given"]


def test_folds_put_given_splits_together(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "test", {"a": 4, "b": 4}, start=50)
    dataset = loaded(tmp_path, fold="1/2")
    assert dataset.count("test") == 10
    assert any("given splits were set aside" in f.message for f in dataset.findings)
    with pytest.raises(UserError, match="k/n"):
        loaded(tmp_path, fold="2")
    with pytest.raises(DataError, match="leaves nothing for test"):
        loaded(tmp_path, fold="39/40")


def test_fewer_training_pictures_are_nested_and_leave_the_rest_as_it_is(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 30, "b": 20})
    whole = loaded(tmp_path)
    half, tenth = loaded(tmp_path, train_share=0.5), loaded(tmp_path, train_share=0.1)
    assert set(tenth.train.names) < set(half.train.names) < set(whole.train.names)
    assert half.validation.names == whole.validation.names
    five = loaded(tmp_path, per_class=5)
    assert five.facts["class_counts"] == [5, 5]
    assert kinds(five)["left out"] == len(whole.train) - 10
    assert len({d.fingerprint for d in (whole, half, tenth, five)}) == 4


def test_all_that_is_drawn_of_a_source_hangs_on_the_split_seed(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 20})
    folder_of(tmp_path / "val", {"a": 3, "b": 3}, start=50)
    for options in ({"per_class": 5}, {"train_share": 0.5}, {"fold": "0/4"}, {"test_share": 0.3}):
        first, again, other = (loaded(tmp_path, split_seed=s, **options) for s in (0, 0, 1))
        assert first.train.names == again.train.names
        assert first.train.names != other.train.names, options
    findings = loaded(tmp_path, split_seed=3, test_share=0.3).findings
    assert any("as test (split_seed 3, " in f.message for f in findings)


def test_the_fingerprint_hangs_on_contents_and_splits_not_on_paths_or_times(
    tmp_path: Path,
) -> None:
    one = folder_of(tmp_path / "one", {"a": 12, "b": 12})
    shutil.copytree(one, tmp_path / "two", copy_function=shutil.copyfile)
    assert loaded(one).fingerprint == loaded(tmp_path / "two").fingerprint
    assert loaded(one).fingerprint != loaded(one, split_seed=1).fingerprint
    (one / "a").rename(one / "c")
    assert loaded(one).fingerprint != loaded(tmp_path / "two").fingerprint
    save(tmp_path / "two" / "a" / "3.png", 77)
    assert loaded(tmp_path / "two").fingerprint != loaded(one).fingerprint


# what lies in a folder: (class, content, kind of file)
FILES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.sampled_from(["ok"] * 6 + ["zero"])),
    min_size=4,
    max_size=24,
)


@settings(max_examples=60)
@given(
    FILES,
    st.lists(st.sampled_from(["train", "validation", "test"]), min_size=24, max_size=24),
    st.booleans(),
    st.sampled_from([{}, {"per_class": 2}, {"train_share": 0.5}, {"fold": "0/3"}]),
    st.booleans(),
)
def test_everything_read_is_in_a_split_or_in_a_finding(
    tmp_path_factory: pytest.TempPathFactory, files, splits, with_splits, options, grouped
) -> None:
    root = tmp_path_factory.mktemp("any")
    for number, ((label, content, kind), split) in enumerate(zip(files, splits, strict=False)):
        path = root / (split if with_splits else "") / label / f"{number}_{content % 3}.png"
        save(path, content)
        if kind == "zero":
            path.write_bytes(b"")
    if grouped:
        options = {**options, "group_by": r"_(\d).png"}
    try:
        dataset = loaded(root, **options)
    except DataError:
        return  # too little of something: nothing was trained on
    dropped = sum(finding.dropped for finding in dataset.findings)
    assert len(files) == sum(sizes(dataset)) + dropped
    assert len(dataset.train) > 0
    assert len(dataset.validation) > 0
    if not with_splits or "fold" in options:
        held = set(dataset.validation.hashes.tolist())
        assert not held & set(dataset.train.hashes.tolist())


def test_grading_takes_the_bundle_s_labels_and_form(tmp_path: Path) -> None:
    dataset = loaded(folder_of(tmp_path / "d", {"a": 6, "b": 6, "c": 6}, side=20), size=16)
    folder_of(tmp_path / "new", {"c": 3, "a": 2}, start=50, side=33, mode="L")
    examples = loaded_for(tmp_path / "new", dataset)
    assert examples.labels.tolist() == [0, 0, 2, 2, 2]
    assert examples.pixels().shape == (5, 16, 16, 3)
    assert examples.split == "all"
    folder_of(tmp_path / "new", {"z": 1}, start=90, side=33)
    with pytest.raises(DataError, match="label 'z', which the bundle does not know"):
        loaded_for(tmp_path / "new", dataset)


def test_grading_takes_the_split_that_is_named_or_the_last_there_is(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "val", {"a": 2, "b": 2}, start=30)
    dataset = loaded(tmp_path)
    assert loaded_for(tmp_path, dataset).split == "validation"
    with pytest.raises(DataError, match=r"no test split of its own .it has train, validation"):
        loaded_for(f"{tmp_path}:test", dataset)
    folder_of(tmp_path / "test", {"a": 3, "b": 3}, start=50)
    assert loaded_for(tmp_path, dataset).split == "test"
    for words in (f"{tmp_path}:test", tmp_path / "test"):
        assert len(loaded_for(words, dataset)) == 6
    assert len(loaded_for(f"{tmp_path}:dev", dataset)) == 4
    assert len(loaded_for(f"{tmp_path}:train", dataset)) == 12


def test_grading_counts_what_cannot_be_graded(tmp_path: Path) -> None:
    dataset = loaded(folder_of(tmp_path / "d", {"a": 6, "b": 6}))
    folder_of(tmp_path / "new", {"a": 3, "b": 3}, start=50)
    (tmp_path / "new" / "b" / "zero.png").write_bytes(b"")
    examples = loaded_for(tmp_path / "new", dataset)
    assert len(examples) == 6
    assert kinds(examples) == {"broken": 1}
    with pytest.raises(DataError, match="1 picture cannot be read"):
        loaded_for(tmp_path / "new", dataset, on_bad="stop")
    for path in (tmp_path / "new").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="holds no picture that can be read"):
        loaded_for(tmp_path / "new", dataset)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_another_size_is_graded_on_the_pixels_that_predict_answers(
    tmp_path: Path, mode: str
) -> None:
    dataset = loaded(folder_of(tmp_path / "d", {"a": 6, "b": 6}, mode=mode))
    assert dataset.facts["resize"] is False
    height, width = dataset.facts["size"]
    folder_of(tmp_path / "new", {"a": 2, "b": 2}, start=50)
    save(tmp_path / "new" / "a" / "wide.png", 80, side=17, width=40)
    save(tmp_path / "new" / "b" / "dot.png", 81, side=1)
    examples = loaded_for(tmp_path / "new", dataset)
    (finding,) = examples.findings
    assert (finding.kind, finding.count, finding.dropped) == ("other size", 2, 0)
    assert finding.examples == ("a/wide.png: 40 x 17", "b/dot.png: 1 x 1")
    assert len(examples) == 6
    for name, graded in zip(examples.names, examples.pixels(), strict=True):
        picture = inputs.pixels(tmp_path / "new" / name, dataset.facts["channels"])
        if picture.shape[:2] != (height, width):
            picture = inputs.resized(picture, (height, width))
        assert np.array_equal(graded, picture)
    arrays = np.stack([np.asarray(noise(i, 20)) for i in range(4)])
    np.savez(tmp_path / "new.npz", x=arrays, y=np.array(["a", "b"] * 2))
    from_arrays = loaded_for(tmp_path / "new.npz", dataset)
    assert kinds(from_arrays) == {"other size": 4}
    for array, graded in zip(arrays, from_arrays.pixels(), strict=True):
        picture = inputs.pixels(array, dataset.facts["channels"])
        assert np.array_equal(graded, inputs.resized(picture, (height, width)))


def test_a_split_is_no_source_of_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names one split; train on 'mnist'"):
        loaded("mnist:test")


def test_what_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recognizes("mnist")
    assert recognizes("digits:test")
    assert not recognizes("mnits")
    assert not recognizes(str(tmp_path))
    assert not recognizes("a\0b")
    (tmp_path / "x.npz").write_bytes(b"")
    assert recognizes(str(tmp_path / "x.npz"))
    folder_of(tmp_path / "d", {"a": 1})
    assert recognizes(f"{tmp_path / 'd'}:test")
    other = replace(sources.catalog.ENTRIES[0], name="other", task="other task")
    monkeypatch.setattr(sources.catalog, "ENTRIES", (other,))
    assert not recognizes("other")
    with pytest.raises(DataError, match="is data for other task, not images"):
        loaded("other")


def test_reading_the_catalogue_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", x=x, y=np.arange(40) % 2)
    entry = sources.catalog.find("digits")
    assert entry is not None
    own = replace(entry, here=lambda: tmp_path, get=lambda progress: tmp_path)
    monkeypatch.setattr(sources.catalog, "ENTRIES", (own,))
    assert sizes(loaded("digits")) == (36, 4, 0)


def test_loading_needs_no_torch(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 6, "b": 6}, side=20)
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from shoestring.core.protocols import silent\n"
        "from shoestring.tasks.images.data import load, load_for\n"
        "from shoestring.tasks.images.options import ImageOptions\n"
        f"one = load({str(tmp_path)!r}, ImageOptions(size=16), silent)\n"
        f"two = load_for({str(tmp_path)!r}, one.facts, ImageOptions(), silent)\n"
        "print(len(one.train), len(two), one.fingerprint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["10", "12", loaded(tmp_path, size=16).fingerprint]
