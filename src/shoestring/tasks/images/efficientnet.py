"""efficientnet: EfficientNet-Lite0, whose weights have the names that the published ones have.

Source: Tan & Le 2019, "EfficientNet"; the Lite form (no squeeze and excitation, ReLU6) is Google's
of 2020. Paddings are TensorFlow's "SAME", which on even sides is one more at the end.

Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from shoestring.core.receipt import Plain

STEM, TOP = 32, 1280  # units
EPSILON = 1e-3  # of every normalisation
# Published with 0.01, for hundreds of thousands of steps: a fit of a hundred would be judged with
# statistics that are still half those of ImageNet.
MOMENTUM = 0.1


class Stage(NamedTuple):
    """Blocks of one width; the first of them may have a stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    units: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def _expanded() -> list[int]:
    """What each block widens to; 0 for one that does not."""
    found, channels = list[int](), STEM
    for stage in STAGES:
        for _ in range(stage.repeats):
            found.append(channels * stage.expansion if stage.expansion != 1 else 0)
            channels = stage.units
    return found


_EXPANDED = _expanded()


class Widths:
    """The units of each part: those that were published, or those that an architecture says."""

    def __init__(self, architecture: Plain) -> None:
        self._said: Plain = architecture.get("widths", {})
        self.stem, self.top = self._of("stem", STEM), self._of("top", TOP)

    def stage(self, number: int) -> int:
        """What the blocks of a stage, counted from 1, pass on; the stem is what stage 0 does."""
        return self._of(f"stage_{number}", STAGES[number - 1].units) if number else self.stem

    def block(self, number: int) -> int:
        """What a block, counted from 0, widens to; one that does not widen keeps its input."""
        return self._of(f"block_{number}", _EXPANDED[number] or self.stem)

    def _of(self, name: str, usual: int) -> int:
        return int(self._said.get(name, usual))


class Entry(nn.Module):
    """What stands between a task's own normalisation of pixels and the one that the weights were
    trained with, and their size: y = scale x + shift, made larger where it is too small."""

    scale_C11: torch.Tensor
    shift_C11: torch.Tensor

    def __init__(self, scale: Sequence[float], shift: Sequence[float], size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)  # height and width that come out
        values = {"scale_C11": scale, "shift_C11": shift}
        for name, value in values.items():  # no weights: the architecture says them
            self.register_buffer(name, torch.tensor(value).view(-1, 1, 1), persistent=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = x_BCHW * self.scale_C11 + self.shift_C11
        if tuple(y_BCHW.shape[2:]) == self.size:
            return y_BCHW
        return F.interpolate(y_BCHW, self.size, mode="bilinear", align_corners=False)


class SameConv2d(nn.Conv2d):
    """A convolution whose padding may be one more below and at the right."""

    def __init__(
        self, channels: int, units: int, kernel: int, stride: int, groups: int, side: Sequence[int]
    ) -> None:
        super().__init__(channels, units, kernel, stride, groups=groups, bias=False)
        totals = [max((-(-s // stride) - 1) * stride + kernel - s, 0) for s in side]
        before = [total // 2 for total in totals]
        after = [total - first for total, first in zip(totals, before, strict=True)]
        self.pads = (before[0], before[1], after[0], after[1])  # top, left, bottom, right
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        top, left, bottom, right = self.pads
        if (top, left) == (bottom, right):
            return F.conv2d(x_BCHW, self.weight, None, self.stride, (top, left), 1, self.groups)
        padded = F.pad(x_BCHW, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, None, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    """An inverted bottleneck: wider, a convolution for each channel, narrower; the first of a
    stage apart, with what came in added. Its row of layers is `body`."""

    def __init__(
        self, channels: int, wide: int, units: int, stage: Stage, first: bool, side: list[int]
    ) -> None:
        super().__init__()
        kernel, stride = stage.kernel, stage.stride if first else 1
        rows: list[nn.Module] = []
        if stage.expansion != 1:
            self._expand_conv = SameConv2d(channels, wide, 1, 1, 1, side)
            self._bn0 = _norm(wide)
            rows += [self._expand_conv, self._bn0, nn.ReLU6()]
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, wide, side)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv2d(wide, units, 1, 1, 1, side)
        self._bn2 = _norm(units)
        rows += [self._depthwise_conv, self._bn1, nn.ReLU6(), self._project_conv, self._bn2]
        self.adds = not first
        self.body = _Row(rows)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = self.body(x_BCHW)
        return x_BCHW + y_BCHW if self.adds else y_BCHW


class _Row:
    """Modules in order. No module itself, so that each has one name in a state dict."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = tuple(modules)

    def __call__(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        for module in self.modules:
            x_BCHW = module(x_BCHW)
        return x_BCHW


class EfficientNetLite(nn.Module):
    """Reads floats (B, C, H, W) in the task's normalisation; gives logits (B, K)."""

    def __init__(self, architecture: Plain) -> None:
        super().__init__()
        entry = architecture["entry"]
        side = list(entry["size"])
        channels = int(architecture["input"][0])
        widths = Widths(architecture)
        self._entry = Entry(entry["scale"], entry["shift"], side)
        self._conv_stem = SameConv2d(channels, widths.stem, 3, 2, 1, side)
        self._bn0 = _norm(widths.stem)
        side = [-(-s // 2) for s in side]
        channels, blocks = widths.stem, list[Block]()
        self._stages: list[int] = []  # blocks of each
        for number, stage in enumerate(STAGES, 1):
            self._stages.append(stage.repeats)
            for repeat in range(stage.repeats):
                first, units = not repeat, widths.stage(number)
                wide = widths.block(len(blocks))
                blocks.append(Block(channels, wide, units, stage, first, side))
                stride, channels = stage.stride if first else 1, units
                side = [-(-s // stride) for s in side]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(channels, widths.top, 1, 1, 1, side)
        self._bn1 = _norm(widths.top)
        self._dropout = nn.Dropout(architecture["dropout"])
        self._fc = nn.Linear(widths.top, architecture["classes"])
        nn.init.normal_(self._fc.weight, std=0.01)
        nn.init.zeros_(self._fc.bias)

    def in_order(self) -> list[nn.Module]:
        """From pixels to logits."""
        return [module for _, row in self.parts() for module in row]

    def parts(self) -> list[tuple[str, nn.Sequential]]:
        """Stem, seven stages, top (the last convolution) and head."""
        rows: list[tuple[str, list[nn.Module]]] = [
            ("stem", [self._entry, self._conv_stem, self._bn0, nn.ReLU6()])
        ]
        at = 0
        for number, count in enumerate(self._stages, 1):
            rows.append((f"stage_{number}", list(self._blocks[at : at + count])))
            at += count
        pooled: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        rows.append(("top", [self._conv_head, self._bn1, nn.ReLU6(), *pooled]))
        rows.append(("head", [self._dropout, self._fc]))
        return [(name, nn.Sequential(*row)) for name, row in rows]

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self._bn0(self._conv_stem(self._entry(x_BCHW))))
        for block in self._blocks:
            x = block(x)
        x_BC = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return cast(torch.Tensor, self._fc(self._dropout(x_BC)))


def macs(architecture: Plain) -> int:
    """Multiply-accumulates for one picture."""
    channels, classes = int(architecture["input"][0]), int(architecture["classes"])
    height, width = (-(-int(s) // 2) for s in architecture["entry"]["size"])
    widths, block = Widths(architecture), 0
    total = height * width * widths.stem * channels * 9
    channels = widths.stem
    for number, stage in enumerate(STAGES, 1):
        for repeat in range(stage.repeats):
            stride, wide = 1 if repeat else stage.stride, widths.block(block)
            if stage.expansion != 1:
                total += height * width * channels * wide
            height, width = -(-height // stride), -(-width // stride)
            channels = widths.stage(number)
            total += height * width * wide * (stage.kernel**2 + channels)
            block += 1
    return total + height * width * channels * widths.top + widths.top * classes


def _norm(units: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(units, eps=EPSILON, momentum=MOMENTUM)
