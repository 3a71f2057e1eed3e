"""options: what a person may say of parallel text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.core.errors import UserError
from shoestring.tasks.translation.languages import language, primary

# What `evaluate --shift` corrupts sources with, see shift.py.
SHIFTS = ("typos", "lower case", "upper case", "no punctuation")


@dataclass(frozen=True)
class TranslationOptions:
    source: str | None = None  # language translated from (en); None: as the data say
    target: str | None = None  # language translated into (de); None: as the data say
    pieces: int | None = None  # size of the vocabulary of both languages; None: from the data
    vocabulary: str | None = None  # that of a run, a bundle or hf:NAME; None: learned from train
    longest_characters: int = 1_000  # of a sentence in train or validation; a longer is left out
    length_ratio: float = 4.0  # longer side over shorter, against the usual in these data; 0: any
    keep_identical: bool = False  # pairs whose source and target are the same
    keep_duplicates: bool = False  # pairs that repeat an earlier one
    keep_leaks: bool = False  # pairs of train that stand in validation or test as well
    keep_wrong_script: bool = False  # pairs with a side mostly in a script of other languages
    train_share: float = 1.0  # share of the training pairs to keep
    on_bad: Literal["stop", "skip"] = "stop"  # what a line that cannot be read does
    validation_share: float = 0.05  # share of train, where none is given; at most 2,000
    test_share: float | None = None  # share of all; None: 0.05, at most 2,000, if 2,000 are there
    split_seed: int = 0  # of the splits that are made here; never the training's
    ship: Literal["auto", "float32", "int8"] = "auto"  # weights of the bundle; auto: the better

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            code = getattr(self, name)
            if code is not None:
                object.__setattr__(self, name, language(code, f"{name} {code!r}"))
        if self.source is not None and self.source == self.target:
            raise UserError(
                f"source and target are the same language, {self.source!r}; name two, for example "
                f"source {'en' if primary(self.source) != 'en' else 'de'!r}"
            )
        if self.pieces is not None and not 300 <= self.pieces <= 64_000:
            raise UserError(f"pieces is a vocabulary of 300 to 64,000, not {self.pieces}")
        if self.pieces is not None and self.vocabulary is not None:
            raise UserError("pieces and vocabulary contradict each other; take one of them")
        if self.longest_characters < 1:
            raise UserError(f"longest_characters is a number from 1, not {self.longest_characters}")
        if self.length_ratio != 0 and not self.length_ratio >= 1:
            raise UserError(f"length_ratio is at least 1, or 0 for any, not {self.length_ratio}")
        if not 0 < self.train_share <= 1:
            raise UserError(f"train_share is above 0 and at most 1, not {self.train_share}")
        if not 0 < self.validation_share < 1:
            raise UserError(f"validation_share is above 0 and below 1, not {self.validation_share}")
        if self.test_share is not None and not 0 <= self.test_share < 1:
            raise UserError(f"test_share is from 0 to below 1, not {self.test_share}")
