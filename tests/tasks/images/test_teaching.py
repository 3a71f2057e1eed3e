"""Pictures that a teacher labels, its outputs in a file, and what its bundle thinks of a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shoestring import plugins
from shoestring.__main__ import main
from shoestring.autopilot.train import train
from shoestring.bundle import bundle
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.run import Run
from shoestring.core.teaching import Lesson
from shoestring.engine import seal
from shoestring.tasks.images import answered, teaching, tutoring
from shoestring.tasks.images.data import ImageDataset
from shoestring.tasks.images.feed import ImageFeed
from tests import tiny

TASK = plugins.task("images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("teaching")


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    """Class folders, so that every picture has a name."""
    with np.load(tiny.write_npz(folder / "bars.npz", count=120)) as arrays:
        for number, (picture, label) in enumerate(zip(arrays["x"], arrays["y"], strict=True)):
            place = folder / "bars" / f"bar {label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{number}.png")
    return folder / "bars"


@pytest.fixture(scope="module")
def run(folder: Path, source: Path) -> Run:
    return train(recipe=tiny.recipe(source, steps=20, evaluate_every=10), out=folder / "run")


@pytest.fixture(scope="module")
def dataset(run: Run) -> ImageDataset:
    found = TASK.load(run.recipe, tiny.Quiet().stage)
    assert isinstance(found, ImageDataset)
    return found


def unlabelled(folder: Path, dataset: ImageDataset) -> Path:
    """Fresh pictures, in a folder below as well, one of validation and one that is none."""
    with np.load(tiny.write_npz(folder / "more.npz", count=9, seed=5)) as arrays:
        for number, picture in enumerate(arrays["x"]):
            place = folder / "more" / ("" if number < 6 else "below")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{number}.png")
    known = dataset.validation.take(np.array([0]))[0, :, :, 0]
    Image.fromarray(known).save(folder / "more" / "known.png")
    (folder / "more" / "broken.png").write_bytes(b"no picture")
    return folder / "more"


def test_unlabelled_pictures_stand_behind_the_others_with_the_teacher_s_labels(
    run: Run, dataset: ImageDataset, tmp_path: Path
) -> None:
    lesson = Lesson(
        "t", bundle.load(run.path), train=False, unlabelled=str(unlabelled(tmp_path, dataset))
    )
    learned = TASK.taught(run, lesson, bundle.predictor, Budget())
    (finding,) = learned.findings
    assert finding.count == 9 and finding.dropped == 2
    feed = TASK.feed(dataset.train, dataset.facts, "cpu")
    joined = TASK.learning(feed, learned.key, alone=False)
    assert len(joined) == len(feed) + 9
    batch = joined.batch(torch.arange(len(joined)))
    pixels_BHWC, labels_B = answered.read(learned.key)
    assert torch.equal(batch.targets[-9:], torch.from_numpy(labels_B))
    assert torch.equal(batch.inputs[-9:], torch.from_numpy(np.array(pixels_BHWC)))
    assert torch.equal(batch.inputs[: len(feed)], feed.batch(torch.arange(len(feed))).inputs)
    # Where the pixels stay on disk, the same.
    assert isinstance(feed, ImageFeed)
    mapped = TASK.feed(dataset.train, dataset.facts, "cpu")
    assert isinstance(mapped, ImageFeed)
    mapped._mapped = dataset.train.pixels()
    ids = torch.tensor([len(feed) + 3, 2, len(feed)])
    again = mapped.joined(learned.key).batch(ids)
    assert torch.equal(again.inputs, joined.batch(ids).inputs)
    assert TASK.taught(run, replace(lesson, key=learned.key), bundle.predictor, Budget()).key


def test_a_lesson_is_repeated_as_it_was_recorded(
    run: Run, dataset: ImageDataset, tmp_path: Path
) -> None:
    words = str(unlabelled(tmp_path, dataset))
    lesson = Lesson("runs/t", bundle.load(run.path), train=False, unlabelled=words, key="9-0")
    with pytest.raises(UserError, match="runs/t says something else than when this recipe was"):
        teaching.taught(run, lesson)
    with pytest.raises(DataError, match="are not in the cache any more"):
        answered.read("9-0")


def test_what_pictures_are_trained_on_can_be_taken_without_its_labels(
    run: Run, source: Path
) -> None:
    lesson = Lesson("t", bundle.load(run.path), train=False, unlabelled=str(source))
    (finding,) = teaching.taught(run, lesson).findings
    assert finding.count + (finding.dropped or 0) == 120 and finding.dropped
    empty = source.parent / "nothing"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        teaching.taught(run, replace(lesson, unlabelled=str(empty)))


def test_a_bundle_thinks_what_its_network_thinks(run: Run, dataset: ImageDataset) -> None:
    feed = TASK.feed(dataset.train, dataset.facts, "cpu")
    batch = feed.batch(torch.arange(20))
    batch = replace(batch, inputs=feed.prepare(batch.inputs))
    asked = TASK.tutor(run, bundle.load(run.path), "")
    assert asked is not None
    with torch.no_grad():
        wanted = seal.load_model(run)(batch.inputs).softmax(1)
    torch.testing.assert_close(asked(batch).softmax(1), wanted, atol=1e-4, rtol=0)


def test_pictures_are_normalised_as_the_teacher_wants_them(dataset: ImageDataset) -> None:
    feed = TASK.feed(dataset.train, dataset.facts, "cpu")
    batch = feed.batch(torch.arange(4))
    own = feed.prepare(batch.inputs)
    theirs = {**dataset.facts, "mean": [10.0], "std": [3.0]}
    other = TASK.feed(dataset.train, theirs, "cpu").prepare(batch.inputs)
    torch.testing.assert_close(tutoring.seen(own, dataset.facts, theirs), other)
    assert tutoring.seen(own, dataset.facts, dataset.facts) is own


# --- outputs in a file ---------------------------------------------------------------------------


def outputs(run: Run, source: Path, top: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What predict writes for all pictures of the source."""
    assert main(["predict", str(run.path), str(source), "--top", str(top)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("top", [1, 3])
def test_what_predict_writes_is_a_teacher(
    top: int, run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outputs.tsv"
    file.write_text(outputs(run, source, top, capsys), "utf-8")
    recipe = tiny.recipe(source, steps=4, seed=1)
    made = train(recipe=recipe, techniques=[f"distill:teacher={file}"], out=tmp_path / "s")
    assert any(finding.kind == "outputs" for finding in made.findings)
    assert any("level=word" in line.reason for line in made.receipts)


def test_a_file_says_the_probabilities_of_each_picture(
    run: Run, source: Path, dataset: ImageDataset, tmp_path: Path
) -> None:
    names = dataset.train.names
    rows = [f"/elsewhere/{name}\tbar 1\t0.8\tbar 0\t0.15" for name in names]
    file = tmp_path / "outputs.tsv"
    file.write_text("\n".join(rows), "utf-8")
    learned = teaching.taught(run, Lesson("t", file=file))
    shares = answered.read_shares(learned.key)
    assert shares.shape == (len(names), 3)
    np.testing.assert_allclose(shares[5], [0.15, 0.8, 0.05], atol=1e-6)
    feed = TASK.feed(dataset.train, dataset.facts, "cpu")
    assert TASK.learning(feed, learned.key, alone=False) is feed
    asked = TASK.tutor(run, None, learned.key)
    assert asked is not None
    found = asked(feed.batch(torch.tensor([5, 5])))
    np.testing.assert_allclose(found.exp().numpy(), shares[[5, 5]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[1:], r"has outputs for \d+ of the \d+ pictures to train on; .* none"),
        (lambda rows: ["x.png\tbar 9\t1", *rows], "line 1: the training data have no label 'bar 9"),
        (lambda rows: ["x.png\tbar 1\tmuch", *rows], "line 1: 'much' is no probability"),
        (lambda rows: ["x.png\tbar 1", *rows], "line 1: after the name stand labels"),
        (
            lambda rows: ["x.png\tbar 1\t0.9\tbar 0\t0.9", *rows],
            "line 1: the probabilities come to 1.800",
        ),
    ],
)
def test_a_file_that_does_not_fit_says_where(
    change: object, said: str, run: Run, dataset: ImageDataset, tmp_path: Path
) -> None:
    rows = [f"{name}\tbar 1\t1" for name in dataset.train.names]
    assert callable(change)
    file = tmp_path / "outputs.tsv"
    file.write_text("\n".join(change(rows)), "utf-8")
    with pytest.raises(DataError, match=said):
        teaching.taught(run, Lesson("t", file=file))


# --- teachers that do not fit --------------------------------------------------------------------


def test_a_teacher_of_other_labels_is_refused(run: Run) -> None:
    facts = dict(run.facts)
    labels = list(facts["labels"])
    assert teaching.unlike(facts, run) == ""
    wrong = {
        "does not know 'bar 2'": {"labels": labels[:2]},
        "has 'more' as well .it has 4 labels, the data 3": {"labels": [*labels, "more"]},
        "same labels in another order: number 1 is 'bar 2' and here 'bar 0'": {
            "labels": labels[::-1]
        },
        "reads pictures of channels 3, the student of 1": {"channels": 3},
        "reads pictures of size": {"size": [9, 9]},
    }
    for said, changes in wrong.items():
        with pytest.raises(UserError, match=said):
            teaching.unlike({**facts, **changes}, run)


def test_nobody_from_elsewhere_knows_these_labels(run: Run) -> None:
    with pytest.raises(UserError, match="can be no teacher of pictures"):
        teaching.taught(run, Lesson("efficientnet_lite0"))
    with pytest.raises(UserError, match="a file of outputs answers nothing new"):
        teaching.taught(run, Lesson("f", file=Path("f"), unlabelled="more"))
