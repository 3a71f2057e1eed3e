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
from shoestring.data.names import SPLITS, counted, printable
from shoestring.tasks.images.reading.pictures import FORM, Pictures
from shoestring.tasks.images.reading.reader import READ
from shoestring.tasks.images.reading.sources import Source

IMBALANCE = 5.0  # largest class over smallest from which it is worth a line
ALIKE = 0.995  # correlation of two coarse pictures from which they are near duplicates
_COARSE_SIDE = 16
_SHOWN = 10
_SHOWN_BROKEN = 1000  # a list to work from, not only a taste
_MOST_COMPARED = 5_000_000  # pairs of looks
_REMEMBERED_FROM = 5_000  # pictures; a smaller set is searched in no time
_MOST_CHECKED = 20_000  # pairs of pictures
_MOST_KEPT = 4_000  # coarse pictures, of 6 KB
_SEARCH = 2  # of near duplicates; a change of the search or of its words raises it

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
            f"{counted(len(bad), 'picture')} cannot be read, the first is {reasons[0]}; "
            "with --on-bad skip they are left out and counted"
        )
    could = ("picture could not be read and was", "pictures could not be read and were")
    message = f"{counted(len(bad), *could)} left out"
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
    were = counted(len(at), "picture was", "pictures were")
    message = (
        f"{were} resized to the {plan.width} x {plan.height} pixels that the bundle takes; "
        f"it was trained on pictures of that size only"
    )
    return [Finding("other size", len(at), message, tuple(shown))]


def misnamed(source: Source, pictures: Pictures) -> list[Finding]:
    wrong = (pictures.records["foreign"] != 0) & (pictures.records["status"] == READ)
    kind = "another kind of picture than the name says; read anyway"
    one, several = f"picture holds {kind}", f"pictures hold {kind}"
    return _finding("misnamed", source, wrong, one, several)


def conflicts(source: Source, pictures: Pictures, good: Mask) -> list[Finding]:
    mask = np.zeros(len(source), np.bool_)
    hashes = pictures.records["content"][good]
    mask[good] = duplicates.conflicts(hashes, source.labels[good])
    what = (
        "under more than one label, pixel for pixel the same; none was left out for it: keep each "
        "under the right label and remove it from the others"
    )
    one, several = f"picture stands {what}", f"pictures stand {what}"
    return _finding("label conflict", source, mask, one, several)


def repeats(source: Source, pictures: Pictures, good: Mask) -> list[Finding]:
    mask = np.zeros(len(source), np.bool_)
    mask[good] = duplicates.repeats(pictures.records["content"][good])
    one = "picture repeats another one pixel for pixel"
    several = "pictures repeat another one pixel for pixel"
    return _finding("duplicate", source, mask, one, several)


def left_out(source: Source, mask: Mask, kind: str, one: str, several: str) -> list[Finding]:
    return _finding(kind, source, mask, one, several, dropped=True)


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
        f"the classes are unequal: {printable(labels[high])!r} has "
        f"{counted(int(counts[high]), 'training picture')}, {printable(labels[low])!r} "
        f"{counts[low]:,}; read balanced accuracy too"
    )
    every = [f"{printable(n)}: {c:,}" for n, c in zip(labels, counts.tolist(), strict=True)]
    return [Finding("imbalance", len(labels), message, tuple(every[:100]))]


def near_duplicates(source: Source, pictures: Pictures, sides: NDArray[np.int8]) -> list[Finding]:
    """As `search_near_duplicates`, remembered for the same pictures on the same sides."""
    digest = hashlib.blake2b(pictures.records.tobytes(), digest_size=16)
    digest.update(
        sides.tobytes() + source.stamp.encode() + repr((FORM, _SEARCH, pictures.plan)).encode()
    )
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
    """Pictures that nearly equal one of another split. Looks (difference hashes) propose pairs,
    the correlation of the pixels decides; small and flat pictures, of which unlike ones look
    alike, take no part."""
    found: list[Finding] = []
    for side, others in ((0, (1, 2)), (1, (2,))):
        like: dict[int, tuple[int, int]] = {}  # a picture to its like and the like's split
        cut = False
        for other in others:
            cut |= _near(pictures, sides, side, other, like)
        if not like:
            continue
        shown = [
            f"{printable(source.names[mine])} ~ {printable(source.names[theirs])} ({SPLITS[other]})"
            for mine, (theirs, other) in list(like.items())[:_SHOWN]
        ]
        where = f"one of {' or '.join(SPLITS[other] for other in others)}; kept"
        of = f"of {SPLITS[side]} nearly"
        message = counted(len(like), f"picture {of} equals {where}", f"pictures {of} equal {where}")
        if cut:
            message += f" (there may be more: the search ends at {_MOST_COMPARED:,} pairs)"
        found.append(Finding("near duplicate", len(like), message, tuple(shown)))
    return found


def _near(
    pictures: Pictures,
    sides: NDArray[np.int8],
    side: int,
    other: int,
    like: dict[int, tuple[int, int]],
) -> bool:
    """Adds to `like` the pictures of a side that nearly equal one of another. Returns whether
    the search was cut short."""
    lively, looks = pictures.records["lively"] != 0, pictures.records["look"]
    ours, others = (np.flatnonzero(lively & (sides == s)) for s in (side, other))
    pairs, more = duplicates.near_pairs(looks[ours], looks[others], _MOST_COMPARED)
    hashes = pictures.records["content"]
    coarse = _Coarse(pictures)
    checked = pairs[:_MOST_CHECKED]
    unequal = hashes[ours[checked[:, 0]]] != hashes[others[checked[:, 1]]]
    for a, b in checked[unequal].tolist():
        mine, theirs = int(ours[a]), int(others[b])
        if mine not in like and _alike(coarse.of(mine), coarse.of(theirs)):
            like[mine] = (theirs, other)
    return more or len(pairs) > _MOST_CHECKED


class _Coarse:
    """Coarse pictures about their mean. Pictures that are like one are often like others, and
    copies of a picture look like all that it looks like: what was made is kept for a while."""

    def __init__(self, pictures: Pictures) -> None:
        self._hashes = pictures.records["content"]
        self._pixels = np.asarray(pictures.pixels)  # slices of a memmap cost far more than these
        self._kept: dict[int, NDArray[np.float64]] = {}

    def of(self, row: int) -> NDArray[np.float64]:
        content = int(self._hashes[row])
        kept = self._kept.get(content)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = _coarse(self._pixels[row])
            kept -= kept.mean()
            self._kept[content] = kept
        return kept


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return scale > 0 and float((a * b).sum()) / scale >= ALIKE


def _coarse(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of at most 16 x 16 places: noise, which no copy keeps that was resized or compressed,
    is gone from them."""
    sums = pixels.astype(np.float64)
    for axis in (0, 1):
        length = pixels.shape[axis]
        count = min(_COARSE_SIDE, length)
        starts = np.arange(count) * length // count
        widths = np.diff([*starts.tolist(), length]).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        sums = np.add.reduceat(sums, starts, axis=axis) / widths
    return sums


def _finding(
    kind: str, source: Source, mask: Mask, one: str, several: str, dropped: bool = False
) -> list[Finding]:
    at = np.flatnonzero(mask)
    if not len(at):
        return []
    shown = tuple(printable(source.names[i]) for i in at[:_SHOWN].tolist())
    words = counted(len(at), one, several)
    return [Finding(kind, len(at), words, shown, dropped=len(at) if dropped else 0)]
