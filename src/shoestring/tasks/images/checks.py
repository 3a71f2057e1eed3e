"""checks: what is to be said of a picture data set before it is trained on, counted.

Shapes: N pictures of the source; masks and labels are (N,).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import DataError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Finding
from shoestring.data import cache, duplicates
from shoestring.data.names import SPLITS, printable
from shoestring.tasks.images.reading.pictures import FORM, Pictures
from shoestring.tasks.images.reading.reader import READ
from shoestring.tasks.images.reading.sources import Source

IMBALANCE = 5.0  # largest class over smallest from which it is worth a line
ALIKE = 0.98  # correlation of two pictures' pixels from which they are near duplicates
_SHOWN = 10
_SHOWN_BROKEN = 1000  # a list to work from, not only a taste
_MOST_COMPARED = 5_000_000  # pairs of looks
_REMEMBERED_FROM = 5_000  # pictures; a smaller set is searched in no time
_MOST_CHECKED = 20_000  # pairs of pictures

Mask = NDArray[np.bool_]


def broken(source: Source, pictures: Pictures, on_bad: str) -> list[Finding]:
    """Files that could not be read, each with its reason; DataError where they are to stop."""
    bad = np.flatnonzero(pictures.records["status"] != READ)
    if not len(bad):
        return []
    reasons = [
        f"{printable(source.names[i])}: {printable(pictures.reasons.get(i, 'not read'))}"
        for i in bad[:_SHOWN_BROKEN].tolist()
    ]
    if on_bad == "stop":
        raise DataError(
            f"{_pictures(len(bad))} cannot be read, the first is {reasons[0]}; "
            f"with on_bad=skip they are left out and counted"
        )
    message = f"{_pictures(len(bad))} could not be read and were left out"
    return [Finding("broken", len(bad), message, tuple(reasons), dropped=len(bad))]


def resized(source: Source, pictures: Pictures) -> list[Finding]:
    """Pictures of another size than all that the model was trained on; graded as predict
    answers them."""
    records, plan = pictures.records, pictures.plan
    if not plan.by_pillow:
        return []
    other = (records["height"] != plan.height) | (records["width"] != plan.width)
    at = np.flatnonzero(other & (records["status"] == READ))
    if not len(at):
        return []
    shown = [
        f"{printable(source.names[i])}: {records[i]['width']} x {records[i]['height']}"
        for i in at[:_SHOWN].tolist()
    ]
    message = (
        f"{_pictures(len(at))} resized to the {plan.width} x {plan.height} pixels that the bundle "
        f"takes; it was trained on pictures of that size only"
    )
    return [Finding("other size", len(at), message, tuple(shown))]


def misnamed(source: Source, pictures: Pictures) -> list[Finding]:
    wrong = (pictures.records["foreign"] != 0) & (pictures.records["status"] == READ)
    return _finding(
        "misnamed", source, wrong, "{} hold another kind of picture than the name says; read anyway"
    )


def conflicts(source: Source, pictures: Pictures, good: Mask) -> list[Finding]:
    mask = np.zeros(len(source), np.bool_)
    hashes = pictures.records["content"][good]
    mask[good] = duplicates.conflicts(hashes, source.labels[good])
    return _finding("label conflict", source, mask, "{} stand under more than one label")


def repeats(source: Source, pictures: Pictures, good: Mask) -> list[Finding]:
    mask = np.zeros(len(source), np.bool_)
    mask[good] = duplicates.repeats(pictures.records["content"][good])
    return _finding("duplicate", source, mask, "{} repeat another one byte for byte")


def left_out(source: Source, mask: Mask, kind: str, message: str) -> list[Finding]:
    return _finding(kind, source, mask, message, dropped=True)


def lacking(split: str, counts: NDArray[np.int64], labels: Sequence[str]) -> list[Finding]:
    """Classes that a split has no picture of."""
    missing = [printable(labels[i]) for i in np.flatnonzero(counts == 0).tolist()]
    if not missing:
        return []
    words = f"the {split} split has no picture of {len(missing)} of {len(labels)} classes"
    return [Finding("missing class", len(missing), words, tuple(missing[:_SHOWN]))]


def imbalance(counts: NDArray[np.int64], labels: Sequence[str]) -> list[Finding]:
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[high] <= IMBALANCE * counts[low]:
        return []
    message = (
        f"the classes are unequal: {printable(labels[high])!r} has {counts[high]:,} training "
        f"pictures, {printable(labels[low])!r} {counts[low]:,}; read balanced accuracy too"
    )
    every = [f"{printable(n)}: {c:,}" for n, c in zip(labels, counts.tolist(), strict=True)]
    return [Finding("imbalance", len(labels), message, tuple(every[:100]))]


def near_duplicates(source: Source, pictures: Pictures, sides: NDArray[np.int8]) -> list[Finding]:
    """As `search_near_duplicates`, remembered for the same pictures on the same sides."""
    digest = hashlib.blake2b(pictures.records.tobytes(), digest_size=16)
    digest.update(sides.tobytes() + source.stamp.encode() + repr((FORM, pictures.plan)).encode())
    key = f"images/near-{digest.hexdigest()}"
    folder = cache.existing(key)
    if folder is not None:
        rows = json.loads((folder / "findings.json").read_text("utf-8"))
        return [from_plain(Finding, row) for row in rows]
    found = search_near_duplicates(source, pictures, sides)
    if found or len(source) > _REMEMBERED_FROM:
        with cache.writing(key) as writing:
            text = json.dumps([to_plain(f) for f in found])
            (writing / "findings.json").write_text(text, "utf-8")
    return found


def search_near_duplicates(
    source: Source, pictures: Pictures, sides: NDArray[np.int8]
) -> list[Finding]:
    """Training pictures that nearly equal one of validation or test. Looks (difference hashes)
    propose pairs, the correlation of the pixels decides; small and flat pictures, of which
    unlike ones look alike, take no part."""
    lively = pictures.records["lively"] != 0
    train = np.flatnonzero(lively & (sides == 0))
    found: dict[int, tuple[int, int]] = {}  # training picture to its like and the like's split
    cut = False
    for side in (1, 2):
        others = np.flatnonzero(lively & (sides == side))
        looks = pictures.records["look"]
        pairs, more = duplicates.near_pairs(looks[train], looks[others], _MOST_COMPARED)
        cut |= more or len(pairs) > _MOST_CHECKED
        hashes = pictures.records["content"]
        for a, b in pairs[:_MOST_CHECKED].tolist():
            mine, theirs = int(train[a]), int(others[b])
            if mine in found or hashes[mine] == hashes[theirs]:
                continue
            if _alike(pictures.pixels[mine], pictures.pixels[theirs]):
                found[mine] = (theirs, side)
    if not found:
        return []
    shown = [
        f"{printable(source.names[mine])} ~ {printable(source.names[theirs])} ({SPLITS[side]})"
        for mine, (theirs, side) in list(found.items())[:_SHOWN]
    ]
    message = f"{_pictures(len(found))} of train nearly equal one of validation or test; kept"
    if cut:
        message += f" (there may be more: the search ends at {_MOST_COMPARED:,} pairs)"
    return [Finding("near duplicate", len(found), message, tuple(shown))]


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return scale > 0 and float((a * b).sum()) / scale >= ALIKE


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _finding(
    kind: str, source: Source, mask: Mask, message: str, dropped: bool = False
) -> list[Finding]:
    at = np.flatnonzero(mask)
    if not len(at):
        return []
    shown = tuple(printable(source.names[i]) for i in at[:_SHOWN].tolist())
    words = message.format(_pictures(len(at)))
    return [Finding(kind, len(at), words, shown, dropped=len(at) if dropped else 0)]
