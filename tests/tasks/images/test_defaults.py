"""What a recipe for pictures is filled in with, where augmentation was left open."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring import plugins
from tests import tiny

USUAL = "augment:shift=0.036,rotation=10.0,scale=0.1,shear=0.1"


def completed(folder: Path, *hooks: str, epochs: float = 20.0, **changes: object) -> list[str]:
    source = tiny.write_npz(folder / "bars.npz", 60)
    run, _ = tiny.prepared(folder, source, hooks=hooks, epochs=epochs, **changes)
    return [words for words in run.recipe.hooks if words.startswith("augment")]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("augment", USUAL),
        ("augment:strength=1.0", USUAL),
        ("augment:strength=0.5", "augment:shift=0.018,rotation=5.0,scale=0.05,shear=0.05"),
        (
            "augment:strength=0.5,scale=0.3,flip=yes",
            "augment:shift=0.018,rotation=5.0,scale=0.3,shear=0.05,flip=yes",
        ),
        ("augment:rotation=30.0", "augment:rotation=30.0"),
        ("augment:policy=trivial,strength=0.5", "augment:policy=trivial,strength=0.5"),
        ("augment:flip=no", "augment:flip=no"),
    ],
)
def test_augment_is_written_out(said: str, found: str, tmp_path: Path) -> None:
    assert completed(tmp_path, said) == [found]
    # What is recorded means the same when it is read again.
    technique = plugins.technique(found)
    assert plugins.technique(plugins.words(technique)) == technique
    assert completed(tmp_path, plugins.words(technique)) == [plugins.words(technique)] or (
        said == "augment:policy=trivial,strength=0.5"
    )


def test_a_short_fit_is_only_shifted(tmp_path: Path) -> None:
    assert completed(tmp_path, epochs=1.0) == ["augment:shift=0.036"]


def test_who_wants_none_gets_none(tmp_path: Path) -> None:
    assert completed(tmp_path, without=("augment",)) == []


def test_nothing_is_ever_flipped_unasked(tmp_path: Path) -> None:
    for epochs in (0.5, 5.0, 100.0):
        (words,) = completed(tmp_path, epochs=epochs)
        assert "flip" not in words
