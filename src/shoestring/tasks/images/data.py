"""data: labelled pictures from folders, tables, arrays or the catalogue, checked and split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress
from shoestring.core.receipt import Finding, Plain
from shoestring.data.names import SPLITS, counted, printable
from shoestring.tasks.images import checks
from shoestring.tasks.images.examples import ImageExamples
from shoestring.tasks.images.options import ImageOptions
from shoestring.tasks.images.reading import sources
from shoestring.tasks.images.reading.pictures import Pictures, Wish, gather, readable
from shoestring.tasks.images.reading.reader import Plan
from shoestring.tasks.images.reading.sources import Source, recognizes
from shoestring.tasks.images.sides import TEST, TRAIN, VALIDATION, Sides, check_classes

__all__ = ["ImageDataset", "ImageExamples", "load", "load_for", "recognizes"]

_MOST_MEASURED = 20_000  # training pictures from which mean and deviation are taken, at most
_MOST_VALUES = 20_000_000  # and pixel values


class ImageDataset:
    """What became of a source. The test split stays closed until `test` is called."""

    def __init__(
        self,
        facts: Plain,
        findings: tuple[Finding, ...],
        fingerprint: str,
        splits: Sequence[ImageExamples],
    ) -> None:
        self.facts, self.findings, self.fingerprint = facts, findings, fingerprint
        self.files: Mapping[str, bytes] = {}
        self._splits = splits

    @property
    def train(self) -> ImageExamples:
        return self._splits[TRAIN]

    @property
    def validation(self) -> ImageExamples:
        return self._splits[VALIDATION]

    def count(self, split: str) -> int:
        """Examples of a split, without opening it."""
        return len(self._splits[SPLITS.index(split)])

    def held_hashes(self) -> NDArray[np.uint64]:
        """Of the pictures of validation and test, for keeping them out of what is learned from."""
        return np.concatenate([self._splits[side].hashes for side in (VALIDATION, TEST)])

    def test(self) -> ImageExamples:
        """Opens the test split; raises DataError where there is none."""
        if len(self._splits[TEST]) == 0:
            raise DataError(
                "there is no test split: give one (a folder test beside train), or set a share "
                "aside with test_share"
            )
        return self._splits[TEST]


def load(source: str, options: ImageOptions, progress: Progress) -> ImageDataset:
    """Reads, checks, splits and caches. Raises DataError where the data cannot be trained on."""
    name, split = sources.with_split(source)
    if split is not None:
        raise DataError(f"{source!r} names one split; train on {name!r}, which brings them all")
    listed = sources.read(name, progress)
    pictures = gather(listed, Wish(options.size, options.channels), progress)
    good = readable(pictures)
    findings = list(listed.findings) + checks.broken(listed, pictures, options.on_bad)
    labels, names, empty = _used_labels(listed, good)
    findings += empty
    findings += checks.misnamed(listed, pictures)
    findings += checks.conflicts(listed, pictures, good)
    findings += checks.repeats(listed, pictures, good)
    hashes = np.ascontiguousarray(pictures.records["content"])
    sides = Sides(listed, labels, hashes, good, options)
    sides.assign()
    findings += sides.findings + check_classes(sides, names)
    findings += checks.near_duplicates(listed, pictures, sides.sides)
    splits = []
    for side, split_name in enumerate(SPLITS):
        rows = np.flatnonzero(sides.sides == side)
        splits.append(ImageExamples(pictures, rows, labels[rows], listed.names, split_name))
    facts = _facts(names, pictures, splits[TRAIN])
    return ImageDataset(facts, tuple(findings), _fingerprint(facts, splits), splits)


def load_for(source: str, facts: Plain, options: ImageOptions, progress: Progress) -> ImageExamples:
    """Pictures to grade a bundle on, in the form and with the labels that its facts fix.

    `NAME:SPLIT` names a split that the source itself has; without one, its test split, else its
    validation split, else everything. Raises DataError for labels that the facts do not have.
    """
    name, split = sources.with_split(source)
    listed = sources.read(name, progress)
    chosen, split = _chosen(listed, split)
    height, width = facts["size"]
    resize = bool(facts["resize"])
    plan = Plan(height, width, facts["channels"], resize, by_pillow=not resize)
    pictures = gather(listed, Wish(plan=plan), progress)
    good = readable(pictures)
    read, seen = _only(listed, chosen), _rows(pictures, chosen)
    findings = checks.broken(read, seen, options.on_bad) + checks.resized(read, seen)
    rows = np.flatnonzero(good & chosen)
    if not len(rows):
        raise DataError(f"{printable(source)} holds no picture that can be read")
    place = {label: i for i, label in enumerate(facts["labels"])}
    used = [listed.label_names[i] for i in np.unique(listed.labels[rows])]
    unknown = [label for label in used if label not in place]
    if unknown:
        known = ", ".join(printable(label) for label in list(place)[:10])
        raise DataError(
            f"{printable(source)} has the label {printable(unknown[0])!r}, which the bundle does "
            f"not know; it knows {len(place)}: {known}"
        )
    mapping = np.array([place.get(label, -1) for label in listed.label_names], np.int64)
    return ImageExamples(
        pictures, rows, mapping[listed.labels[rows]], listed.names, split, tuple(findings)
    )


def _chosen(listed: Source, split: str | None) -> tuple[checks.Mask, str]:
    if split is None:
        split = next((s for s in ("test", "validation") if listed.given(s)), "all")
        if split == "all":
            return np.ones(len(listed), np.bool_), split
    if not listed.given(split):
        has = ", ".join(s for s in SPLITS if listed.given(s)) or "no splits"
        raise DataError(
            f"{printable(listed.words)} has no {split} split of its own (it has {has}); one that "
            f"was set aside in training belongs to its run: evaluate the run"
        )
    return listed.splits == SPLITS.index(split), split


def _only(listed: Source, chosen: checks.Mask) -> Source:
    rows = np.flatnonzero(chosen).tolist()
    return Source(
        listed.words,
        listed.root,
        [listed.names[i] for i in rows],
        listed.label_names,
        listed.labels[chosen],
        listed.splits[chosen],
        listed.stamp,
    )


def _rows(pictures: Pictures, chosen: checks.Mask) -> Pictures:
    place = {int(row): i for i, row in enumerate(np.flatnonzero(chosen))}
    reasons = {place[i]: words for i, words in pictures.reasons.items() if i in place}
    return Pictures(pictures.plan, pictures.records[chosen], reasons, pictures.pixels)


def _used_labels(
    listed: Source, good: checks.Mask
) -> tuple[NDArray[np.int64], tuple[str, ...], list[Finding]]:
    """(N,) labels renumbered to the classes that have a readable picture, and their names."""
    counts = np.bincount(listed.labels[good], minlength=len(listed.label_names))
    if not good.any():
        raise DataError(f"none of the pictures in {printable(listed.words)} can be read")
    used = np.flatnonzero(counts)
    if len(used) < 2:
        raise DataError(
            f"{printable(listed.words)} has pictures of one class only, "
            f"{printable(listed.label_names[int(used[0])])!r}; at least two classes are needed"
        )
    renumbered = np.full(len(counts), -1, np.int64)
    renumbered[used] = np.arange(len(used))
    names = tuple(listed.label_names[i] for i in used)
    empty = tuple(printable(n) for n, c in zip(listed.label_names, counts, strict=True) if c == 0)
    if not empty:
        return renumbered[listed.labels], names, []
    words = counted(
        len(empty),
        "class has no readable picture and was left out",
        "classes have no readable picture and were left out",
    )
    return renumbered[listed.labels], names, [Finding("empty class", len(empty), words, empty)]


def _facts(names: tuple[str, ...], pictures: Pictures, train: ImageExamples) -> Plain:
    plan = pictures.plan
    mean, std = _mean_and_deviation(train)
    return {
        "labels": list(names),
        "size": [plan.height, plan.width],
        "channels": plan.channels,
        "resize": plan.resize,
        "mean": mean,
        "std": std,
        "class_counts": np.bincount(train.labels, minlength=len(names)).tolist(),
    }


def _mean_and_deviation(train: ImageExamples) -> tuple[list[float], list[float]]:
    """Of each channel, 0 to 255, from evenly spread pictures; sums of integers, so exact."""
    most = min(_MOST_MEASURED, max(1, _MOST_VALUES // train.values_each))
    positions = np.arange(0, len(train), -(-len(train) // most), dtype=np.int64)
    channels, count = train.values_each // (train.size[0] * train.size[1]), 0
    total, squares = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    for start in range(0, len(positions), 256):  # 256 squares of a byte fit 32 bits
        pixels = train.take(positions[start : start + 256])
        count += pixels[..., 0].size
        wide = pixels.astype(np.uint16)
        for sums, values in ((total, wide), (squares, wide * wide)):
            by_place = values.sum(axis=0, dtype=np.uint32)
            sums += by_place.sum(axis=(0, 1), dtype=np.uint64)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-6] = 1.0  # one colour only
    return [round(float(m), 6) for m in mean], [round(float(d), 6) for d in deviation]


def _fingerprint(facts: Plain, splits: Sequence[ImageExamples]) -> str:
    """Of contents, labels and their places in the splits; not of paths, times or machines."""
    digest = hashlib.blake2b(digest_size=16)
    form = [facts["labels"], facts["size"], facts["channels"], facts["resize"]]
    digest.update(repr(form).encode("utf-8", "backslashreplace"))
    for examples in splits:
        digest.update(len(examples).to_bytes(8, "little"))
        digest.update(examples.hashes.astype("<u8").tobytes())
        digest.update(examples.labels.astype("<i8").tobytes())
    return digest.hexdigest()
