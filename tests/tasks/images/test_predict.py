"""Answers from a bundle: every kind of input, in order, broken ones in their place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.bundle import bundle
from shoestring.core.errors import BundleError
from shoestring.core.protocols import silent
from shoestring.tasks.images import predict as predicting
from shoestring.tasks.images.data import load_for
from shoestring.tasks.images.options import AnswerOptions, ImageOptions
from tests.bundle.making import LABELS, made, pictures

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(made(tmp_path_factory.mktemp("grey") / "bundle"), threads=1)


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    folder = made(tmp_path_factory.mktemp("colour") / "bundle", resize=True, channels=3)
    return bundle.load(folder, threads=1)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def same(one: dict, other: dict) -> bool:
    return {**one, "input": ""} == {**other, "input": ""}


def test_an_answer_has_its_parts(grey: bundle.Bundle) -> None:
    (answer,) = grey.predict(PICTURE)
    assert set(answer) == {"input", "label", "probability", "top", "rejected"}
    assert answer["label"] in LABELS
    assert answer["top"] == [{"label": answer["label"], "probability": answer["probability"]}]
    assert answer["rejected"] is False
    assert isinstance(answer["probability"], float)


def test_every_form_of_one_picture_gives_the_same_answer(
    grey: bundle.Bundle, tmp_path: Path
) -> None:
    encoded = png(PICTURE)
    file = tmp_path / "a picture.png"
    file.write_bytes(encoded)
    (expected,) = grey.predict(PICTURE)
    forms = [
        PICTURE[:, :, None],
        PICTURE[None, :, :, None],
        np.asfortranarray(PICTURE),
        encoded,
        file,
        str(file),
        tmp_path,
        Image.fromarray(PICTURE),
        [PICTURE],
        (one for one in [encoded]),
        np.repeat(PICTURE[:, :, None], 3, axis=2),
    ]
    for form in forms:
        (answer,) = grey.predict(form)
        assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-6)
        assert answer["label"] == expected["label"]
    assert grey.predict(file)[0]["input"] == str(file)
    assert grey.predict([encoded, PICTURE])[1]["input"] == "input 2"


def test_top_lists_labels_from_likely_to_unlikely(grey: bundle.Bundle) -> None:
    (answer,) = grey.predict(PICTURE, AnswerOptions(top=99))
    shares = [one["probability"] for one in answer["top"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert {one["label"] for one in answer["top"]} == set(LABELS)


def test_below_a_confidence_the_answer_is_none(grey: bundle.Bundle) -> None:
    (sure,) = grey.predict(PICTURE, AnswerOptions(reject=0.0))
    (unsure,) = grey.predict(PICTURE, AnswerOptions(reject=1.0))
    assert unsure["label"] == "none"
    assert unsure["rejected"] is True
    assert unsure["top"] == sure["top"]


def test_a_broken_input_stays_in_its_place(grey: bundle.Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(png(PICTURE)[:30])
    (tmp_path / "empty.png").write_bytes(b"")
    given = [
        PICTURE,
        tmp_path / "broken.png",
        str(tmp_path / "absent.png"),
        tmp_path / "empty.png",
        b"not a picture",
        PICTURE.astype(np.float32),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((0, 8), np.uint8),
        7,
        None,
        PICTURE,
    ]
    answers = grey.predict(given)
    assert len(answers) == len(given)
    assert same(answers[0], answers[-1])
    for answer in answers[1:-1]:
        assert set(answer) == {"input", "error"}, answer
        assert not answer["error"].startswith(answer["input"]), answer
    assert answers[2]["input"] == str(tmp_path / "absent.png")
    assert "No such file" in answers[2]["error"]
    assert "0 bytes" in answers[3]["error"]
    assert "float32" in answers[5]["error"]
    assert "8x8x2" in answers[6]["error"]
    assert "a int is not a picture" in answers[8]["error"]


def test_folders_are_read_through_in_natural_order(grey: bundle.Bundle, tmp_path: Path) -> None:
    names = ["10.png", "2.png", "b/1.png", "é ü\n.png", ".hidden.png", "__MACOSX/x.png", "a.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(PICTURE))
    (tmp_path / "b" / "circle").symlink_to(tmp_path)
    found = [answer["input"].removeprefix(f"{tmp_path}/") for answer in grey.predict(tmp_path)]
    assert found == ["2.png", "10.png", "b/1.png", "é ü\\n.png"]


def test_a_folder_without_pictures_is_an_error_in_its_place(
    grey: bundle.Bundle, tmp_path: Path
) -> None:
    (answer,) = grey.predict([tmp_path])
    assert answer == {"input": str(tmp_path), "error": "no picture in this folder"}
    assert grey.predict([]) == []


def test_pictures_of_another_size_and_colour_are_answered(
    grey: bundle.Bundle, colour: bundle.Bundle
) -> None:
    shapes = [(8, 8, 3), (31, 17, 3), (8, 8, 4), (5, 9), (40, 40, 1), (1, 1, 3), (1, 300)]
    given = [RANDOM.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    for opened in (grey, colour):
        together = opened.predict(given)
        alone = [opened.predict(one)[0] for one in given]
        for one, other in zip(together, alone, strict=True):
            assert "error" not in one, one
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_pictures_in_memory_are_read_as_their_files(colour: bundle.Bundle, mode: str) -> None:
    image = Image.new("RGB", (9, 8), (200, 30, 90))
    image = image.convert("L" if mode in ("I;16", "LA") else mode)
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 9), 40_000, np.uint16))
    elif mode == "LA":
        image = image.convert("LA")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    (answer,), (from_file,) = colour.predict(image), colour.predict(buffer.getvalue())
    assert same(answer, from_file)


def test_a_picture_that_cannot_be_stored_is_an_error_in_its_place(colour: bundle.Bundle) -> None:
    (answer,) = colour.predict([Image.new("HSV", (8, 8))])
    assert "mode HSV cannot be read" in answer["error"]


def test_a_turned_picture_is_set_upright(colour: bundle.Bundle) -> None:
    tall = RANDOM.integers(0, 256, (12, 6, 3), dtype=np.uint8)
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(tall)))
    exif = turned.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as in_memory:
        in_memory.load()
        (from_picture,) = colour.predict(in_memory)
    assert same(from_picture, colour.predict(buffer.getvalue())[0])
    assert same(from_picture, colour.predict(tall)[0])


def test_inputs_are_taken_as_they_are_needed(grey: bundle.Bundle) -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield PICTURE

    answers = grey.answers(endless())
    first = [next(answers) for _ in range(200)]
    answers.close()
    assert all("label" in answer for answer in first)
    assert [answer["input"] for answer in first[:3]] == ["input 1", "input 2", "input 3"]
    assert taken < 200 + 2 * 64 + 64


def test_large_pictures_do_not_pile_up(
    colour: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "_PENDING_BYTES", 10_000)
    sizes: list[int] = []
    answered = predicting.ImagePredictor._answered

    def watched(self, waiting, options):
        sizes.append(len(waiting))
        return answered(self, waiting, options)

    monkeypatch.setattr(predicting.ImagePredictor, "_answered", watched)
    large = RANDOM.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert len(colour.predict([large] * 20)) == 20
    assert max(sizes) <= 1


def test_outcomes_hold_every_example_in_its_place(grey: bundle.Bundle) -> None:
    some = pictures(300)
    seen: list[tuple[int, int]] = []
    outcomes = grey.predictor.outcomes(some, lambda what, done, total: seen.append((done, total)))
    for k in (0, 150, 299):
        (answer,) = grey.predict(some.data[k])
        row = outcomes["probabilities"][k]
        assert LABELS[int(row.argmax())] == answer["label"]
        assert float(row.max()) == pytest.approx(answer["probability"], abs=1e-5)
    answers = outcomes["probabilities"].argmax(axis=1)
    assert outcomes["right"].dtype == np.bool_
    assert np.array_equal(outcomes["right"], answers == outcomes["labels"])
    assert seen[0] == (0, 300)
    assert seen[-1] == (300, 300)


def test_evaluate_grades_a_picture_of_another_size_on_the_answer_that_predict_gives(
    grey: bundle.Bundle, tmp_path: Path
) -> None:
    for number, (label, shape) in enumerate(zip(LABELS, [(8, 8), (31, 17), (5, 9)], strict=True)):
        (tmp_path / label).mkdir()
        picture = RANDOM.integers(0, 256, (*shape, 3) if number == 1 else shape, dtype=np.uint8)
        (tmp_path / label / "1.png").write_bytes(png(picture))
    graded = load_for(str(tmp_path), grey.predictor.facts, ImageOptions(), silent)
    probabilities = grey.predictor.outcomes(graded, silent)["probabilities"]
    assert len(probabilities) == 3
    for name, row in zip(graded.names, probabilities, strict=True):
        (answer,) = grey.predict(tmp_path / name)
        assert answer["label"] == LABELS[int(row.argmax())]
        assert answer["probability"] == pytest.approx(float(row.max()), abs=1e-6)


def test_golden_vectors_take_the_inputs_of_an_older_bundle(grey: bundle.Bundle) -> None:
    inputs, outputs = grey.predictor.golden()
    again, same_outputs = grey.predictor.golden(inputs)
    assert again is inputs
    assert all(np.array_equal(outputs[name], same_outputs[name]) for name in outputs)
    assert inputs["fitting"].dtype == np.uint8
    with pytest.raises(BundleError, match=r"golden input 'a' is not uint8"):
        grey.predictor.golden({"a": np.zeros((1, 8, 8, 1))})


def test_what_is_timed_answers(grey: bundle.Bundle, colour: bundle.Bundle) -> None:
    for opened in (grey, colour):
        timed = opened.predictor.latency_inputs()
        for name in ("model", "file"):
            (answer,) = timed[name]()
            assert "label" in answer
        assert len(timed["batch"]()) > 1
