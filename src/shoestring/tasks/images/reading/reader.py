"""reader: one pass over some pictures: decode, check, hash, and bring to the data set's size.

Run as a module it is a worker process: jobs come as JSON lines on standard input, pixels and
records go straight into the files of the cache, and a short answer to standard output.
Shapes: B pictures of a chunk, H height, W width, C channels.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.tasks.images.reading import pixels as decoding
from shoestring.tasks.images.reading.preprocess import Resizer, resized

READ, BROKEN, OTHER_SIZE, COLOURED = 1, 2, 3, 4  # status: the last two do not fit the plan
RECORD = np.dtype(
    [
        ("content", "<u8"),  # hash of the decoded pixels and their shape
        ("look", "<u8"),  # difference hash of 8 x 9 brightness means, where `lively`
        ("height", "<i4"),  # as decoded
        ("width", "<i4"),
        ("status", "u1"),
        ("foreign", "u1"),  # the content is of another kind than the name says
        ("lively", "u1"),  # large and varied enough for `look` to mean something
        ("spare", "u1"),
    ]
)
# What a file ending says the content should be; content decides in the end.
ENDINGS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
    ".bmp": ("BMP", "DIB"),
    ".gif": ("GIF",),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), ("PPM",)),
    **dict.fromkeys((".heic", ".heif"), ("HEIF",)),
}
_LOOK_SIDE = 32  # below this, unlike pictures look alike at 8 x 9
_LOOK_SPREAD = 8.0  # standard deviation of the 72 means, of 255: below it a picture is flat


@dataclass(frozen=True)
class Plan:
    """The form in which every picture of a set is kept."""

    height: int
    width: int
    channels: int
    resize: bool  # bring others to this size by the graph that ships in the bundle
    strict_grey: bool = False  # a picture with colour does not fit one channel
    by_pillow: bool = False  # bring others to this size as predict does where no graph resizes


@dataclass(frozen=True)
class Chunk:
    records: NDArray[np.void]  # (B,) of RECORD
    pixels: NDArray[np.uint8]  # (B, H, W, C); zeros where a picture was not read
    reasons: dict[int, str]  # position in the chunk to what is wrong with the file


def content_hash(pixels: NDArray[np.uint8]) -> int:
    """64 bits of the sha256 of shape and values: the same for the same pixels everywhere."""
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(digest.digest()[:8], "little")


def read_files(paths: Sequence[str], plan: Plan, resizer: Resizer | None) -> Chunk:
    """Decodes a chunk of files. Never raises for what a file holds."""
    records = np.zeros(len(paths), RECORD)
    out = np.empty((len(paths), plan.height, plan.width, plan.channels), np.uint8)
    reasons: dict[int, str] = {}
    for i, path in enumerate(paths):
        try:
            picture = decoding.read(path, plan.channels)
        except UserError as error:
            records[i]["status"], out[i] = BROKEN, 0
            reasons[i] = str(error).removeprefix(f"{path}: ")
            continue
        known = ENDINGS.get(os.path.splitext(path)[1].lower())
        foreign = known is not None and picture.format not in known
        status = READ
        if plan.strict_grey and not picture.grey:
            status, out[i] = COLOURED, 0
        elif picture.pixels.shape[:2] == (plan.height, plan.width):
            out[i] = picture.pixels
        elif plan.by_pillow:
            out[i] = resized(picture.pixels, (plan.height, plan.width))
        elif resizer is None:
            status, out[i] = OTHER_SIZE, 0
        else:
            out[i] = resizer(picture.pixels[None])[0]
        height, width = picture.pixels.shape[:2]
        records[i] = (content_hash(picture.pixels), 0, height, width, status, foreign, 0, 0)
    _look(records, out)
    return Chunk(records, out, reasons)


def read_arrays(pictures: NDArray[np.uint8], plan: Plan, resizer: Resizer | None) -> Chunk:
    """The same for a chunk (B, h, w, c) that is decoded already; c becomes the plan's channels."""
    if pictures.shape[3] == 1 and plan.channels == 3:
        pictures = np.repeat(pictures, 3, axis=3)
    elif pictures.shape[3] == 3 and plan.channels == 1:
        # the weights and the rounding of Pillow's conversion of RGB to L
        weighed = pictures @ np.array([19595, 38470, 7471], np.uint32) + np.uint32(0x8000)
        pictures = (weighed >> np.uint32(16)).astype(np.uint8)[..., None]
    records = np.zeros(len(pictures), RECORD)
    records["height"], records["width"] = pictures.shape[1:3]
    records["content"] = [content_hash(p) for p in pictures]
    fits = pictures.shape[1:3] == (plan.height, plan.width)
    able = plan.by_pillow or resizer is not None
    records["status"] = READ if fits or able else OTHER_SIZE
    if fits:
        out = np.ascontiguousarray(pictures)
    elif plan.by_pillow:
        out = np.stack([resized(p, (plan.height, plan.width)) for p in pictures])
    elif resizer is not None:
        out = resizer(np.ascontiguousarray(pictures))
    else:
        out = np.zeros((len(pictures), plan.height, plan.width, plan.channels), np.uint8)
    _look(records, out)
    return Chunk(records, out, {})


def _look(records: NDArray[np.void], pixels: NDArray[np.uint8]) -> None:
    """Fills in the difference hash: is each of 8 x 8 places darker than the one to its right?"""
    _, height, width, channels = pixels.shape
    large = np.minimum(records["height"], records["width"]) >= _LOOK_SIDE
    large &= records["status"] == READ
    if height < 9 or width < 9 or not large.any():
        return
    rows, columns = _parts(height, 8), _parts(width, 9)
    # One after the other, because one fits the processor's cache. Green, or grey. Sums of whole
    # numbers are exact in any order.
    bright = (pixels[i, ..., channels // 2] for i in np.flatnonzero(large))
    sums = np.stack([rows @ one.astype(np.float64) @ columns.T for one in bright])
    means = sums / (rows.sum(axis=1)[:, None] * columns.sum(axis=1)[None, :])
    bits = (means[:, :, :-1] < means[:, :, 1:]).reshape(-1, 64)
    set_bits = bits.sum(axis=1)
    lively = (means.std(axis=(1, 2)) >= _LOOK_SPREAD) & (set_bits >= 8) & (set_bits <= 56)
    records["look"][large] = np.packbits(bits, axis=1).view("<u8").reshape(-1)
    records["lively"][large] = lively


@cache
def _parts(length: int, count: int) -> NDArray[np.float64]:
    """(count, length) ones where a place lies in the part, zeros elsewhere."""
    starts = np.arange(count + 1) * length // count
    places = np.arange(length)
    inside = (places >= starts[:-1, None]) & (places < starts[1:, None])
    return inside.astype(np.float64)


def main() -> None:
    """A worker: a first line with the plan and the files, then a line for each chunk."""
    warnings.simplefilter("ignore")
    say = sys.stdout.buffer
    decoding.formats()  # while the plan is made
    gc.freeze()  # what was imported stays: no collection needs to look through it
    job = json.loads(sys.stdin.buffer.readline())
    plan = Plan(**job["plan"])
    graph = Path(job["graph"]).read_bytes() if job["graph"] else None
    resizer = None if graph is None else Resizer(graph)
    # unbuffered, so that a full disk is met once and not again when the file is closed
    with open(job["pixels"], "r+b", 0) as pixels, open(job["records"], "r+b", 0) as records:
        say.write(b'{"ready": true}\n')
        say.flush()
        for line in sys.stdin.buffer:
            start, paths = json.loads(line)
            chunk = read_files(paths, plan, resizer)
            answer: dict[str, object] = {
                "reasons": chunk.reasons,
                "statuses": sorted({int(s) for s in chunk.records["status"]}),
            }
            try:
                for file, values in ((pixels, chunk.pixels), (records, chunk.records)):
                    file.seek(start * values[0].nbytes)
                    left = memoryview(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)
                    while left:
                        left = left[file.write(left) :]
            except OSError as error:
                answer["errno"] = error.errno
            say.write(json.dumps(answer).encode() + b"\n")
            say.flush()


if __name__ == "__main__":
    main()
