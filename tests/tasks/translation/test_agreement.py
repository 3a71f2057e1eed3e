"""Graphs are compared with their network before they ship."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from shoestring.core.errors import BundleError
from shoestring.tasks.translation.agreement import agreement
from shoestring.tasks.translation.steps import GraphSteps
from tests.tasks.translation.shipping import examples, made, model


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_graph_agrees_with_the_network_it_was_made_from(kind: str, tmp_path: Path) -> None:
    opened = made(tmp_path, kind)
    said = agreement(model(kind), opened.predictor, examples())
    assert said.startswith("the graphs agree with the float32 network on 40 validation pairs")
    assert "40 greedy translations the same" in said
    changed = deepcopy(model(kind))
    with torch.no_grad():
        changed.output.weight *= 1.01
    with pytest.raises(BundleError, match=r"disagree with their network on 40 validation pairs"):
        agreement(changed, opened.predictor, examples())


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_int8_graphs_have_to_follow_their_network(kind: str, tmp_path: Path) -> None:
    opened = made(tmp_path, kind, {"method": "dynamic"})
    said = agreement(model(kind), opened.predictor, examples())
    assert said.startswith("the int8 graphs follow the float32 network on 40 validation pairs")
    with pytest.raises(BundleError, match=r"disagree .*nats a piece on average"):
        agreement(model(kind, seed=1), opened.predictor, examples())


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    opened, broken = made(tmp_path), deepcopy(model())
    with torch.no_grad():
        broken.output.bias[7] = float("nan")
    with pytest.raises(BundleError, match=r"disagree"):
        agreement(broken, opened.predictor, examples())


def test_there_has_to_be_something_to_compare_on(tmp_path: Path) -> None:
    opened = made(tmp_path)
    nothing = examples(1)
    nothing.hashes = nothing.hashes[:0]
    with pytest.raises(BundleError, match=r"there is no example to compare"):
        agreement(model(), opened.predictor, nothing)


def test_a_graph_of_whole_sentences_that_says_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = made(tmp_path)
    monkeypatch.setattr(GraphSteps, "whole", lambda _, source, limit: [5] * min(limit, 3))
    with pytest.raises(BundleError, match=r"are translated otherwise alone than step by step"):
        agreement(model(), opened.predictor, examples())
