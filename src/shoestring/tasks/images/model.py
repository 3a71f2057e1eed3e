"""model: the networks for pictures, rebuilt from plain values.

Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from shoestring.core.protocols import Examples, Predictor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.images import layers


class Residual(nn.Module):
    """y = x + body(x): the body keeps the shape (He et al. 2016)."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + cast(torch.Tensor, self.body(x_BCHW))


class ImageNetwork:
    """A network that is a row of layers: what `layers.expand` gives for its kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        """{"kind", "input": [C, H, W], "classes", "layers": [...], and the options}."""
        return layers.expand(options, facts)

    def build(self, architecture: Plain) -> nn.Sequential:
        """Reads floats (B, C, H, W), already normalised; gives logits (B, K)."""
        shape = tuple(architecture["input"])
        modules, _ = _built(architecture["layers"], shape)
        model = nn.Sequential(*modules)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's stub lacks this form

    def logits(
        self, model: nn.Module, inputs: Any, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return model(inputs), targets

    def parts(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        return list(model.named_children())

    def orthogonal(self, model: nn.Module) -> Sequence[nn.Parameter]:
        """Weights of convolutions that read feature maps and have no bias: a normalisation follows
        them, so their scale does not matter."""
        return [
            cast(nn.Parameter, module.weight)
            for module in model.modules()
            if isinstance(module, nn.Conv2d)
            and module.bias is None
            and module.groups == 1
            and module.in_channels > 4
            and module.weight.requires_grad
        ]

    def macs(self, architecture: Plain) -> int:
        return layers.macs(architecture["layers"], tuple(architecture["input"]))

    def graphs(self, model: nn.Module, run: Run) -> Mapping[str, bytes]:
        from shoestring.tasks.images.graph import to_onnx

        return {"model.onnx": to_onnx(cast(nn.Sequential, model), run.facts, run.quantization)}

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
