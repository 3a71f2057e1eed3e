"""pictures: a source decoded once into a memory-mapped file of equal pictures, and what was seen.

Shapes: N pictures of the source, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from shoestring.core.errors import DataError, UserError
from shoestring.core.protocols import Progress
from shoestring.data import cache
from shoestring.data.names import printable
from shoestring.tasks.images.reading import decoders, pixels
from shoestring.tasks.images.reading.preprocess import Resizer, resize_graph
from shoestring.tasks.images.reading.reader import (
    COLOURED,
    OTHER_SIZE,
    READ,
    RECORD,
    Plan,
    read_arrays,
)
from shoestring.tasks.images.reading.sources import Source

FORM = 2  # of the cached files; a change of decoding, hashing or resizing raises it
KEEP_SIDE = 128  # pictures that are all of one size up to this side are kept as they are
SMALLEST_SIDE, LARGEST_SIDE, SIDE_STEP = 16, 96, 8  # of the square that is chosen otherwise
_PROBES = 250  # headers; a set that turns out otherwise is filled again
_ARRAY_CHUNK = 4096
_STAGE = "reading pictures"


@dataclass(frozen=True)
class Wish:
    """What is asked of the form. With `plan` all is fixed; else None is decided from the data."""

    size: int | None = None
    channels: int | None = None
    plan: Plan | None = None


@dataclass(frozen=True)
class Pictures:
    """All pictures of a source in one form. Rows of pictures that were not read are zero."""

    plan: Plan
    records: NDArray[np.void]  # (N,) of reader.RECORD
    reasons: dict[int, str]  # position to what is wrong with the file
    pixels: NDArray[np.uint8]  # (N, H, W, C), memory-mapped


def gather(source: Source, wish: Wish, progress: Progress) -> Pictures:
    """From the cache where the same files were read before, else read now."""
    if len(source) == 0:
        raise DataError(f"{printable(source.words)} holds no pictures")
    key = f"images/{_key(source, wish)}"
    found = _open(key, len(source)) or _as_trained(source, wish)
    if found is None:
        with cache.writing(key) as folder:
            _fill(source, wish, folder, progress)
        found = _open(key, len(source))
        if found is None:
            raise DataError(
                f"what was written to {cache.cache_folder()} cannot be read back; "
                f"set SHOESTRING_CACHE to a folder on a sound disk"
            )
    return found


def _as_trained(source: Source, wish: Wish) -> Pictures | None:
    """A fixed form is often the one that was chosen when the same source was trained on."""
    if wish.plan is None:
        return None
    found = _open(f"images/{_key(source, Wish())}", len(source))
    chosen = replace(wish.plan, by_pillow=False)  # all pictures fit a plan that was chosen
    fits = found is not None and replace(found.plan, strict_grey=False) == chosen
    return found if fits else None


def _key(source: Source, wish: Wish) -> str:
    versions = [FORM, pillow_version, _version("onnxruntime"), _version("pillow-heif")]
    asked = [versions, source.stamp, asdict(wish), len(source)]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=16).hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _open(key: str, count: int) -> Pictures | None:
    folder = cache.existing(key)
    if folder is None:
        return None
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    plan = Plan(**meta["plan"])
    records = np.fromfile(folder / "records", RECORD)
    shape = (count, plan.height, plan.width, plan.channels)
    mapped = np.memmap(folder / "pixels", np.uint8, "r", shape=shape)
    return Pictures(plan, records, {int(i): r for i, r in meta["reasons"].items()}, mapped)


def _fill(source: Source, wish: Wish, folder: Path, progress: Progress) -> None:
    """Chooses a form from a sample; where a picture turns out not to fit it, starts again."""
    if source.arrays is not None:
        plan = _fill_from_arrays(source, source.arrays(), wish, folder, progress)
        reasons: dict[int, str] = {}
    else:
        with decoders.Crew(source.paths, source.file_sizes) as crew:
            plan = wish.plan or choose(*_probed(source), wish)
            chosen = wish.plan is None
            while True:
                misfits, reasons = _fill_from_files(source, crew, plan, chosen, folder, progress)
                if not misfits:
                    break
                if COLOURED in misfits:
                    plan = replace(plan, channels=3, strict_grey=False)
                if OTHER_SIZE in misfits:
                    side = wish.size or square_side([(plan.height, plan.width)])
                    plan = replace(plan, height=side, width=side, resize=True)
    (folder / "resize.onnx").unlink(missing_ok=True)
    meta = {"plan": asdict(plan), "reasons": reasons}
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")


def _fill_from_files(
    source: Source,
    crew: decoders.Crew,
    plan: Plan,
    chosen: bool,
    folder: Path,
    progress: Progress,
) -> tuple[set[int], dict[int, str]]:
    """Statuses that show a chosen plan to be wrong, and the reasons of broken files."""
    graph = resize_graph((plan.height, plan.width)) if plan.resize else None
    if graph is not None:
        (folder / "resize.onnx").write_bytes(graph)
    decoders.create(folder, len(source), plan)
    reasons: dict[int, str] = {}
    done = 0
    progress(_STAGE, 0, len(source))
    parts = crew.decode(plan, graph, folder)
    for _, count, statuses, broken in parts:
        misfits = statuses & {COLOURED, OTHER_SIZE}
        if chosen and misfits:
            break
        reasons |= broken
        done += count
        progress(_STAGE, done, len(source))
    else:
        return set(), dict(sorted(reasons.items()))
    parts.close()  # ends its workers; others start for the next plan
    return misfits, {}


def _fill_from_arrays(
    source: Source, pictures: NDArray[np.uint8], wish: Wish, folder: Path, progress: Progress
) -> Plan:
    _, height, width, channels = pictures.shape
    plan = wish.plan or choose([(height, width)], channels == 1, wish)
    needed = plan.resize and (height, width) != (plan.height, plan.width)
    resizer = Resizer(resize_graph((plan.height, plan.width))) if needed else None
    decoders.create(folder, len(source), plan)
    for start in range(0, len(pictures), _ARRAY_CHUNK):
        end = min(start + _ARRAY_CHUNK, len(pictures))
        decoders.store(folder, start, read_arrays(pictures[start:end], plan, resizer))
        progress(_STAGE, end, len(pictures))
    return plan


def _probed(source: Source) -> tuple[list[tuple[int, int]], bool]:
    """Sizes, and whether all are grey, of the pictures whose headers were looked at: up to
    250 evenly spread, and those of the smallest and largest files, where odd ones hide."""
    count = len(source)
    spread = {i * count // _PROBES for i in range(_PROBES)} if count > _PROBES else range(count)
    by_size = sorted(range(count), key=source.file_sizes.__getitem__) if count > _PROBES else []
    sizes, grey = [], True
    first = ""
    for i in sorted({*spread, *by_size[:32], *by_size[-32:]}):
        try:
            height, width, is_grey = pixels.probe(source.paths[i])
        except UserError as error:
            reason = str(error).removeprefix(f"{source.paths[i]}: ")
            first = first or f"{printable(source.names[i])}: {reason}"
            continue
        sizes.append((height, width))
        grey &= is_grey
    if not sizes:
        raise DataError(
            f"none of the {count:,} pictures in {printable(source.words)} can be read; "
            f"the first is {first}"
        )
    return sizes, grey


def choose(sizes: list[tuple[int, int]], grey: bool, wish: Wish) -> Plan:
    """Pictures of one size, at most 128 a side, are kept. Others become squares: of the size that
    at least half of them have where that is a square of at most 128, so that these stay as they
    are; else of the median short side, at least 16 and at most 96, rounded down to a multiple
    of 8."""
    channels = wish.channels or (1 if grey else 3)
    strict = wish.channels is None and grey
    if len(set(sizes)) == 1:
        height, width = sizes[0]
        if wish.size is None and max(height, width) <= KEEP_SIDE:
            return Plan(height, width, channels, resize=False, strict_grey=strict)
        if (height, width) == (wish.size, wish.size):
            return Plan(height, width, channels, resize=False, strict_grey=strict)
    side = wish.size or square_side(sizes)
    return Plan(side, side, channels, resize=True, strict_grey=strict)


def square_side(sizes: list[tuple[int, int]]) -> int:
    (height, width), count = Counter(sizes).most_common(1)[0]
    if height == width and SMALLEST_SIDE <= height <= KEEP_SIDE and 2 * count >= len(sizes):
        return height
    side = int(min(max(median(min(size) for size in sizes), SMALLEST_SIDE), LARGEST_SIDE))
    return side - side % SIDE_STEP


def readable(pictures: Pictures) -> NDArray[np.bool_]:
    return np.asarray(pictures.records["status"] == READ, np.bool_)
