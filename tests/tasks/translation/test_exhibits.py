"""What is shown of translations: samples with their attention, the worst, score by length."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring.bundle import bundle
from shoestring.core.exhibits import Chart, Passages
from shoestring.core.protocols import silent
from shoestring.tasks.translation.exhibits import MOST_DRAWN, WORST, attention, exhibits
from shoestring.tasks.translation.task import TASK
from tests.tasks.translation import shipping


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return shipping.made(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def outcomes(opened: bundle.Bundle) -> dict[str, np.ndarray]:
    return dict(opened.predictor.outcomes(shipping.examples(), silent))


def test_samples_are_spread_and_drawn_and_the_worst_come_in_order(opened, outcomes) -> None:
    examples = shipping.examples()
    samples, worst, chart = TASK.exhibits(outcomes, shipping.FACTS, examples, opened.predictor)
    assert isinstance(samples, Passages)
    assert samples.passages[0].texts[0] == ("source", examples.sources[0])
    assert samples.passages[-1].texts[2] == ("reference", examples.targets[-1])
    pictures = [one.picture for one in samples.passages if one.picture is not None]
    assert len(pictures) == MOST_DRAWN
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert isinstance(worst, Passages)
    figures = [float(dict(one.texts)["chrF"]) for one in worst.passages]
    assert figures == sorted(figures)
    assert len(figures) == min(WORST, int((~outcomes["right"]).sum())) > 0
    assert isinstance(chart, Chart)


def test_attention_is_told_in_words(opened) -> None:
    picture = attention(opened.predictor, "one red dog", "ein roter Hund")
    assert picture is not None
    assert picture.description.count(" at ") >= 2
    assert "(end) at " in picture.description
    written = picture.description.rpartition(": ")[2].partition("(end) at ")[0]
    words = [part.partition(" at ")[0] for part in written.split(", ")[:-1]]
    assert words == ["ein", "roter", "Hund"]  # those that were graded, not of a search of its own
    assert attention(opened.predictor, " ", "ein") is None
    assert attention(opened.predictor, "one", "") is None


def test_without_the_sentences_the_lengths_are_left(outcomes) -> None:
    (chart,) = exhibits(outcomes, None, None)
    assert isinstance(chart, Chart)
    assert [label for _, label in chart.x_labels] == ["2 (11)", "3 (16)", "4 (13)"]
    assert exhibits({"hashes": np.zeros(0, np.uint64)}, None, None) == ()


def test_many_lengths_are_put_together(outcomes) -> None:
    lengths = outcomes["bleu_lengths"].copy()
    lengths[:, 1] = np.arange(len(lengths)) + 1
    (chart,) = exhibits({**outcomes, "bleu_lengths": lengths}, None, None)
    assert isinstance(chart, Chart)
    assert [label for _, label in chart.x_labels] == [
        "to 10 (10)",
        "11-15 (5)",
        "16-20 (5)",
        "21-30 (10)",
        "over 30 (10)",
    ]
