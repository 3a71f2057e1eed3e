"""model: the networks for pictures, rebuilt from plain values.

Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from shoestring.core.dividing import Matrix, Stage
from shoestring.core.errors import UserError
from shoestring.core.protocols import Aligned, Donor, Examples, Predictor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.units import Kept, UnitGroup
from shoestring.tasks.images import divide, efficientnet, layers, pretrained, units
from shoestring.tasks.images.traced import TimmNetwork, counted_macs, preprocessing, timm_donor


class Residual(nn.Module):
    """y = x + body(x): the body keeps the shape (He et al. 2016)."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + cast(torch.Tensor, self.body(x_BCHW))


class ImageNetwork:
    """A network that is a row of layers: what `layers.expand` gives for its kind."""

    settles = False
    quantizations: tuple[str, ...] = ("static", "dynamic", "weights")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        """{"kind", "input": [C, H, W], "classes", "layers": [...], and the options}."""
        if self.kind == pretrained.TIMM:
            name = options.get("name")
            if not isinstance(name, str):
                raise UserError("network timm needs the name of one: transfer:start=timm:NAME")
            return pretrained.expand({**preprocessing(name), **options}, facts)
        if self.kind == pretrained.EFFICIENTNET:
            return pretrained.expand(options, facts)
        return layers.expand(options, facts)

    def build(self, architecture: Plain) -> nn.Module:
        """Reads floats (B, C, H, W), already normalised; gives logits (B, K)."""
        model: nn.Module
        if self.kind == pretrained.EFFICIENTNET:
            model = efficientnet.EfficientNetLite(architecture)
        elif self.kind == pretrained.TIMM:
            model = TimmNetwork(architecture)
        else:
            shape = tuple(architecture["input"])
            modules, _ = _built(architecture["layers"], shape)
            model = nn.Sequential(*modules)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's stub lacks this form

    def logits(
        self, model: nn.Module, inputs: Any, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return model(inputs), targets

    def parts(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        """Stem, stages, head: a part begins at each convolution or matrix of the row."""
        if isinstance(model, efficientnet.EfficientNetLite | TimmNetwork):
            return model.parts()
        rows = cast(nn.Sequential, model)
        begins = [i for i, row in enumerate(rows) if isinstance(row, nn.Conv2d | nn.Linear)]
        # What only passes on what it reads belongs to the head behind it.
        while isinstance(rows[begins[-1] - 1], nn.Flatten | nn.Dropout):
            begins[-1] -= 1
        names = ["stem", *(f"stage_{n}" for n in range(1, len(begins) - 1)), "head"]
        ends = [*begins[1:], len(rows)]
        return [(name, rows[a:b]) for name, a, b in zip(names, [0, *begins[1:]], ends, strict=True)]

    def blocks(self, model: nn.Module) -> Sequence[nn.Module]:
        return divide.blocks(model)

    def matrices(self, model: nn.Module, ways: int) -> Mapping[str, Matrix]:
        return divide.matrices(model, ways)

    def stages(self, model: nn.Module, architecture: Plain, count: int) -> Sequence[Stage]:
        return divide.stages(model, architecture, count)

    def donor(self, words: str) -> Donor:
        from shoestring.tasks.images.transfer import published

        kind, _, name = words.partition(":")
        return timm_donor(name) if kind == pretrained.TIMM else published()

    def unpacked(self, manifest: Plain, files: Mapping[str, bytes]) -> Donor:
        from shoestring.tasks.images.transfer import unpacked

        facts = manifest["facts"]
        options = {"kind": self.kind, **manifest.get("options", {})}
        model = self.build(self.architecture(options, facts))
        return unpacked(model, files["model.onnx"], facts)

    def aligned(self, model: nn.Module, donor: Donor, run: Run) -> Aligned:
        from shoestring.tasks.images.transfer import aligned

        return aligned(model, donor, run)

    def orthogonal(self, model: nn.Module) -> Mapping[nn.Parameter, int]:
        """Weights of convolutions that read feature maps and have no bias: a normalisation follows
        them, so their scale does not matter. Weights from elsewhere are moved more gently."""
        if self.kind in pretrained.KINDS:
            return {}
        return {
            cast(nn.Parameter, module.weight): 1
            for module in model.modules()
            if isinstance(module, nn.Conv2d)
            and module.bias is None
            and module.groups == 1
            and module.in_channels > 4
            and module.weight.requires_grad
        }

    def macs(self, architecture: Plain) -> int:
        if self.kind == pretrained.TIMM:
            return counted_macs(self.build(architecture), architecture["input"])
        if self.kind == pretrained.EFFICIENTNET:
            return efficientnet.macs(architecture)
        return layers.macs(architecture["layers"], tuple(architecture["input"]))

    def groups(self, architecture: Plain) -> Sequence[UnitGroup]:
        """Channels and dense units; none are known of a network of timm."""
        return units.groups(architecture)

    def thinned(self, architecture: Plain, kept: Kept) -> Plain:
        return units.thinned(architecture, kept)

    def settled(
        self,
        run: Run,
        examples: Examples,
        opened: Callable[[Run], tuple[Mapping[str, bytes], Predictor]],
        seconds: float,
        grading: float,
    ) -> tuple[Run, str]:
        """Nothing: float32 ships unless a technique decides otherwise."""
        return run, ""

    def calibrated(self, model: nn.Module, run: Run, examples: Examples, wanted: Plain) -> Plain:
        from shoestring.tasks.images.calibration import calibrated

        return calibrated(model, run.facts, examples, wanted)

    def graphs(self, model: nn.Module, run: Run) -> Mapping[str, bytes]:
        from shoestring.tasks.images.graph import to_onnx

        return {"model.onnx": to_onnx(model, run.facts, run.quantization)}

    def agreement(self, model: nn.Module, predictor: Predictor, examples: Examples) -> str:
        from shoestring.tasks.images.agreement import agreement

        return agreement(model, predictor, examples)


def _built(
    rows: Sequence[Plain], shape: tuple[int, ...]
) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The modules of some layer rows for inputs of `shape` (C, H, W) or (features,)."""
    modules: list[nn.Module] = []
    for row in rows:
        after = layers.output_shape(row, shape)
        match row["layer"]:
            case "conv":
                conv = nn.Conv2d(
                    shape[0],
                    row["units"],
                    row["kernel"],
                    row["stride"],
                    row["padding"],
                    bias=row["bias"],
                )
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
                modules.append(conv)
            case "norm":
                modules.append(nn.BatchNorm2d(shape[0], momentum=row["momentum"]))
            case "relu":
                modules.append(nn.ReLU(inplace=True))
            case "pool":
                modules.append(nn.MaxPool2d(row["size"]))
            case "mean":
                modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            case "flatten":
                modules.append(nn.Flatten())
            case "dropout":
                modules.append(nn.Dropout(row["share"]))
            case "dense":
                dense = nn.Linear(shape[0], row["units"])
                nn.init.kaiming_normal_(dense.weight, nonlinearity="relu")
                if row["scale"] != 1.0:
                    dense.weight.data.mul_(row["scale"])
                nn.init.zeros_(dense.bias)
                modules.append(dense)
            case "residual":
                body, _ = _built(row["layers"], shape)
                modules.append(Residual(nn.Sequential(*body)))
        shape = after
    return modules, shape
