"""cluster_predict: answers to very many inputs, with a worker killed halfway.

    python bench/cluster_predict.py --inputs 100000

Pictures and sentences that are generated, a bundle of each task that was trained for a moment, and
the command `predict --cluster local --input --out`. When half of the answers are there a worker is
killed. Asked for: one answer an input, none twice, and memory that does not grow with the inputs:
of the second half of the answers no more than a tenth above that of the first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _figures import Figures, arguments, verdict
from PIL import Image

import shoestring
from shoestring.cluster.batches import SHARD

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests import tiny

GROWTH = 1.1  # of the memory, from the first half of the answers to the second
FOLDER = 2000  # pictures in one
WORKER = "ray::MapBatches"


def pictures(folder: Path, count: int) -> Path:
    draws = np.random.default_rng(0)
    for number in range(count):
        if not number % FOLDER:
            (folder / f"{number // FOLDER:03d}").mkdir(parents=True)
        pixels = draws.integers(0, 255, (tiny.SIDE, tiny.SIDE), dtype=np.uint8)
        path = folder / f"{number // FOLDER:03d}" / f"{number:06d}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
    return folder


def sentences(path: Path, count: int) -> Path:
    draws = np.random.default_rng(0)
    words = ["one", "two", "three", "red", "blue", "old", "new", "dog", "cat", "tree", "house"]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            some = draws.choice(words, draws.integers(3, 9))
            file.write(" ".join(some) + "\n")
    return path


def bundle_of(task: str, home: Path) -> Path:
    source: Any = home / f"{task}-data"
    if task == "images":
        source = tiny.write_npz(home / "bars.npz")
        network = "compact:width=4"
        shoestring.train(source, out=home / task, steps=60, threads=1, network=network)
    else:
        source.mkdir()
        source = tiny.of_task(task).write(source)
        recipe = tiny.recipe(Path(source), steps=60)
        shoestring.train(recipe=recipe, out=home / task)
    return home / task


def memory(pid: int) -> int:
    """Bytes that a process has for itself."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    return sum(
        1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_")
    )


def workers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(
                WORKER.encode()
            ):
                found.append(int(entry.name))
        except OSError:  # it ended since
            continue
    return found


def answered(bundle: Path, inputs: Path, out: Path, count: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "shoestring", "predict", str(bundle), "--cluster", "local"]
    words += ["--cluster-cpus", "2", "--input", str(inputs), "--out", str(out), "--json"]
    began = time.perf_counter()
    peaks, worker_peaks, killed, first = [0, 0], [0, 0], 0, 0.0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as driver:
        while driver.poll() is None:
            done = SHARD * len(list(out.glob("part-*.jsonl")))
            first = first or (time.perf_counter() - began if done else 0.0)
            half = int(done > count // 2)
            there = workers()
            peaks[half] = max(peaks[half], memory(driver.pid))
            worker_peaks[half] = max([worker_peaks[half], *map(memory, there)])
            if half and there and not killed:
                os.kill(there[0], signal.SIGKILL)
                killed = there[0]
            time.sleep(0.5)
        assert driver.stdout is not None
        text = driver.stdout.read()
    if driver.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {driver.returncode}: {text.decode()}")
    try:
        said = json.loads(text)
    except ValueError as error:
        raise SystemExit(f"{' '.join(words)} said no JSON: {text.decode()!r}") from error
    seconds = time.perf_counter() - began
    files = sorted(out.glob("part-*.jsonl"))
    numbers = [json.loads(line)["number"] for f in files for line in f.open(encoding="utf-8")]
    return {
        "inputs": count,
        "answers": len(numbers),
        "missing": count - len(set(numbers)),
        "twice": len(numbers) - len(set(numbers)),
        "in order": numbers == sorted(numbers),
        "errors": said["errors"],
        "worker killed": bool(killed),
        "seconds": round(seconds, 1),
        "seconds until the first": round(first, 1),
        "driver peak MB, halves": [round(p / 1e6) for p in peaks],
        "worker peak MB, halves": [round(p / 1e6) for p in worker_peaks],
    }


def main() -> None:
    parser = arguments(str(__doc__), 1, "runs of each kind")
    parser.add_argument("--inputs", type=int, default=100_000, help="of each kind")
    given = parser.parse_args()
    count = 2_000 if given.quick else given.inputs
    figures, rows, good = Figures("cluster_predict", given), [], True
    kinds: dict[str, Callable[[Path, int], Path]] = {"images": pictures, "translation": sentences}
    for task, made in kinds.items():
        with tempfile.TemporaryDirectory(prefix="shoestring-predict-") as name:
            home = Path(name)
            bundle, inputs = bundle_of(task, home), made(home / "inputs", count)
            found = answered(bundle, inputs, home / "answers", count)
        figures.line(task, found)
        driver, worker = found["driver peak MB, halves"], found["worker peak MB, halves"]
        flat = driver[1] <= GROWTH * driver[0] and worker[1] <= GROWTH * worker[0]
        whole = not found["missing"] and not found["twice"] and found["answers"] == count
        print(verdict(whole and found["worker killed"], f"{task}: one answer an input"))
        print(verdict(flat, f"{task}: memory is flat"))
        good = good and whole and flat
        rate = f"{count / (found['seconds'] - found['seconds until the first']):,.0f}"
        rows.append(
            [task, f"{count:,}", str(found["missing"]), str(found["twice"]), rate]
            + [f"{d} / {w}" for d, w in ((driver[0], driver[1]), (worker[0], worker[1]))]
        )
    head = ["task", "inputs", "missing", "twice", "inputs a second", "driver MB, halves"]
    figures.finish([*head, "worker MB, halves"], rows, {"good": good})


if __name__ == "__main__":
    main()
