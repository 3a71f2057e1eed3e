"""data: parallel text from files of many kinds or the catalogue, checked, split and in pieces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Progress, silent
from shoestring.core.receipt import Finding, Plain
from shoestring.data import cache, catalog
from shoestring.data.names import SPLITS, printable, split_of
from shoestring.tasks.translation import filters, languages, vocabulary
from shoestring.tasks.translation.examples import Texts, TranslationExamples
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.ragged import Ragged
from shoestring.tasks.translation.reading import direction, sources
from shoestring.tasks.translation.reading.gather import gather
from shoestring.tasks.translation.reading.sources import Part, Source, recognizes
from shoestring.tasks.translation.rows import hashes
from shoestring.tasks.translation.sides import OTHER_TEST, OUT, TEST, TRAIN, VALIDATION, Sides

__all__ = ["Ragged", "TranslationDataset", "TranslationExamples", "load", "load_for", "recognizes"]

FORM = 3  # of what is cached; any change of reading, filters or splits raises it


class TranslationDataset:
    """What became of a source. The test split stays closed until `test` is called."""

    def __init__(
        self,
        facts: Plain,
        findings: tuple[Finding, ...],
        fingerprint: str,
        files: Mapping[str, bytes],
        splits: Sequence[TranslationExamples],
    ) -> None:
        self.facts, self.findings, self.fingerprint = facts, findings, fingerprint
        self.files = files  # tokenizer.model
        self._splits = splits

    @property
    def train(self) -> TranslationExamples:
        return self._splits[TRAIN]

    @property
    def validation(self) -> TranslationExamples:
        return self._splits[VALIDATION]

    def count(self, split: str) -> int:
        """Examples of a split, without opening it."""
        return len(self._splits[SPLITS.index(split)])

    def held_targets(self) -> Iterator[str]:
        """The targets of validation and test, for keeping them out of what is learned from."""
        for side in (VALIDATION, TEST):
            yield from self._splits[side].targets

    def held_sources(self) -> Iterator[str]:
        """The same of the sources."""
        for side in (VALIDATION, TEST):
            yield from self._splits[side].sources

    def test(self) -> TranslationExamples:
        """Opens the test split; raises DataError where there is none."""
        if len(self._splits[TEST]) == 0:
            raise DataError(
                "there is no test split: give one (files named test beside train), or set a share "
                "aside with test_share"
            )
        return self._splits[TEST]


def load(source: str, options: TranslationOptions, progress: Progress) -> TranslationDataset:
    """Reads, checks, splits, learns a vocabulary, and caches all of it. Raises DataError where
    the data cannot be trained on."""
    name, part = sources.with_split(source)
    if part is not None and catalog.find(source) is None and sources.recognizes(name):
        raise DataError(f"{source!r} names one part; train on {name!r}, which brings them all")
    found = sources.read(source, progress)
    parts, one, other, notes = _wanted(found, options)
    ways = to_plain(replace(options, source=one, target=other, pieces=None, vocabulary=None))
    stamp = f"{FORM} {sources.stamp(parts)} {json.dumps(ways)}"
    key = f"translation/pairs-{hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest()}"
    folder = cache.existing(key)
    if folder is None:
        progress("reading sentence pairs", 0, 1)
        with cache.writing(key) as writing:
            _prepare(writing, parts, options, one, other)
        folder = cache.existing(key)
        assert folder is not None
        progress("reading sentence pairs", 1, 1)
    stored = json.loads((folder / "content.json").read_text("utf-8"))
    pairs = Texts.read(folder, "source"), Texts.read(folder, "target")
    codes = np.load(folder / "hashes.npy", mmap_mode="r")
    ends = np.cumsum([0, *stored["counts"]]).tolist()
    cut = [slice(a, b) for a, b in pairwise(ends)]
    made = vocabulary.prepared(
        stored["fingerprint"],
        options,
        [(pairs[0][c], pairs[1][c]) for c in cut[: VALIDATION + 1]],
        progress,
    )
    splits = [
        TranslationExamples(
            pairs[0][c],
            pairs[1][c],
            codes[c],
            name,
            made.tokenizer,
            made.pieces[side] if side < len(made.pieces) else None,
        )
        for side, (name, c) in enumerate(zip(SPLITS, cut, strict=True))
    ]
    facts = {
        "source": one,
        "target": other,
        "pieces": made.tokenizer.size,
        "longest": made.longest,
        "length": made.length,
        "bleu_tokenizer": languages.bleu_tokenizer(other),
        "examples": len(splits[TRAIN]),
    }
    findings = (*found.findings, *notes, *(from_plain(Finding, f) for f in stored["findings"]))
    files = {"tokenizer.model": made.tokenizer.model}
    return TranslationDataset(facts, findings, stored["fingerprint"], files, splits)


def _wanted(
    found: Source, options: TranslationOptions
) -> tuple[list[Part], str, str, list[Finding]]:
    """The parts to load, the two languages, and what is to be said of the choice."""
    learned = [p for p in found.parts if p.split in (None, "train")]
    if not learned:
        has = ", ".join(printable(p.name) for p in found.parts)
        raise DataError(f"{printable(found.words)} has nothing to train on, only {has}")
    one, other = direction.chosen(found, learned, options)
    serving = [p for p in found.parts if direction.serves(p, one, other)]
    parts = [p for p in serving if p.split in (None, "train")]
    notes = direction.told(found.parts, options, one, other) if found.direction is None else []
    for split in ("validation", "test"):
        several = [p for p in serving if p.split == split]
        several.sort(key=lambda p: p.name not in (split, "valid", "val", "dev"))  # stable
        if not several:
            continue
        parts += several if split == "test" else several[:1]
        rest = tuple(p.name for p in several[1:])
        if rest:
            words = f"{split} is {several[0].name}; by name there are {', '.join(rest)} as well"
            notes.append(Finding("split", len(several), words))
    return parts, one, other, notes


def training_sources(
    dataset: TranslationDataset, words: str, said: TranslationOptions
) -> list[str]:
    """The sources of what can be trained on, as they stand in the files and in their order, before
    any was left out: what somebody else translates who is given these files."""
    one, other = str(dataset.facts["source"]), str(dataset.facts["target"])
    found = sources.read(words, silent)
    parts, _, _, _ = _wanted(found, replace(said, source=one, target=other))
    rows, _, _ = gather([p for p in parts if p.split in (None, "train")], one, other, stop=False)
    return rows.sources


def _prepare(
    folder: Path, parts: Sequence[Part], options: TranslationOptions, one: str, other: str
) -> None:
    """Writes the pairs of each split, one split after the other, and what was found."""
    rows, good, findings = gather(parts, one, other, options.on_bad == "stop")
    sides = np.full(len(rows), OUT, np.int8)
    tests = [i for i, p in enumerate(parts) if p.split == "test"]
    for i, part in enumerate(parts):
        side = {"validation": VALIDATION, "test": TEST}.get(part.split or "", TRAIN)
        sides[rows.part == i] = OTHER_TEST if side == TEST and i != tests[0] else side
    bad, said = filters.empty(rows, good)
    findings += said
    sides[~good | bad] = OUT
    looked_at = np.asarray((sides == TRAIN) | (sides == VALIDATION), np.bool_)
    long, said = filters.too_long(rows, options, looked_at)
    findings += said
    sides[long] = OUT
    unfit, said = filters.unfit(rows, options, one, other, np.asarray(sides == TRAIN, np.bool_))
    findings += said
    sides[unfit] = OUT
    assigned = Sides(rows, sides, options, findings)
    assigned.assign()
    order = np.concatenate([np.flatnonzero(sides == s) for s in (TRAIN, VALIDATION, TEST)])
    pairs = [rows.sources[i] for i in order.tolist()], [rows.targets[i] for i in order.tolist()]
    Texts.of(pairs[0]).write(folder, "source")
    Texts.of(pairs[1]).write(folder, "target")
    codes = hashes(*pairs)
    np.save(folder / "hashes.npy", codes)
    counts = [int((sides == s).sum()) for s in (TRAIN, VALIDATION, TEST)]
    content = {
        "counts": counts,
        "findings": [to_plain(f) for f in findings],
        "fingerprint": _fingerprint(one, other, counts, codes),
    }
    (folder / "content.json").write_text(json.dumps(content), "utf-8")


def _fingerprint(one: str, other: str, counts: Sequence[int], codes: NDArray[np.uint64]) -> str:
    """Of languages, contents and their places in the splits; not of paths, times or machines."""
    digest = hashlib.blake2b(repr([one, other, list(counts)]).encode(), digest_size=16)
    digest.update(codes.astype("<u8").tobytes())
    return digest.hexdigest()


def load_for(
    source: str, facts: Plain, options: TranslationOptions, progress: Progress
) -> TranslationExamples:
    """Pairs to grade a bundle on, in the languages that its facts fix. Nothing is filtered but
    pairs with an empty side.

    `NAME:PART` names a split or a test set of the source; without one, its test split, else its
    validation split, else everything.
    """
    found, parts, split = _graded(source, progress)
    one, other = str(facts["source"]), str(facts["target"])
    for asked, have, which in ((options.source, one, "source"), (options.target, other, "target")):
        if asked is not None and not languages.matches(asked, have):
            raise DataError(f"the bundle's {which} is {have!r}, not {asked!r}")
    serving = [p for p in parts if direction.serves(p, one, other)]
    if not serving:
        raise DataError(
            f"{printable(source)} has no pairs of {one} and {other}, which the bundle translates"
            f"{direction.by_first_line(parts)}"
        )
    if split == "test":
        serving.sort(key=lambda p: p.name != "test")
        serving = serving[:1]
    rows, good, findings = gather(serving, one, other, options.on_bad == "stop")
    bad, said = filters.empty(rows, good)
    at = np.flatnonzero(good & ~bad).tolist()
    if not at:
        raise DataError(f"{printable(source)} holds no pair that can be graded")
    pairs = [rows.sources[i] for i in at], [rows.targets[i] for i in at]
    notes = direction.told(parts, TranslationOptions(source=one, target=other), one, other)
    every = (*found.findings, *notes, *findings, *said)
    return TranslationExamples(*pairs, hashes(*pairs), split, findings=every)


def _graded(source: str, progress: Progress) -> tuple[Source, list[Part], str]:
    name, asked = sources.with_split(source)
    if catalog.find(source) is not None:
        name, asked = source, None
    found = sources.read(name, progress)
    if asked is None:
        split = next((s for s in ("test", "validation") if found.of(s)), "all")
        return found, list(found.of(split) if split != "all" else found.parts), split
    by_name = [p for p in found.parts if p.name == asked]
    split = split_of(asked) or ""
    parts = by_name or list(found.of(split))
    if not parts:
        has = ", ".join(printable(p.name) for p in found.parts)
        raise DataError(
            f"{printable(name)} has no part {asked!r} of its own (it has {has}); a split that was "
            f"set aside in training belongs to its run: evaluate the run"
        )
    return found, parts, parts[0].split or "all"
