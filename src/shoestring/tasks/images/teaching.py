"""teaching: pictures that a teacher labels, and outputs for the training pictures in a file.

Shapes: B pictures, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError, DataError, UserError
from shoestring.core.protocols import Answering, silent
from shoestring.core.receipt import Finding, Plain
from shoestring.core.run import Run
from shoestring.core.teaching import Learned, Lesson
from shoestring.data.names import SPLITS, counted, printable
from shoestring.tasks.images import answered, data
from shoestring.tasks.images.data import ImageDataset
from shoestring.tasks.images.options import ImageOptions
from shoestring.tasks.images.predict import ImagePredictor
from shoestring.tasks.images.reading import inputs, sources
from shoestring.tasks.images.reading.pictures import Wish, gather, readable
from shoestring.tasks.images.reading.reader import Plan
from shoestring.tasks.images.reading.sources import Entry, Source

_AT_ONCE = 256  # pictures
_SUM = 0.02  # by which probabilities of all labels may miss 1


def unlike(facts: Plain, run: Run) -> str:
    """Always "": a teacher knows the same labels, or it is refused."""
    ours, theirs = list(run.facts["labels"]), list(facts.get("labels", ()))
    if ours != theirs:
        raise UserError(f"the teacher {_differing(ours, theirs)}; a student learns the same labels")
    for name in ("size", "channels"):
        if facts.get(name) != run.facts[name]:
            raise UserError(
                f"the teacher reads pictures of {name} {facts.get(name)}, the student of "
                f"{run.facts[name]}; train one of them with --{name} as the other has it"
            )
    return ""


def _differing(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if set(ours) == set(theirs):
        at = next(i for i, one in enumerate(ours) if one != theirs[i])
        return (
            f"has the same labels in another order: number {at + 1} is {printable(theirs[at])!r} "
            f"and here {printable(ours[at])!r}"
        )
    lacking = [label for label in ours if label not in theirs]
    more = [label for label in theirs if label not in ours]
    said = [f"does not know {printable(lacking[0])!r}"] if lacking else []
    said += [f"has {printable(more[0])!r} as well"] if more else []
    return f"{' and '.join(said)} (it has {len(theirs)} labels, the data {len(ours)})"


def taught(run: Run, lesson: Lesson) -> Learned:
    """The labels that a bundle gives to pictures without any, or the outputs of a file."""
    if lesson.train and lesson.opened is not None:
        raise UserError(
            "distill: a picture has no more than one label to say, and level=word learns what the "
            "teacher thinks of all of them; take that"
        )
    if lesson.key and answered.there(lesson.key):
        return Learned(lesson.key)
    said = ImageOptions(**run.recipe.options)
    dataset = data.load(run.recipe.source, said, silent)
    if lesson.file is not None:
        if lesson.unlabelled:
            raise UserError(
                "a file of outputs answers nothing new; name a run or a bundle as the teacher of "
                "unlabelled pictures"
            )
        return _as_before(lesson, _outputs(lesson.file, dataset))
    if lesson.opened is None:
        raise UserError(
            f"{lesson.teacher} can be no teacher of pictures; name a run, a bundle or a file of "
            "outputs"
        )
    if not lesson.unlabelled:
        return Learned("")
    return _as_before(lesson, _labelled(lesson.opened, lesson.unlabelled, dataset))


def _as_before(lesson: Lesson, found: Learned) -> Learned:
    if lesson.key and found.key != lesson.key:
        raise UserError(
            f"the teacher {lesson.teacher} says something else than when this recipe was recorded "
            f"({found.key}, then {lesson.key}); put it back, or leave out lesson={lesson.key}"
        )
    return found


# --- pictures without labels ---------------------------------------------------------------------


def _labelled(opened: Answering, words: str, dataset: ImageDataset) -> Learned:
    """Pictures of a folder, or of anything that pictures are read from, with the labels that the
    teacher finds likeliest. What stands in validation or test is left out."""
    facts = dataset.facts
    resize = bool(facts["resize"])
    height, width = facts["size"]
    plan = Plan(height, width, facts["channels"], resize, by_pillow=not resize)
    listed, asked = _listed(words)
    pictures = gather(listed, Wish(plan=plan), silent)
    good = readable(pictures)
    held = np.isin(pictures.records["content"], dataset.held_hashes())
    rows = np.flatnonzero(asked & good & ~held)
    if not len(rows):
        raise DataError(
            f"unlabelled={printable(words)} holds no picture to learn from: "
            f"{counted(int((asked & ~good).sum()), 'picture')} could not be read, "
            f"{int((asked & held).sum()):,} stand in validation or test"
        )
    predictor = getattr(opened, "predictor", None)
    if not isinstance(predictor, ImagePredictor):
        raise BundleError("the teacher's bundle does not answer pictures")
    pixels_BHWC = np.ascontiguousarray(pictures.pixels[rows])
    found = [
        predictor.probabilities(pixels_BHWC[first : first + _AT_ONCE]).argmax(axis=1)
        for first in range(0, len(rows), _AT_ONCE)
    ]
    key = answered.kept(pixels_BHWC, np.concatenate(found).astype(np.int64))
    said = f"{counted(len(rows), 'picture')} of {printable(words)} to learn from, as the teacher "
    said += "labels them"
    left_out = int(asked.sum()) - len(rows)
    if left_out:
        said += f"; {left_out:,} that cannot be read, or stand in validation or test, are left out"
    return Learned(key, (Finding("unlabelled", len(rows), said, dropped=left_out),))


def _listed(words: str) -> tuple[Source, NDArray[np.bool_]]:
    """Every picture of a folder and those below it; else whatever pictures are trained on, or one
    split of it. And which of them (N,) were asked for."""
    folder = Path(words).expanduser()
    if not folder.is_dir():
        name, split = sources.with_split(words)
        listed = sources.read(name, silent)
        every = np.ones(len(listed), np.bool_)
        return listed, every if split is None else listed.splits == SPLITS.index(split)
    entries = [
        Entry(os.path.relpath(path, folder), path, "", None)
        for _, path in inputs.listed(str(folder))
        if isinstance(path, str)
    ]
    if not entries:
        raise DataError(f"unlabelled={printable(words)} holds no picture")
    return sources.assemble(words, folder, entries), np.ones(len(entries), np.bool_)


# --- outputs in a file ---------------------------------------------------------------------------


def _outputs(path: Path, dataset: ImageDataset) -> Learned:
    """Probabilities of the training pictures, one line each as `predict --top N` writes them:
    a name, then labels with their probabilities, divided by tabs. What is left to 1 is shared by
    the labels that are not named. A picture may be named by the end of its path."""
    labels = {label: i for i, label in enumerate(dataset.facts["labels"])}
    found: dict[str, NDArray[np.float32]] = {}
    for number, line in enumerate(_lines(path), 1):
        name, *columns = line.split("\t")
        found[name.replace(os.sep, "/")] = _row(columns, labels, f"{path}, line {number:,}")
    names = [name.replace(os.sep, "/") for name in dataset.train.names]
    known = _by_ending(found)
    rows = [known.get(name) for name in names]
    lacking = [name for name, row in zip(names, rows, strict=True) if row is None]
    if lacking:
        raise DataError(
            f"{printable(str(path))} has outputs for {len(names) - len(lacking):,} of the "
            f"{counted(len(names), 'picture')} to train on; {printable(lacking[0])!r} has none"
        )
    shares_BK = np.stack([row for row in rows if row is not None])
    said = f"{counted(len(names), 'training picture')} with the outputs of {printable(str(path))}"
    return Learned(answered.kept_shares(shares_BK), (Finding("outputs", len(names), said),))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(str(path))} cannot be read: {error}") from error
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def _row(columns: Sequence[str], labels: Mapping[str, int], where: str) -> NDArray[np.float32]:
    row_K = np.zeros(len(labels))
    if not columns or len(columns) % 2:
        raise DataError(f"{where}: after the name stand labels, each with its probability")
    for label, text in zip(columns[::2], columns[1::2], strict=True):
        if label not in labels:
            raise DataError(f"{where}: the training data have no label {printable(label)!r}")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1 + _SUM:
            raise DataError(f"{where}: {printable(text)!r} is no probability")
        row_K[labels[label]] = share
    left, others = 1 - float(row_K.sum()), row_K == 0
    if left < -_SUM or (left > _SUM and not others.any()):
        raise DataError(f"{where}: the probabilities come to {float(row_K.sum()):.3f}, not to 1")
    if others.any():
        row_K[others] = max(0.0, left) / int(others.sum())
    found: NDArray[np.float32] = (row_K / row_K.sum()).astype(np.float32)
    return found


def _by_ending(found: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """By every end of a path; an end that several paths have stands for none of them."""
    ends: dict[str, NDArray[np.float32] | None] = {}
    for name, row in found.items():
        parts = name.split("/")
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            ends[end] = None if end in ends else row
    return {end: row for end, row in ends.items() if row is not None} | dict(found)
