"""Networks for pictures with fewer channels, beside those in which these are silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from shoestring.bundle.session import open_graph
from shoestring.core.errors import UserError
from shoestring.core.units import Kept, UnitGroup
from shoestring.engine.shrink import thin
from shoestring.tasks.images.graph import to_onnx
from shoestring.tasks.images.model import ImageNetwork

FACTS: dict[str, Any] = {
    "size": [20, 24],
    "channels": 1,
    "labels": ["a", "b", "c"],
    "mean": [100.0],
    "std": [50.0],
    "resize": False,
}
SMALL: dict[str, dict[str, Any]] = {
    "compact": {"width": 6},
    "compact, deep": {"width": 4, "depth": 3, "dropout": 0.1},
    "classic": {},
    "efficientnet_lite0": {"side": 32},
}


def built(name: str) -> tuple[ImageNetwork, dict[str, Any], torch.nn.Module]:
    """A network whose normalisations shift and scale as if it had learned."""
    network = ImageNetwork(name.partition(",")[0])
    architecture = network.architecture({"kind": network.kind, **SMALL[name]}, FACTS)
    torch.manual_seed(0)
    model = network.build(architecture).eval()
    with torch.no_grad():
        for key, weight in model.state_dict().items():
            if key.endswith("running_var"):
                weight.uniform_(0.3, 1.0)
            elif weight.ndim == 1:
                weight.normal_(0.4, 0.4)
    return network, dict(architecture), model


def some(groups: list[UnitGroup] | Any, share: float = 0.6) -> Kept:
    draws = np.random.default_rng(0)
    return {
        group.name: np.sort(
            draws.choice(group.units, max(group.least, int(share * group.units)), replace=False)
        ).tolist()
        for group in groups
    }


def both(name: str) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """The whole network, the one with silent units, and the one without them."""
    network, architecture, model = built(name)
    groups = network.groups(architecture)
    kept = some(groups)
    silent = network.build(architecture).eval()
    silent.load_state_dict(thin.silenced(model.state_dict(), groups, kept))
    small = network.build(network.thinned(architecture, kept)).eval()
    small.load_state_dict(thin.cut(model.state_dict(), groups, kept))
    return model, silent, small


@pytest.mark.parametrize("name", SMALL)
def test_a_thinned_network_answers_as_the_silenced_one(name: str) -> None:
    torch.manual_seed(1)
    pictures = torch.randn(5, 1, 20, 24)
    with torch.no_grad():
        whole, silent, small = (model(pictures) for model in both(name))
    largest = float(whole.abs().max())
    assert torch.allclose(silent, small, rtol=1e-5, atol=1e-5 * max(1.0, largest))
    assert not torch.allclose(whole, small, rtol=0.01, atol=0.01 * largest)


def test_weights_alone_at_zero_would_leave_the_shift_of_the_normalisation() -> None:
    """What a mask that forgets it answers, and why `silenced` does not."""
    network, architecture, model = built("compact")
    groups = network.groups(architecture)
    first = groups[0]
    forgetful = {name: weight.clone() for name, weight in model.state_dict().items()}
    forgetful["0.weight"][2:] = 0
    masked = network.build(architecture).eval()
    masked.load_state_dict(forgetful)
    kept = {first.name: [0, 1]}
    small = network.build(network.thinned(architecture, kept)).eval()
    small.load_state_dict(thin.cut(model.state_dict(), groups, kept))
    pictures = torch.randn(3, 1, 20, 24)
    with torch.no_grad():
        assert not torch.allclose(masked(pictures), small(pictures), atol=1e-2)


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_of_a_thinned_network_answers_as_it_does(name: str) -> None:
    _, _, small = both(name)
    session = open_graph(to_onnx(small, FACTS, {}), "model.onnx", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 1), np.uint8)
    (shares,) = session.run(None, {"pixels": pixels})
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 100) / 50
    with torch.no_grad():
        wanted = small(x).softmax(1).numpy()
    np.testing.assert_allclose(shares, wanted, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_a_thinned_network_can_be_thinned_again_and_costs_less(name: str) -> None:
    network, architecture, _ = built(name)
    groups = network.groups(architecture)
    kept = some(groups)
    small = network.thinned(architecture, kept)
    again = network.groups(small)
    assert [group.units for group in again] == [len(kept[group.name]) for group in groups]
    assert network.macs(small) < network.macs(architecture)
    less = network.thinned(small, some(again))
    assert network.macs(less) < network.macs(small)
    assert network.thinned(architecture, {})["kind"] == architecture["kind"]


def test_blocks_that_add_do_so_whatever_widths_meet() -> None:
    """Two stages that were cut to the same width do not begin to add to each other."""
    network, architecture, _ = built("efficientnet_lite0")
    kept = {"stage_4": range(50), "stage_5": range(50)}
    model: Any = network.build(network.thinned(architecture, kept))
    first_of_stage = model._blocks[8]
    assert first_of_stage._project_conv.weight.shape[0] == 50
    assert not first_of_stage.adds


def test_neither_pixels_nor_answers_are_units() -> None:
    network, architecture, model = built("compact")
    names = [group.name for group in network.groups(architecture)]
    assert names == ["conv_1", "conv_2", "conv_3"]
    made = {part.tensor for g in network.groups(architecture) for part in g.slices if part.dim == 0}
    assert set(model.state_dict()) - made == {
        "11.weight",
        "11.bias",
        *(f"{norm}.num_batches_tracked" for norm in (1, 5, 8)),
    }


def test_a_convolution_for_each_channel_goes_with_them() -> None:
    network = ImageNetwork("compact")
    architecture = {
        "kind": "compact",
        "input": [1, 8, 8],
        "classes": 3,
        "layers": [
            {"layer": "conv", "units": 6, "kernel": 3, "stride": 1, "padding": 1, "bias": False},
            {"layer": "conv", "units": 6, "kernel": 3, "stride": 1, "padding": 1, "bias": False,
             "groups": 6},
            {"layer": "norm", "momentum": 0.1},
            {"layer": "relu"},
            {"layer": "mean"},
            {"layer": "dense", "units": 3, "scale": 1.0},
        ],
    }  # fmt: skip
    (group,) = network.groups(architecture)
    assert {part.tensor for part in group.slices} >= {"0.weight", "1.weight", "2.bias", "6.weight"}
    rows = network.thinned(architecture, {"conv_1": [0, 2]})["layers"]
    assert [row.get("units") for row in rows] == [2, 2, None, None, None, 3]


def test_a_layer_that_is_not_known_is_named() -> None:
    with pytest.raises(UserError, match="the layer 'mystery'"):
        ImageNetwork("compact").groups(
            {"kind": "compact", "input": [1, 8, 8], "layers": [{"layer": "mystery"}]}
        )
