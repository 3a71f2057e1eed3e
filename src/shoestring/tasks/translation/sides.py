"""sides: which pair goes to train, validation or test, and which is left out.

Shapes: N pairs; sides and masks are (N,).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.receipt import Finding
from shoestring.data import duplicates, split
from shoestring.data.names import counted
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.rows import Mask, Rows, hashes, source_hashes

TRAIN, VALIDATION, TEST, OUT = 0, 1, 2, -1
OTHER_TEST = 3  # a test set that is asked for by its name alone
MOST_VALIDATION = 2_000  # pairs of a validation split that is set aside from train
TEST_SHARE = 0.05
TEST_FROM = 2_000  # pairs from which a test split is set aside where none is given
MOST_TEST = 2_000  # pairs of it, where no share is asked for


@dataclass
class Sides:
    """The assignment while it is being made. `sides` is as given, and OUT for what is unfit."""

    rows: Rows
    sides: NDArray[np.int8]
    options: TranslationOptions
    findings: list[Finding] = field(default_factory=list)  # so far

    def assign(self) -> None:
        """Changes `sides` and adds to `findings`."""
        self._check_some_are_left()
        self._take_leaks_out()
        self._check_some_are_left()
        if not self._where(TEST).any() and self.options.test_share != 0:
            self._set_test_aside()
        if not self._where(VALIDATION).any():
            self._set_validation_aside()
        self._thin_out()
        self._check_some_are_left()

    def _check_some_are_left(self) -> None:
        if not self._where(TRAIN).any():
            why = "; ".join(finding.message for finding in self.findings if finding.dropped)
            raise DataError(
                f"no pair is left to train on{why and ': ' + why}. What is left out is an option: "
                "shoestring train --help"
            )

    def _where(self, side: int) -> Mask:
        return np.asarray(self.sides == side, np.bool_)

    def _texts(self, at: NDArray[np.int64]) -> tuple[list[str], list[str]]:
        every = at.tolist()
        return [self.rows.sources[i] for i in every], [self.rows.targets[i] for i in every]

    def _take_leaks_out(self) -> None:
        train = np.flatnonzero(self._where(TRAIN))
        held = np.flatnonzero(self.sides > TRAIN)
        if not len(held):
            return
        sources, targets = self._texts(train)
        held_sources, held_targets = self._texts(held)
        same = duplicates.standing_in(hashes(sources, targets), hashes(held_sources, held_targets))
        half = ~same & duplicates.standing_in(source_hashes(sources), source_hashes(held_sources))
        keep = self.options.keep_leaks
        end = "kept" if keep else "left out of train"
        self._say(
            "leak",
            train[same],
            f"pair of train stands in validation or test as well and was {end}",
            f"pairs of train stand in validation or test as well and were {end}",
            dropped=not keep,
        )
        self._say(
            "leak",
            train[half],
            "source of train stands in validation or test with another target; kept",
            "sources of train stand in validation or test with another target; kept",
            dropped=False,
        )
        if not keep:
            self.sides[train[same]] = OUT

    def _say(
        self, kind: str, at: NDArray[np.int64], one: str, several: str, *, dropped: bool
    ) -> None:
        mask = np.zeros(len(self.rows), np.bool_)
        mask[at] = True
        self.findings += self.rows.found(kind, mask, one, several, dropped=dropped)

    def _carve(self, share: float, salt: str, side: int, most: int | None) -> int:
        at = np.flatnonzero(self._where(TRAIN))
        same = np.zeros(len(at), np.int64)  # one label: nothing to balance
        codes = source_hashes(self._texts(at)[0])
        held = split.carve(same, codes, None, share, self.options.split_seed, salt, most)
        self.sides[at[held]] = side
        return int(held.sum())

    def _set_test_aside(self) -> None:
        share, count = self.options.test_share, int(self._where(TRAIN).sum())
        if share is None and count < TEST_FROM:
            words = (
                f"no test split: none is given, and {count:,} pairs are too few to set one aside"
            )
            self.findings.append(Finding("split", 0, words))
            return
        most = MOST_TEST if share is None else None
        self._say_set_aside("test", self._carve(share or TEST_SHARE, "test", TEST, most))

    def _set_validation_aside(self) -> None:
        share = self.options.validation_share
        held = self._carve(share, "validation", VALIDATION, MOST_VALIDATION)
        if held == 0:
            count = counted(int(self._where(TRAIN).sum()), "pair")
            raise DataError(
                f"{count} cannot be divided: at least two pairs of different source are needed, "
                f"one to train on and one to validate on"
            )
        self._say_set_aside("validation", held)

    def _say_set_aside(self, name: str, held: int) -> None:
        were = counted(held, "pair of train was", "pairs of train were")
        how = f"split_seed {self.options.split_seed}, equal sources kept together"
        self.findings.append(Finding("split", held, f"{were} set aside as {name} ({how})"))

    def _thin_out(self) -> None:
        share = self.options.train_share
        if share == 1:
            return
        at = np.flatnonzero(self._where(TRAIN))
        same, codes = np.zeros(len(at), np.int64), hashes(*self._texts(at))
        keep = split.keep_per_label(same, codes, None, share, self.options.split_seed)
        self.sides[at[~keep]] = OUT
        out = f"left out, as asked by train_share {share:g}"
        self._say(
            "left out",
            at[~keep],
            f"pair of train was {out}",
            f"pairs of train were {out}",
            dropped=True,
        )
