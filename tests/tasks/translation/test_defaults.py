"""Defaults: what was left open is decided, what was said stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shoestring.core.errors import UserError
from shoestring.core.protocols import Dataset
from shoestring.core.run import Recipe
from shoestring.tasks.translation import defaults
from tests.tasks.translation.test_feed import a_feed


class OneSplit:
    """As far as the defaults ask: a train split."""

    train = a_feed().examples


def completed(**said: Any) -> Recipe:
    dataset: Dataset = OneSplit()  # type: ignore[assignment]  # only its train split is looked at
    return defaults.completed(Recipe("translation", "x", **said), dataset, 60.0)


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_nothing_is_left_open(kind: str) -> None:
    recipe = completed(network={"kind": kind})
    assert recipe.network["kind"] == kind
    assert recipe.learning_rate == defaults.RATES[kind]
    for name in ("optimizer", "weight_decay", "batch_size", "label_smoothing", "schedule"):
        assert getattr(recipe, name) is not None


def test_the_lstm_is_the_default() -> None:
    assert completed().network["kind"] == "lstm"


def test_what_was_said_stays() -> None:
    said: dict[str, Any] = {
        "optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.0, "batch_size": 77,
        "label_smoothing": 0.0, "schedule": "constant",
        "network": {"kind": "lstm", "decoder_units": 64, "dropout": 0.3},
        "hooks": ("average:decay=0.9",),
    }  # fmt: skip
    recipe = completed(**said)
    assert all(getattr(recipe, name) == value for name, value in said.items())


def test_short_fits_take_small_batches() -> None:
    recipe = Recipe("translation", "x", threads=2)
    found = [defaults._batch_size(recipe, 500_000, seconds) for seconds in (20.0, 60.0, 120.0)]
    assert found == sorted(found) and found[0] == defaults.LEAST_BATCH < found[-1]
    assert defaults._batch_size(recipe, 500_000, 600.0) == defaults.BATCH
    assert defaults._batch_size(replace(recipe, epochs=0.3), 500_000, None) < defaults.BATCH
    assert defaults._batch_size(replace(recipe, steps=5), 500_000, 60.0) == defaults.BATCH
    assert defaults._batch_size(recipe, 500_000, None) == defaults.BATCH  # for want of a budget
    both = replace(recipe, epochs=100.0)
    assert defaults._batch_size(both, 500_000, 20.0) == defaults.LEAST_BATCH
    accumulated = replace(recipe, accumulate=8)
    assert defaults._batch_size(accumulated, 500_000, 600.0) < defaults.BATCH
    assert defaults._batch_size(replace(recipe, device="cuda"), 500_000, 20.0) == defaults.BATCH


@pytest.mark.parametrize(
    ("kind", "optimizer"), [("lstm", "adamw"), ("transformer", "muon"), ("marian", "adamw")]
)
def test_each_network_has_its_optimizer(kind: str, optimizer: str) -> None:
    assert completed(network={"kind": kind}).optimizer == optimizer
    assert completed(network={"kind": kind}, optimizer="sgd").optimizer == "sgd"


def test_dropout_follows_the_epochs() -> None:
    shares = [completed(epochs=epochs).network["dropout"] for epochs in (1.0, 8.0, 100.0)]
    assert shares == sorted(set(shares))
    steps = completed(batch_size=128, steps=1).network["dropout"]
    assert steps == shares[0]
    short, long = (
        completed(network={"kind": "transformer"}, epochs=epochs).network["dropout"]
        for epochs in (1.0, 100.0)
    )
    assert 0 < short < long
    assert "dropout" not in completed(network={"kind": "marian"}).network


def test_small_data_get_small_batches() -> None:
    pieces = defaults._target_pieces(OneSplit())  # type: ignore[arg-type]
    assert completed().batch_size == max(128, pieces // 32) < defaults.BATCH


def test_augment_without_options_is_the_usual_one() -> None:
    assert completed(hooks=("augment",)).hooks == ("augment:bpe_dropout=0.1",)
    assert completed(hooks=("augment:word_dropout=0.1",)).hooks == ("augment:word_dropout=0.1",)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("strength=0.5", "bpe_dropout=0.05"),
        ("strength=2.0,swap=0.1", "bpe_dropout=0.2,swap=0.1"),
        ("strength=0.5,bpe_dropout=0.3", "bpe_dropout=0.3"),
    ],
)
def test_a_strength_is_of_the_usual_augmentation(said: str, written: str) -> None:
    assert completed(hooks=(f"augment:{said}",)).hooks == (f"augment:{written}",)


def test_a_strength_of_more_than_everything_is_an_error() -> None:
    with pytest.raises(UserError, match="at most 10"):
        completed(hooks=("augment:strength=11",))
