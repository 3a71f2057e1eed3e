"""Translators with fewer units, beside those in which these are silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from shoestring.core.units import Kept, UnitGroup
from shoestring.engine.shrink import thin
from shoestring.tasks.translation import architecture as sizes
from shoestring.tasks.translation.agreement import NetworkSteps
from shoestring.tasks.translation.model import TranslationNetwork, Translator
from shoestring.tasks.translation.search import SearchOptions, search
from tests.tasks.translation import shipping
from tests.tasks.translation.making import PIECES, SMALL, some_pairs

MORE: dict[str, dict[str, Any]] = {
    **SMALL,
    "lstm, four heads": {"embedding": 16, "encoder_units": 8, "decoder_units": 16, "heads": 4},
    "lstm, three heads": {"embedding": 16, "encoder_units": 9, "decoder_units": 12, "heads": 3},
    "marian": {"units": 16, "encoder_layers": 2, "decoder_layers": 1, "heads": 4,
               "feed_forward": 24},
}  # fmt: skip


def built(name: str) -> tuple[TranslationNetwork, dict[str, Any], Translator]:
    network = TranslationNetwork(name.partition(",")[0])
    architecture = network.architecture(MORE[name], {"pieces": PIECES})
    torch.manual_seed(0)
    model = network.build(architecture)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return network, dict(architecture), model.eval()


def some(groups: Sequence[UnitGroup], share: float = 0.6) -> Kept:
    """So many of each, others in each group; groups of a family keep equally many."""
    draws = np.random.default_rng(0)
    return {
        group.name: np.sort(
            draws.choice(group.units, max(group.least, int(share * group.units)), replace=False)
        ).tolist()
        for group in groups
    }


def both(name: str, kept: Kept | None = None) -> tuple[Translator, Translator, Translator]:
    """The whole network, the one with silent units, and the one without them."""
    network, architecture, model = built(name)
    groups = network.groups(architecture)
    kept = some(groups) if kept is None else kept
    silent = network.build(architecture)
    silent.load_state_dict(thin.silenced(model.state_dict(), groups, kept))
    small = network.build(network.thinned(architecture, kept))
    small.load_state_dict(thin.cut(model.state_dict(), groups, kept))
    return model, silent.eval(), small.eval()


@pytest.mark.parametrize("name", MORE)
def test_a_thinned_network_answers_as_the_silenced_one(name: str) -> None:
    pairs, targets = some_pairs([(5, 3), (9, 7), (2, 4)])
    network = TranslationNetwork(name.partition(",")[0])
    with torch.no_grad():
        whole, silent, small = (network.logits(m, pairs, targets)[0] for m in both(name))
    assert torch.allclose(silent, small, atol=2e-5)
    assert not torch.allclose(whole, small, atol=0.01)


@pytest.mark.parametrize("name", MORE)
def test_it_makes_the_same_answers_step_by_step_and_in_its_graphs(name: str) -> None:
    small = both(name)[2]
    options = SearchOptions(beam=3, longest=(1.0, 6.0))
    sources = shipping.ended(shipping.some((4, 9, 2), PIECES, seed=1))
    ours = search(shipping.steps(small), sources, options, nbest=2)
    theirs = search(NetworkSteps(small), sources, options, nbest=2)
    for one, other in zip(ours, theirs, strict=True):
        assert [h.pieces for h in one] == [h.pieces for h in other]
    if name.startswith("lstm"):
        assert search(shipping.steps(small, int8=True), sources, options)


@pytest.mark.parametrize(
    "kept",
    [
        {"decoder.0": range(4)},
        {"decoder.1": range(4)},
        {"decoder.1": range(2)},
        {"encoder.0.onward": range(5), "encoder.0.back": range(5)},
        {"encoder.1.onward": range(5), "encoder.1.back": range(5)},
    ],
)
def test_layers_of_unlike_width_go_on_from_the_right_states(kept: dict[str, range]) -> None:
    small = both("lstm", kept)[2]
    options = SearchOptions(beam=2, longest=(1.0, 4.0))
    sources = shipping.ended(shipping.some((4, 7), PIECES))
    ours = search(shipping.steps(small), sources, options)
    theirs = search(NetworkSteps(small), sources, options)
    assert [h[0].pieces for h in ours] == [h[0].pieces for h in theirs]


@pytest.mark.parametrize("name", MORE)
def test_a_thinned_network_can_be_thinned_again_and_costs_less(name: str) -> None:
    network, architecture, _ = built(name)
    groups = network.groups(architecture)
    kept = some(groups)
    small = network.thinned(architecture, kept)
    again = network.groups(small)
    assert [group.units for group in again] == [len(kept[group.name]) for group in groups]
    assert sizes.macs(small) < sizes.macs(architecture)
    assert sizes.macs(network.thinned(small, some(again))) < sizes.macs(small)


def test_multiply_accumulates_are_those_of_a_network_built_so() -> None:
    network, architecture, _ = built("lstm")
    kept = {"embedding": range(8), "encoder.1.onward": range(6), "encoder.1.back": range(6)}
    kept |= {f"encoder.0.{side}": range(6) for side in ("onward", "back")}
    kept |= {"decoder.0": range(10), "decoder.1": range(10)}
    alike = {"embedding": 8, "encoder_units": 6, "decoder_units": 10}
    wanted = network.architecture(alike, {"pieces": PIECES})
    assert sizes.macs(network.thinned(architecture, kept)) == sizes.macs(wanted)


def test_the_two_directions_of_a_layer_keep_equally_many() -> None:
    network, architecture, _ = built("lstm")
    with pytest.raises(ValueError, match=r"encoder\.0 keep equally many"):
        network.thinned(architecture, {"encoder.0.onward": range(4), "encoder.0.back": range(5)})


def test_heads_that_stand_in_both_directions_stay_whole() -> None:
    network, architecture, _ = built("lstm, three heads")
    names = [group.name for group in network.groups(architecture)]
    assert "encoder.0.onward" in names
    assert not any(name.startswith("encoder.1") for name in names)


def test_a_tied_matrix_is_cut_for_both_ends() -> None:
    small = both("lstm", {"embedding": range(0, 16, 2)})[2]
    assert small.output.weight is small.embedding.weight
    assert small.output.weight.shape == (PIECES, 8)
