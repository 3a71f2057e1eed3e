"""options: what a person may say of image data, and of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.core.errors import UserError

# What `evaluate --shift` corrupts pictures with, see shift.py.
SHIFTS: tuple[str, ...] = ("gaussian noise", "impulse noise", "blur", "contrast", "brightness")
SHIFTS += ("pixelate", "jpeg", "rotation", "offset")


@dataclass(frozen=True)
class ImageOptions:
    size: int | None = None  # side of the square in pixels, 8 to 1024; None: decided from the data
    channels: int | None = None  # 1 or 3; None: 1 when every picture is grey, else 3
    group_by: str | None = None  # regex on the relative path, or a CSV of path,group
    per_class: int | None = None  # training pictures kept of each class; None: all
    train_share: float = 1.0  # share of the training pictures to keep
    on_bad: Literal["skip", "stop"] = "skip"  # what a picture that cannot be read does
    validation_share: float = (
        0.1  # share of train, where no validation split is given; at most 5,000
    )
    test_share: float | None = None  # share of all; None: 0.1, if none is given and 1,000 are there
    fold: str | None = None  # "0/5": the first of five parts is the test split
    split_seed: int = 0  # of the splits that are made here; never the training's

    def __post_init__(self) -> None:
        if self.size is not None and not 8 <= self.size <= 1024:
            raise UserError(f"size is a side of 8 to 1024 pixels, not {self.size}")
        if self.channels not in (None, 1, 3):
            raise UserError(f"channels is 1 (grey) or 3 (colour), not {self.channels}")
        if self.per_class is not None and self.per_class < 1:
            raise UserError(f"per_class is a number of pictures from 1, not {self.per_class}")
        if not 0 < self.train_share <= 1:
            raise UserError(f"train_share is above 0 and at most 1, not {self.train_share}")
        if not 0 < self.validation_share < 1:
            raise UserError(f"validation_share is above 0 and below 1, not {self.validation_share}")
        if self.test_share is not None and not 0 <= self.test_share < 1:
            raise UserError(f"test_share is from 0 to below 1, not {self.test_share}")


@dataclass(frozen=True)
class AnswerOptions:
    top: int = 1  # how many labels an answer lists
    reject: float = 0.0  # below this confidence (0 to 1) the answer is "none"

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"top is a number of labels from 1, not {self.top}")
        if not 0 <= self.reject <= 1:
            raise UserError(f"reject is a confidence from 0 to 1, not {self.reject}")
