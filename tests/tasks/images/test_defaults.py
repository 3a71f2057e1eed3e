"""What a recipe for pictures is filled in with, where augmentation was left open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shoestring import plugins
from shoestring.core.plain import to_plain
from shoestring.core.protocols import silent
from shoestring.core.run import Recipe
from shoestring.tasks.images import defaults, pretrained
from shoestring.tasks.images.options import ImageOptions
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


def test_dropout_alone_is_no_choice_of_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small set of photos begins with weights from elsewhere, with `regularize` and without, or
    an ablation of it would compare two networks."""
    monkeypatch.setattr(pretrained, "installed", lambda: True)
    monkeypatch.setattr(defaults, "PHOTO_SIDE", 8)
    source, draws = tmp_path / "photos.npz", np.random.default_rng(0)
    pixels = draws.integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
    np.savez(source, x=pixels, y=np.arange(60) % 2)
    recipe = Recipe("images", str(source), options=to_plain(ImageOptions()), epochs=200.0)
    dataset = plugins.task("images").load(recipe, silent)
    found = [
        defaults.completed(replace(recipe, network=network), dataset, None)
        for network in ({}, {"dropout": 0.3}, {"kind": "compact"})
    ]
    kinds = [recipe.network["kind"] for recipe in found]
    assert kinds == [pretrained.EFFICIENTNET, pretrained.EFFICIENTNET, "compact"]
    assert found[1].network["dropout"] == 0.3
    assert found[0].optimizer == found[1].optimizer == "adamw"
