from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from shoestring.bundle.session import open_graph
from shoestring.core import voting
from shoestring.core.errors import BundleError, UserError
from shoestring.core.run import Recipe, Run
from shoestring.engine.shrink import thin
from shoestring.tasks.images.ensemble import EnsembleNetwork
from shoestring.tasks.images.feed import prepared
from shoestring.tasks.images.predict import ImagePredictor
from tests import tiny
from tests.tasks.images.drawn import loaded

FACTS: dict[str, Any] = {
    "labels": ["a", "b", "c", "d"],
    "size": [12, 12],
    "channels": 1,
    "resize": False,
    "mean": [100.0],
    "std": [60.0],
}
OPTIONS: list[dict[str, Any]] = [
    {"kind": "compact", "width": 4},
    {"kind": "compact", "width": 6, "depth": 2},
    {"kind": "classic"},
]
NETWORK = EnsembleNetwork()


def architecture(vote: str = "soft", weights: Sequence[float] = (1, 1, 2)) -> Any:
    members = [NETWORK.member(o["kind"]).architecture(o, FACTS) for o in OPTIONS[: len(weights)]]
    return NETWORK.architecture({"vote": vote, "weights": weights, "members": members}, FACTS)


def model(described: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    made = NETWORK.build(described)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if "running" in name:
                tensor.add_(torch.rand_like(tensor))
    return made.eval()


def run(tmp_path: Path, described: Any, quantization: Any = None) -> Run:
    recipe = Recipe("images", "photos")
    return Run(tmp_path, "images", recipe, described, quantization or {}, FACTS)


def pixels(count: int = 16) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 12, 12, 1), dtype=np.uint8)


@pytest.mark.parametrize("vote", voting.VOTES)
def test_the_graph_answers_as_the_network(vote: str, tmp_path: Path) -> None:
    described = architecture(vote)
    made = model(described)
    graph = NETWORK.graphs(made, run(tmp_path, described))["model.onnx"]
    with torch.no_grad():
        expected = made(prepared(torch.from_numpy(pixels()), FACTS)).exp().numpy()
    session = open_graph(graph, "model.onnx", threads=1)
    found = session.run(["probabilities"], {"pixels": pixels()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_votes_are_compared_where_no_member_is_of_two_minds(tmp_path: Path) -> None:
    dataset = loaded(tiny.write_npz(tmp_path / "bars.npz"))
    facts = dataset.facts
    members = [NETWORK.member(o["kind"]).architecture(o, facts) for o in OPTIONS[:2]]
    described = NETWORK.architecture({"vote": "hard", "weights": [1, 1], "members": members}, facts)
    made = model(described)
    graph = NETWORK.graphs(made, replace(run(tmp_path, described), facts=facts))["model.onnx"]
    session = open_graph(graph, "model.onnx", threads=1)
    predictor = ImagePredictor({"facts": facts}, {"model.onnx": session})
    assert "agrees" in NETWORK.agreement(made, predictor, dataset.validation)
    last = [name for name in made.state_dict() if name.startswith("members.1.")][-1]
    with torch.no_grad():  # the second member answers the same to everything, and so otherwise
        made.state_dict()[last][0] += 100
    with pytest.raises(BundleError, match="disagrees"):
        NETWORK.agreement(made, predictor, dataset.validation)
    with torch.no_grad():  # or it cannot choose between two labels
        made.state_dict()[last][1] = made.state_dict()[last][0]
        made.state_dict()[last.replace("bias", "weight")][:] = 0
    assert "agrees" in NETWORK.agreement(made, predictor, dataset.validation)


def test_what_members_share_stands_in_the_graph_once(tmp_path: Path) -> None:
    described = architecture(weights=(1, 1))
    graph = NETWORK.graphs(model(described), run(tmp_path, described))["model.onnx"]
    kinds = [node.op_type for node in onnx.load_model_from_string(graph).graph.node]
    assert kinds.count("Cast") == kinds.count("Transpose") == 1
    assert kinds.count("Softmax") == 2


def test_the_same_network_always_gives_the_same_bytes(tmp_path: Path) -> None:
    described = architecture()
    made = model(described)
    first, second = (NETWORK.graphs(made, run(tmp_path, described)) for _ in range(2))
    assert first == second


def test_an_ensemble_may_be_a_member(tmp_path: Path) -> None:
    inner = architecture()
    other = NETWORK.member("compact").architecture(OPTIONS[0], FACTS)
    outer = NETWORK.architecture(
        {"vote": "hard", "weights": [2, 1], "members": [inner, other]}, FACTS
    )
    made = model(outer)
    graph = NETWORK.graphs(made, run(tmp_path, outer))["model.onnx"]
    with torch.no_grad():
        expected = made(prepared(torch.from_numpy(pixels()), FACTS)).exp().numpy()
    found = open_graph(graph, "model.onnx", threads=1).run(None, {"pixels": pixels()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert NETWORK.macs(outer) == NETWORK.macs(inner) + NETWORK.member("compact").macs(other)
    names = [name for name, _ in NETWORK.parts(made)]
    assert names[0] == "0.0.stem" and names[-1] == "1.head"


def test_its_weights_go_by_the_members_numbers() -> None:
    names = set(model(architecture()).state_dict())
    assert voting.named(2, "0.weight") in names
    assert all(name.startswith("members.") for name in names)


def test_an_ensemble_can_learn_further(tmp_path: Path) -> None:
    made = model(architecture()).train()
    logits, labels = NETWORK.logits(
        made, prepared(torch.from_numpy(pixels()), FACTS), torch.arange(16) % 4
    )
    torch.nn.functional.cross_entropy(logits, labels).backward()
    assert all(weight.grad is not None for weight in made.parameters())
    assert NETWORK.orthogonal(made)


def test_members_of_other_quantizations_ship_together(tmp_path: Path) -> None:
    dataset = loaded(tiny.write_npz(tmp_path / "bars.npz"))
    facts = dataset.facts
    members = [NETWORK.member(o["kind"]).architecture(o, facts) for o in OPTIONS]
    described = NETWORK.architecture(
        {"vote": "soft", "weights": [1] * 3, "members": members}, facts
    )
    made, examples = model(described), dataset.validation
    plain = replace(run(tmp_path, described), facts=facts)
    static = NETWORK.calibrated(made, plain, examples, {"method": "static"})
    assert {name.partition(".")[0] for name in static["layers"]} == {"0", "1", "2"}
    mixed = [*voting.quantizations(static, 3)[:1], {}, {"method": "weights", "bits": 4}]
    sizes, answers = [], []
    for quantization in ({}, static, {"members": mixed}):
        graph = NETWORK.graphs(made, replace(plain, quantization=quantization))["model.onnx"]
        sizes.append(len(graph))
        session = open_graph(graph, "model.onnx", threads=1)
        answers.append(session.run(None, {"pixels": pixels()})[0])
    assert sizes[1] < 0.35 * sizes[0] and sizes[2] < 0.35 * sizes[0]
    for lighter in answers[1:]:
        assert 0 < np.abs(answers[0] - lighter).max() < 0.25


def test_units_of_members_can_be_taken_out() -> None:
    described = architecture()
    made = model(described)
    groups = NETWORK.groups(described)
    assert {group.name.partition(".")[0] for group in groups} == {"0", "1", "2"}
    kept = {group.name: list(range(0, group.units, 2)) for group in groups}
    smaller = NETWORK.build(NETWORK.thinned(described, kept)).eval()
    smaller.load_state_dict(thin.cut(made.state_dict(), groups, kept))
    silent = NETWORK.build(described).eval()
    silent.load_state_dict(thin.silenced(made.state_dict(), groups, kept))
    inputs = prepared(torch.from_numpy(pixels()), FACTS)
    with torch.no_grad():
        torch.testing.assert_close(smaller(inputs), silent(inputs), atol=1e-5, rtol=1e-4)


def test_it_is_neither_trained_from_words_nor_a_start() -> None:
    with pytest.raises(UserError, match="made of runs"):
        NETWORK.architecture({"kind": "ensemble"}, FACTS)
    with pytest.raises(UserError, match="no start"):
        NETWORK.unpacked({}, {})
