"""first_pass: 20,000 JPEGs into the cache, against Pillow on all cores; and opening it again.

    python bench/first_pass.py

The pictures are sign-digits, copied until there are enough, each copy with a comment of its own
in its header: no two files are equal, so nobody can decode one for ten. Passes take turns, each
in a fresh process with its files in the page cache. Both write a file of uint8 pixels.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, child, cores, data_folder, spread

FOLDER = "sign-digits"
RATIO_ASKED, OPEN_ASKED = 0.8, 1.0
CHUNK = 64


def main() -> None:
    parser = arguments("The first data pass against Pillow.", 5, "pairs of passes")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--size", type=int, help="side of the cached square; else as decided")
    given = parser.parse_args()
    if given.quick:
        given.pictures, given.seeds = min(given.pictures, 600), 2
    figures = Figures("first_pass", given)
    ours, peer, opened, process = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
        root = Path(folder) / "pictures"
        size_bytes = copied(data_folder(FOLDER), root, given.pictures)
        made = {"pictures": given.pictures, "size_bytes": size_bytes, "cores": cores()}
        figures.line("pictures", made)
        _read_all(root)
        size = _decided(root, folder, given.size)
        for pair in range(given.seeds):
            cache = Path(folder) / f"cache-{pair}"
            found: dict[str, dict[str, Any]] = {}
            for side in ("shoestring", "pillow")[:: 1 if pair % 2 == 0 else -1]:
                job = {"side": side, "root": str(root), "size": size}
                found[side] = _child({**job, "out": f"{folder}/pillow.npy"}, cache)
                figures.line(f"pass of {side}", {"pair": pair, **found[side]})
            again = _child({"side": "shoestring", "root": str(root), "size": size}, cache)
            figures.line("opened again", {"pair": pair, **again})
            ours.append(found["shoestring"]["seconds"])
            peer.append(found["pillow"]["seconds"])
            opened.append(again["seconds"])
            process.append(again["process_seconds"])
            shutil.rmtree(cache, ignore_errors=True)
    ratio = spread([b / a for a, b in zip(ours, peer, strict=True)])
    rates = [[given.pictures / s for s in seconds] for seconds in (ours, peer)]
    summary = {
        "size": size,
        "ratio": ratio,
        "shoestring_pictures_a_second": spread(rates[0]),
        "pillow_pictures_a_second": spread(rates[1]),
        "open_seconds": spread(opened),
        "open_process_seconds": spread(process),
    }
    verdicts = [ratio.median >= RATIO_ASKED, spread(opened).median < OPEN_ASKED]
    met = ["met" if verdict else "MISSED" for verdict in verdicts]
    rows = [
        ["shoestring, pictures/s", spread(rates[0]).text(0), "-"],
        ["Pillow, pictures/s", spread(rates[1]).text(0), "-"],
        ["ratio", ratio.text(), f"{RATIO_ASKED}: {met[0]}"],
        ["opened again, s", spread(opened).text(), f"under {OPEN_ASKED:.0f} s: {met[1]}"],
        ["  whole process, s", spread(process).text(), "-"],
    ]
    head = [f"{given.pictures:,} JPEGs to {size[0]}x{size[1]}", "median (range)", "asked"]
    figures.finish(head, rows, summary)


def copied(source: Path, root: Path, count: int) -> int:
    """`count` JPEGs in class folders under `root`; their bytes together. Their mix of sizes is
    the source's, as far as whole rounds go: the last round takes evenly spread files."""
    files = sorted(p for p in source.glob("*/*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise SystemExit(f"no JPEGs in the class folders of {FOLDER}")
    written = number = 0
    while number < count:
        left = min(count - number, len(files))
        for i in range(left):
            file = files[i * len(files) // left]
            data = commented(file.read_bytes(), f"copy {number}")
            place = root / file.parent.name / f"{number:05d}-{file.stem}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            written += len(data)
            number += 1
    return written


def commented(jpeg: bytes, words: str) -> bytes:
    """The same picture with a comment segment after its start marker."""
    assert jpeg.startswith(b"\xff\xd8")
    text = words.encode("ascii")
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def _read_all(root: Path) -> None:
    for file in root.glob("*/*"):
        file.read_bytes()


def _decided(root: Path, folder: str, asked: int | None) -> list[int]:
    """The size that shoestring takes for these pictures, from a first pass off the clock, which
    also leaves its bytecode behind."""
    cache = Path(folder) / "cache-first"
    found = _child({"side": "shoestring", "root": str(root), "size": asked and [asked] * 2}, cache)
    shutil.rmtree(cache, ignore_errors=True)
    size: list[int] = found["size"]
    return size


# --- one pass, in a process of its own -----------------------------------------------------------


def _child(job: dict[str, Any], cache: Path) -> dict[str, Any]:
    words: list[str | Path] = [sys.executable, Path(__file__).resolve(), "--job", json.dumps(job)]
    done = child(words, "a pass", SHOESTRING_CACHE=str(cache))
    return {**done.found, "process_seconds": done.seconds}


def shoestring_pass(root: str, size: Sequence[int] | None) -> dict[str, Any]:
    """The whole of `load`: listing, decoding, resizing, checks, splits, mean and deviation.
    Python's start and the imports that any use of shoestring makes are not on the clock."""
    from shoestring import plugins
    from shoestring.core.protocols import silent
    from shoestring.core.run import Recipe

    for name in ("numpy", "shoestring.tasks.images.data"):
        importlib.import_module(name)
    task = plugins.task_for(root)
    said = {} if size is None else {"size": size[0]}
    options = vars(plugins.options_from(task.options, said, task.name))
    began = time.perf_counter()
    dataset = task.load(Recipe(task.name, root, options=options), silent)
    seconds = time.perf_counter() - began
    examples = len(dataset.train) + len(dataset.validation)
    return {"seconds": seconds, "size": dataset.facts["size"], "train_and_validation": examples}


def pillow_pass(root: str, size: Sequence[int], out: str) -> dict[str, Any]:
    """Decode, convert, resize bilinear; a pool of processes that runs already when the clock
    starts, chunks as they come, each written where it belongs in one .npy."""
    import numpy as np

    context = multiprocessing.get_context("spawn")
    with context.Pool(cores()) as pool:
        pool.map(_ready, range(4 * cores()), chunksize=1)
        began = time.perf_counter()
        paths = sorted(str(path) for path in Path(root).glob("*/*"))
        shape = (len(paths), size[0], size[1], 3)
        np.lib.format.open_memmap(out, "w+", np.uint8, shape).flush()
        jobs = [(i, paths[i : i + CHUNK], out) for i in range(0, len(paths), CHUNK)]
        count = sum(pool.imap_unordered(_decoded, jobs))
        seconds = time.perf_counter() - began
    assert count == len(paths)
    return {"seconds": seconds}


def _ready(number: int) -> int:
    import numpy as np
    from PIL import Image

    Image.init()
    time.sleep(0.01)  # so that every worker gets one
    return number + int(np.uint8(0))


def _decoded(job: tuple[int, Sequence[str], str]) -> int:
    import numpy as np
    from PIL import Image

    start, paths, out = job
    pixels = np.load(out, mmap_mode="r+")
    size = (pixels.shape[2], pixels.shape[1])
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            picture = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        pixels[start + i] = np.asarray(picture)
    return len(paths)


def _run_job(words: str) -> None:
    job = json.loads(words)
    if job["side"] == "shoestring":
        print(json.dumps(shoestring_pass(job["root"], job["size"])))
    else:
        print(json.dumps(pillow_pass(job["root"], job["size"], job["out"])))


if __name__ == "__main__":
    quiet = argparse.ArgumentParser(add_help=False)
    quiet.add_argument("--job")
    job, _ = quiet.parse_known_args()
    if job.job is None:
        main()
    else:
        _run_job(job.job)
