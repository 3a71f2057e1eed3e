"""sides: which picture goes to train, validation or test, and which is left out.

Shapes: N pictures of the source; sides, labels and masks are (N,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.receipt import Finding
from shoestring.data import duplicates, split
from shoestring.data.groups import groups_of
from shoestring.data.names import SPLITS, counted, printable
from shoestring.tasks.images import checks
from shoestring.tasks.images.options import ImageOptions
from shoestring.tasks.images.reading.sources import NO_SPLIT, Source

TRAIN, VALIDATION, TEST, OUT = 0, 1, 2, -1
MOST_VALIDATION = 5_000  # examples of a validation split that is set aside from train
TEST_SHARE = 0.1
TEST_FROM = 1_000  # examples from which a test split is set aside where none is given


@dataclass
class Sides:
    """The assignment while it is being made."""

    source: Source
    labels: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    good: checks.Mask
    options: ImageOptions

    def __post_init__(self) -> None:
        self.sides = np.full(len(self.source), OUT, np.int8)
        self.findings: list[Finding] = []
        self.groups: list[str] | None = None
        rule = self.options.group_by
        if rule is not None:
            names = [self.source.names[i] for i in np.flatnonzero(self.good).tolist()]
            found = iter(groups_of(names, rule, self.source.root))
            self.groups = [next(found) if ok else "" for ok in self.good.tolist()]

    def assign(self) -> None:
        """Fills `sides` and `findings`."""
        if self.options.fold is not None:
            self._deal(*split.parse_fold(self.options.fold))
        else:
            self._as_given()
            self._set_test_aside()
        if not self._where(VALIDATION).any():
            self._set_validation_aside()
        self._thin_out()

    def _where(self, side: int) -> checks.Mask:
        return np.asarray(self.sides == side, np.bool_)

    def _as_given(self) -> None:
        given = self.source.splits
        none = given == NO_SPLIT
        if not (none | (given == TRAIN)).any():
            raise DataError(
                f"{printable(self.source.words)} has no training split; it needs a folder train "
                f"beside validation or test"
            )
        self.sides[self.good] = np.where(none, TRAIN, given)[self.good]
        train, held = self._where(TRAIN), self._where(VALIDATION) | self._where(TEST)
        leaked = np.zeros(len(self.sides), np.bool_)
        leaked[train] = duplicates.standing_in(self.hashes[train], self.hashes[held])
        self.sides[leaked] = OUT
        what = "pixel for pixel in validation or test and"
        one = f"picture of train stands {what} was left out of train"
        several = f"pictures of train stand {what} were left out of train"
        self.findings += checks.left_out(self.source, leaked, "leak", one, several)
        self._check_given_pairs()

    def _check_given_pairs(self) -> None:
        """Leaks between given splits that are not ours to mend."""
        validation, test = self._where(VALIDATION), self._where(TEST)
        both = duplicates.standing_in(self.hashes[validation], self.hashes[test])
        if both.any():
            count = int(both.sum())
            stand = counted(count, "validation picture stands", "validation pictures stand")
            self.findings.append(Finding("leak", count, f"{stand} in test as well; kept"))
        if self.groups is not None:
            held = {g for g, s in zip(self.groups, self.sides, strict=True) if s in (1, 2)}
            train = {g for g, s in zip(self.groups, self.sides, strict=True) if s == TRAIN}
            shared = sorted(held & train)
            if shared:
                stand = counted(len(shared), "group stands", "groups stand")
                words = f"{stand} in train and in validation or test as given"
                shown = tuple(printable(g) for g in shared[:10])
                self.findings.append(Finding("leak", len(shared), words, shown))

    def _carve(self, share: float, salt: str, side: int, most: int | None) -> int:
        rows = np.flatnonzero(self._where(TRAIN))
        groups = None if self.groups is None else [self.groups[i] for i in rows.tolist()]
        held = split.carve(
            self.labels[rows],
            self.hashes[rows],
            groups,
            share,
            self.options.split_seed,
            salt,
            most,
        )
        self.sides[rows[held]] = side
        return int(held.sum())

    def _set_test_aside(self) -> None:
        if self._where(TEST).any() or self.options.test_share == 0:
            return
        share, count = self.options.test_share, int(self.good.sum())
        if share is None and count < TEST_FROM:
            words = (
                f"no test split: none is given, and {count:,} pictures are too few to set one aside"
            )
            self.findings.append(Finding("split", 0, words))
            return
        held = self._carve(share or TEST_SHARE, "test", TEST, None)
        self._say_set_aside("test", held)

    def _set_validation_aside(self) -> None:
        share = self.options.validation_share
        held = self._carve(share, "validation", VALIDATION, MOST_VALIDATION)
        if held == 0:
            raise DataError(
                f"{printable(self.source.words)} is too small to set validation pictures aside: "
                f"no class has two different pictures"
                + (" in different groups" if self.groups is not None else "")
            )
        self._say_set_aside("validation", held)

    def _say_set_aside(self, name: str, held: int) -> None:
        kept = "groups kept together" if self.groups is not None else "equal pictures kept together"
        how = f"split_seed {self.options.split_seed}, {kept}"
        were = counted(held, "picture of train was", "pictures of train were")
        words = f"{were} set aside as {name} ({how})"
        self.findings.append(Finding("split", held, words))

    def _deal(self, fold: int, folds: int) -> None:
        rows = np.flatnonzero(self.good)
        groups = None if self.groups is None else [self.groups[i] for i in rows.tolist()]
        seed = self.options.split_seed
        dealt = split.deal(self.labels[rows], self.hashes[rows], groups, folds, seed)
        self.sides[rows] = np.where(dealt == fold, TEST, TRAIN)
        for name, side in (("test", TEST), ("train", TRAIN)):
            if not self._where(side).any():
                raise DataError(f"fold {fold}/{folds} leaves nothing for {name}: too few pictures")
        aside = " (the given splits were set aside)" if (self.source.splits > TRAIN).any() else ""
        count = int(self._where(TEST).sum())
        are = counted(count, "picture is", "pictures are")
        words = f"fold {fold} of {folds}: {are} the test split{aside}"
        self.findings.append(Finding("split", count, words))

    def _thin_out(self) -> None:
        number, share = self.options.per_class, self.options.train_share
        if number is None and share == 1:
            return
        rows = np.flatnonzero(self._where(TRAIN))
        seed = self.options.split_seed
        keep = split.keep_per_label(self.labels[rows], self.hashes[rows], number, share, seed)
        mask = np.zeros(len(self.sides), np.bool_)
        mask[rows[~keep]] = True
        self.sides[mask] = OUT
        asked = [f"per_class {number}"] if number is not None else []
        asked += [f"train_share {share:g}"] if share != 1 else []
        out = f"left out, as asked by {' and '.join(asked)}"
        one, several = f"picture of train was {out}", f"pictures of train were {out}"
        self.findings += checks.left_out(self.source, mask, "left out", one, several)


def counts(sides: Sides, side: int, labels: int) -> NDArray[np.int64]:
    """(labels,) pictures of each label on a side."""
    return np.bincount(sides.labels[sides.sides == side], minlength=labels)


def check_classes(sides: Sides, names: tuple[str, ...]) -> list[Finding]:
    """DataError where train lacks a class; findings where another split does."""
    train = counts(sides, TRAIN, len(names))
    if (train == 0).any():
        missing = printable(names[int(np.argmin(train))])
        raise DataError(
            f"the training split has no picture of class {missing!r}, which stands in "
            f"another split; add some, or remove the class"
        )
    found: list[Finding] = []
    for side in (VALIDATION, TEST):
        if (sides.sides == side).any():
            found += checks.lacking(SPLITS[side], counts(sides, side, len(names)), names)
    return found + checks.imbalance(train, names)
