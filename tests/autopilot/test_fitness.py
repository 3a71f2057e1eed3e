"""Over- and underfitting told apart, and advice that names what there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shoestring import plugins
from shoestring.autopilot import fitness
from shoestring.autopilot.diagnosis import Fitness, Measured, State
from shoestring.core.receipt import Interval
from shoestring.core.run import PlanChange, Recipe, Run


def measured(quality: float, loss: float, examples: int = 1_000) -> Measured:
    return Measured("train", examples, quality, loss)


def gap(value: float, half: float = 0.01) -> Interval:
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("training", "validation", "expected"),
    [
        (measured(1.0, 0.001), measured(0.9, 0.4), "overfitting"),
        (measured(0.62, 1.1), measured(0.6, 1.15), "underfitting"),
        (measured(0.93, 0.2), measured(0.9, 0.3), "balanced"),
        (measured(1.0, 0.01), measured(0.999, 0.02), "solved"),
    ],
)
def test_the_state_is_read_off_both_splits(
    training: Measured, validation: Measured, expected: State
) -> None:
    between = gap(training.quality - validation.quality)
    assert fitness.state_of(training, validation, between, 1.0) == expected


def test_few_errors_of_few_examples_are_not_called_solved() -> None:
    run = a_run()
    poor, good = (replace(measured(q, 0.1), examples=12) for q in (8 / 12, 1.0))
    assert fitness.state_of(measured(1.0, 0.0), poor, gap(0.3), 1.0) == "solved"
    said = fitness._sentence("solved", run, measured(1.0, 0.0), poor)
    assert said.startswith("too few validation examples to say")
    said = fitness._sentence("solved", run, measured(1.0, 0.0), good)
    assert said.startswith("nothing to mend")


def test_a_gap_that_may_be_chance_is_no_overfitting() -> None:
    found = fitness.state_of(measured(0.96, 0.1), measured(0.9, 0.3), gap(0.06, 0.1), 1.0)
    assert found == "balanced"


def test_quality_of_a_hundred_is_measured_by_its_own_perfection() -> None:
    assert fitness.state_of(measured(80, 1.0), measured(35, 2.2), gap(45), 100.0) == "overfitting"
    assert fitness.state_of(measured(20, 3.0), measured(19, 3.1), gap(1), 100.0) == "underfitting"


def test_the_difference_of_two_intervals_is_wider_than_either() -> None:
    found = fitness.difference(Interval(0.9, 0.88, 0.92), Interval(0.8, 0.77, 0.83))
    assert found.value == pytest.approx(0.1)
    assert found.low < 0.1 - 0.03 < 0.1 + 0.03 < found.high


def a_run(*hooks: str, losses: tuple[float, ...] = (1.0, 0.5, 0.4), epoch: float = 12.0) -> Run:
    curve = tuple(
        {"step": i, "epoch": epoch, "train_loss": 0.1, "quality": 0.5, "validation_loss": loss}
        for i, loss in enumerate(losses)
    )
    return Run(Path(), "images", Recipe("images", "photos", hooks=hooks), curve=curve)


def told(state: State) -> Fitness:
    return Fitness(state, "", measured(1, 0), measured(0.9, 1), gap(0.1))


ADVISED = [
    (told("overfitting"), a_run()),
    (told("overfitting"), a_run("augment:shift=0.1", losses=(1.0, 0.4, 0.9))),
    (told("underfitting"), a_run(epoch=0.5)),
    (told("underfitting"), a_run("regularize:l2=1.0")),
    (told("balanced"), a_run()),
]


@pytest.mark.parametrize(("state", "run"), ADVISED)
def test_every_technique_that_is_advised_can_be_said(state: Fitness, run: Run) -> None:
    found = fitness.advice(run, state, 500)
    assert found
    for advice in found:
        option, _, words = advice.words.partition(" ")
        assert option.startswith("--")
        assert advice.why
        if option == "--with":
            plugins.technique(words)


def test_what_is_in_use_is_not_advised_again() -> None:
    first = fitness.advice(a_run(), told("overfitting"), 500)
    assert first[0].words == "--with augment"
    second = fitness.advice(a_run("augment:shift=0.1"), told("overfitting"), 500)
    assert second[0].words != "--with augment"
    assert not any(a.words.startswith("--with transfer") for a in fitness.advice(
        a_run("transfer:start=runs/b"), told("overfitting"), 500
    ))  # fmt: skip


def test_nothing_is_advised_where_nothing_is_to_be_mended() -> None:
    assert fitness.advice(a_run(), told("solved"), 500) == ()


def test_a_rate_that_was_halved_comes_first() -> None:
    run = a_run()
    halved = (PlanChange(0, 9, "as asked"), PlanChange(3, 9, "loss not finite", rate_factor=0.5))
    run = replace(run, recipe=replace(run.recipe, plan=halved))
    assert "rate" in fitness.advice(run, told("solved"), 500)[0].words
