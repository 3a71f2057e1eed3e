"""flip: whether the classes of some pictures survive being mirrored, found on validation pictures.

A small model that is solved, not trained, answers the validation pictures twice: learned from the
training pictures, and from these and their mirror images. Where the second is right clearly more
often, mirrored pictures carry their label. Features are responses to patches of the training
pictures, pooled (Coates et al. 2011); the model is ridge regression.

Shapes: B pictures, C channels, H height, W width, F filters, D features, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from shoestring.core.protocols import Dataset
from shoestring.core.receipt import Finding
from shoestring.tasks.images.examples import ImageExamples

MOST_TRAIN, MOST_VALIDATION = 6_000, 5_000  # pictures of each, spread evenly over the split
MOST_SIDE = 32  # larger ones are averaged down to it
FILTERS, PATCH, STRIDE, POOLED = 64, 6, 2, 3
RIDGE = 0.01  # times the number of pictures, on features of unit variance
LEVEL = 0.05  # chance of a yes where mirrored pictures change nothing
_CHUNK = 256


@dataclass(frozen=True)
class Found:
    """Validation pictures that only one of the two answered rightly."""

    won: int  # by the one that saw mirrored pictures too
    lost: int
    examples: int  # validation pictures in all

    @property
    def survives(self) -> bool:
        """One-sided sign test (McNemar 1947): better with mirrored pictures beyond chance."""
        return sign_test(self.won, self.lost) <= LEVEL

    def finding(self) -> Finding:
        gain = (self.won - self.lost) / self.examples
        spread = math.sqrt(self.won + self.lost - (self.won - self.lost) ** 2 / self.examples)
        half = 1.96 * spread / self.examples
        if self.survives:
            told = "so classes survive a flip: half of the training pictures are mirrored"
        elif sign_test(self.lost, self.won) <= LEVEL:
            told = "so a flip changes what classes look like: nothing is mirrored"
        else:
            told = "which shows nothing, so nothing is mirrored; flip=yes states that it may be"
        return Finding(
            "flip",
            self.examples,
            f"of {self.examples} validation pictures, a small probe had {self.won} right only once "
            f"it had learned from mirrored pictures too, and {self.lost} only before "
            f"({gain:+.2%}, 95% interval {gain - half:+.2%} to {gain + half:+.2%}), {told}",
        )


def survives(dataset: Dataset) -> bool:
    """Whether classes survive a flip; the reasons join the findings of the data set."""
    train, validation = dataset.train, dataset.validation
    assert isinstance(train, ImageExamples)
    assert isinstance(validation, ImageExamples)
    seen = found(train, validation, len(dataset.facts["labels"]))
    if seen.finding() not in dataset.findings:
        dataset.findings = (*dataset.findings, seen.finding())
    return seen.survives


@lru_cache(maxsize=2)  # several recipes are completed for the same pictures
def found(train: ImageExamples, validation: ImageExamples, classes: int) -> Found:
    """Answers the validation pictures with and without mirrored training pictures."""
    train_BCHW, labels_B = _pictures(train, MOST_TRAIN)
    seen_BCHW, truth_B = _pictures(validation, MOST_VALIDATION)
    filters_FCPP = _filters(train_BCHW)
    x_BD = _features(train_BCHW, filters_FCPP)
    mirrored_BD = _features(train_BCHW.flip(3), filters_FCPP)
    seen_BD = _features(seen_BCHW, filters_FCPP)
    plain_B = _answers(x_BD, labels_B, seen_BD, classes) == truth_B
    both_BD, both_B = torch.cat([x_BD, mirrored_BD]), torch.cat([labels_B, labels_B])
    with_B = _answers(both_BD, both_B, seen_BD, classes) == truth_B
    return Found(int((with_B & ~plain_B).sum()), int((plain_B & ~with_B).sum()), len(truth_B))


def sign_test(won: int, lost: int) -> float:
    """The chance of at least so many won of won + lost, were each as likely as the other."""
    count = won + lost
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in range(won, count + 1)
    ]
    return min(1.0, sum(math.exp(log - count * math.log(2)) for log in logs))


def _pictures(examples: ImageExamples, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, C, H, W) floats from 0 to 1 and their (B,) labels, in small."""
    count = min(len(examples), most)
    positions = np.arange(count) * len(examples) // count
    height, width = (min(side, MOST_SIDE) for side in examples.size)
    small = []
    for part in np.array_split(positions, -(-count // _CHUNK)):
        x_BHWC = torch.from_numpy(examples.take(part))
        small.append(
            F.adaptive_avg_pool2d(x_BHWC.permute(0, 3, 1, 2).float() / 255, (height, width))
        )
    labels = torch.from_numpy(np.ascontiguousarray(examples.labels[positions]))
    return torch.cat(small), labels


def _filters(x_BCHW: torch.Tensor) -> torch.Tensor:
    """(F, C, patch, patch): patches of the pictures without their mean, at length one."""
    draws = np.random.default_rng(0)
    batch, _, height, width = x_BCHW.shape
    patch = min(PATCH, height, width)
    patches = []
    for _ in range(FILTERS):
        which = draws.integers(batch)
        row, column = draws.integers(height - patch + 1), draws.integers(width - patch + 1)
        # An even patch answers nothing: a little noise makes it one of some direction.
        noise = torch.from_numpy(draws.normal(0, 1e-3, (x_BCHW.shape[1], patch, patch))).float()
        patches.append(x_BCHW[which, :, row : row + patch, column : column + patch] + noise)
    filters = torch.stack(patches)
    filters = filters - filters.mean((1, 2, 3), keepdim=True)
    return F.normalize(filters.flatten(1)).view(filters.shape)


def _features(x_BCHW: torch.Tensor, filters_FCPP: torch.Tensor) -> torch.Tensor:
    """(B, D): how strongly each filter answers, for and against, in each part of the picture."""
    found = []
    for part in torch.split(x_BCHW, _CHUNK):
        answers_BFHW = F.conv2d(part, filters_FCPP, stride=STRIDE)
        both = torch.cat([answers_BFHW.clamp(min=0), (-answers_BFHW).clamp(min=0)], 1)
        found.append(F.adaptive_avg_pool2d(both, POOLED).flatten(1))
    return torch.cat(found)


def _answers(
    x_BD: torch.Tensor, labels_B: torch.Tensor, seen_BD: torch.Tensor, classes: int
) -> torch.Tensor:
    """(B,) the labels that ridge regression on one-hot labels gives for `seen_BD`."""
    mean, deviation = x_BD.mean(0), x_BD.std(0).clamp(min=1e-6)
    x_BD = (x_BD - mean) / deviation
    wanted_BK = F.one_hot(labels_B, classes).float()
    base_K = wanted_BK.mean(0)
    gram_DD = x_BD.T @ x_BD
    gram_DD.diagonal().add_(RIDGE * len(x_BD))
    weights_DK = torch.linalg.solve(gram_DD, x_BD.T @ (wanted_BK - base_K))
    answers_BK: torch.Tensor = (seen_BD - mean) / deviation @ weights_DK + base_K
    return answers_BK.argmax(1)
