from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from shoestring.core.errors import UserError
from shoestring.engine.shrink import thin
from shoestring.tasks.translation import graph_ensemble
from shoestring.tasks.translation.agreement import NetworkSteps
from shoestring.tasks.translation.ensemble import EnsembleNetwork, EnsembleTranslator
from shoestring.tasks.translation.search import SearchOptions, search
from shoestring.tasks.translation.steps import GraphSteps, judged
from tests.tasks.translation import shipping
from tests.tasks.translation.making import SMALL, a_network, only, some_pairs

NETWORK = EnsembleNetwork()
MIXED = ("lstm", "transformer", "lstm, one layer, not tied")


@cache
def made(names: tuple[str, ...], weights: tuple[float, ...] | None = None) -> EnsembleTranslator:
    members = [a_network(name, seed)[1] for seed, name in enumerate(names)]
    facts = {"pieces": members[0].output.out_features}
    described = [NETWORK.member(n.partition(",")[0]).architecture(SMALL[n], facts) for n in names]
    options = {"vote": "soft", "weights": weights or [1.0] * len(names), "members": described}
    model = NETWORK.build(NETWORK.architecture(options, facts))
    state = {
        f"members.{number}.{name}": tensor
        for number, member in enumerate(members)
        for name, tensor in member.state_dict().items()
    }
    model.load_state_dict(state)
    assert isinstance(model, EnsembleTranslator)
    return model.eval()


def opened(model: EnsembleTranslator, quantization: Any = None) -> GraphSteps:
    return GraphSteps(shipping.sessions(graph_ensemble.graphs(model, quantization or {})))


def test_each_piece_has_the_mean_probability_of_the_members() -> None:
    model = made(MIXED, (1.0, 2.0, 1.0))
    pairs, targets = some_pairs([(5, 4), (3, 6)])
    with torch.no_grad():
        found, labels = NETWORK.logits(model, pairs, targets)
        each = [
            network.logits(member, pairs, targets)[0].softmax(1)
            for _, network, member in NETWORK.members(model)
        ]
    assert len(found) == len(labels)
    expected = 0.25 * each[0] + 0.5 * each[1] + 0.25 * each[2]
    torch.testing.assert_close(found.exp(), expected)


def test_padding_changes_nothing() -> None:
    model = made(MIXED)
    pairs, targets = some_pairs([(7, 5), (2, 3)])
    with torch.no_grad():
        together, _ = NETWORK.logits(model, pairs, targets)
        alone, _ = NETWORK.logits(model, *only(pairs, targets, 1))
    rows = [n for n, piece in enumerate(targets.T.flatten()[targets.T.flatten() != 0])]
    assert len(rows) == len(together)
    torch.testing.assert_close(together[[1, 3, 5]], alone)


@pytest.mark.parametrize("names", [MIXED, ("lstm, additive", "transformer, not tied")])
def test_the_graphs_answer_as_the_network(names: tuple[str, ...]) -> None:
    model = made(names)
    steps = opened(model)
    sources = shipping.ended(shipping.some([4, 7, 2], 40))
    targets = shipping.some([5, 3, 6], 40, seed=1)
    shipped, _, _ = judged(steps, sources, targets)
    network = NetworkSteps(model)  # type: ignore[arg-type]  # it offers what they offer
    for options in (SearchOptions(beam=1, max_length=9), SearchOptions(beam=4, max_length=9)):
        ours = search(steps, sources, options)
        theirs = search(network, sources, options)
        for one, other in zip(ours, theirs, strict=True):
            assert one[0].pieces == other[0].pieces
            assert one[0].score == pytest.approx(other[0].score, abs=1e-4)
    assert np.isfinite(shipped).all()


def test_transformers_of_two_sizes_get_positions_of_their_own() -> None:
    model = made(("transformer", "transformer, not tied"))
    other = {**SMALL["transformer"], "units": 24}
    facts = {"pieces": model.output.out_features}
    described = [
        NETWORK.member("transformer").architecture(options, facts)
        for options in (SMALL["transformer"], other)
    ]
    options = {"vote": "soft", "weights": [1, 1], "members": described}
    torch.manual_seed(0)
    wide = NETWORK.build(NETWORK.architecture(options, facts)).eval()
    assert isinstance(wide, EnsembleTranslator)
    sources = shipping.ended(shipping.some([4, 7], 40))
    greedy = SearchOptions(beam=1, max_length=6)
    ours = search(opened(wide), sources, greedy)
    theirs = search(NetworkSteps(wide), sources, greedy)  # type: ignore[arg-type]
    assert [one[0].pieces for one in ours] == [one[0].pieces for one in theirs]


@pytest.mark.parametrize(
    "quantization",
    [{"method": "dynamic"}, {"members": [{"method": "dynamic"}, {}, {"method": "dynamic"}]}],
)
def test_members_may_be_int8(quantization: dict[str, Any]) -> None:
    model = made(MIXED)
    whole, light = opened(model), opened(model, quantization)
    assert light.int8 and not whole.int8
    sources = shipping.ended(shipping.some([4, 7, 2], 40))
    targets = shipping.some([5, 3, 6], 40, seed=1)
    before, after = (judged(steps, sources, targets)[0] for steps in (whole, light))
    assert 0 < np.abs(before - after).max() < 0.5


def test_an_ensemble_may_be_a_member() -> None:
    inner = made(("lstm", "transformer"))
    facts = {"pieces": inner.output.out_features}
    described = [NETWORK.member(n).architecture(SMALL[n], facts) for n in ("lstm", "transformer")]
    first = NETWORK.architecture({"vote": "soft", "weights": [1, 1], "members": described}, facts)
    options = {"vote": "soft", "weights": [2, 1], "members": [first, described[0]]}
    torch.manual_seed(1)
    model = NETWORK.build(NETWORK.architecture(options, facts)).eval()
    assert isinstance(model, EnsembleTranslator)
    sources = shipping.ended(shipping.some([4, 7], 40))
    greedy = SearchOptions(beam=3, max_length=6)
    ours = search(opened(model), sources, greedy)
    theirs = search(NetworkSteps(model), sources, greedy)  # type: ignore[arg-type]
    assert [one[0].pieces for one in ours] == [one[0].pieces for one in theirs]


def test_units_of_members_can_be_taken_out() -> None:
    model = made(MIXED)
    facts = {"pieces": model.output.out_features}
    members = [NETWORK.member(n.partition(",")[0]).architecture(SMALL[n], facts) for n in MIXED]
    described = NETWORK.architecture(
        {"vote": "soft", "weights": [1] * 3, "members": members}, facts
    )
    groups = NETWORK.groups(described)
    kept = {group.name: list(range(0, group.units, 2)) for group in groups}
    smaller = NETWORK.build(NETWORK.thinned(described, kept)).eval()
    smaller.load_state_dict(thin.cut(model.state_dict(), groups, kept))
    silent = NETWORK.build(described).eval()
    silent.load_state_dict(thin.silenced(model.state_dict(), groups, kept))
    pairs, targets = some_pairs([(5, 4), (3, 6)])
    with torch.no_grad():
        found, _ = NETWORK.logits(smaller, pairs, targets)
        expected, _ = NETWORK.logits(silent, pairs, targets)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_translators_do_not_vote_by_hand() -> None:
    with pytest.raises(UserError, match="not hard"):
        NETWORK.architecture({"vote": "hard", "weights": [1.0], "members": [{}]}, {})
