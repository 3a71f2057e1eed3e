"""_figures: what the scripts share: JSON lines, spread, a table, and a note of the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("shoestring", "torch", "onnxruntime", "numpy", "pillow", "sentencepiece", "sacrebleu")
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd")


def earlier(path: Path | None) -> list[dict[str, Any]]:
    """The JSON lines of an earlier call, as it printed them; nothing else of its output."""
    lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def arguments(description: str, seeds: int, meaning: str = "seeds") -> argparse.ArgumentParser:
    """The parser that every script begins with. `meaning` says what --seeds counts there."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many {meaning}")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a try that the script runs at all: tiny sizes, results in results/quick/",
    )
    return parser


@dataclass(frozen=True)
class Spread:
    """Where some numbers lie."""

    median: float
    mean: float
    deviation: float  # standard, of the sample; 0 for one number
    low: float
    quarter: float  # a quarter of the numbers lie below
    three_quarters: float
    high: float
    count: int

    def text(self, digits: int = 3) -> str:
        """`median (low to high)` as it stands in a table."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(numbers: Sequence[float]) -> Spread:
    """Raises ValueError for no numbers at all."""
    if not numbers:
        raise ValueError("a spread needs at least one number")
    quarters = (
        statistics.quantiles(numbers, n=4, method="inclusive")
        if len(numbers) > 1
        else [numbers[0]] * 3
    )
    return Spread(
        median=statistics.median(numbers),
        mean=statistics.fmean(numbers),
        deviation=statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
        low=min(numbers),
        quarter=quarters[0],
        three_quarters=quarters[2],
        high=max(numbers),
        count=len(numbers),
    )


class Figures:
    """The measurements of one script: each printed as a JSON line when it is made, all of them
    written to results/NAME.json at the end, or to NAME_PART.json where a part was asked for."""

    def __init__(
        self, name: str, given: argparse.Namespace, parts: Sequence[str] | None = None
    ) -> None:
        self.name, self._parts = name, tuple(parts or ())
        self.folder = RESULTS / "quick" if given.quick else RESULTS
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lines: list[Mapping[str, Any]] = []
        self._began = datetime.now(UTC)
        self._load = _load()
        self._given = {k: v for k, v in vars(given).items() if isinstance(v, (bool, int, float))}
        # A path that was given is of this machine alone: its last part is enough to read.
        said = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]
        self._words = " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *said])

    def line(self, measurement: str, values: Mapping[str, Any]) -> None:
        whole = {"measurement": measurement, **values}
        self._lines.append(whole)
        print(json.dumps(whole), flush=True)

    def finish(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], summary: Mapping[str, Any]
    ) -> Path:
        """Prints the table and writes everything; the file's path."""
        print("\n" + table(head, rows), flush=True)
        plain = {
            "name": self.name,
            "command": self._words,
            "arguments": self._given,
            "began": self._began.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "load_average": {"before": self._load, "after": _load()},
            "summary": _plain(summary),
            "table": {"head": list(head), "rows": [list(row) for row in rows]},
            "lines": self._lines,
        }
        path = self.folder / f"{'_'.join([self.name, *self._parts])}.json"
        path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        print(f"written to {path.relative_to(HERE.parent)}")
        return path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    first = "  ".join(c.ljust(w) for c, w in zip(head, widths, strict=True))
    return "\n".join([first, "  ".join("-" * w for w in widths), *lines])


def machine() -> dict[str, Any]:
    """What a reader needs to place the figures. No name and no path of the machine."""
    words, flags = _processor()
    return {
        "processor": words,
        "vector_flags": [flag for flag in VECTOR_FLAGS if flag in flags],
        "cores": cores(),
        **({"accelerator": name} if (name := _accelerator()) else {}),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {n: found for n in PACKAGES if (found := _version(n))},
    }


def _accelerator() -> str:
    """The first GPU by its driver's own tool; "" where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    said: str = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0].strip()


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(**changes: str) -> dict[str, str]:
    """Of a process that is timed: this one's, but with bytecode kept between starts, as Python
    does unless it is told otherwise."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **changes}


@dataclass(frozen=True)
class Child:
    """A process that ended well."""

    output: str
    seconds: float  # from its start to its end, interpreter and imports included
    peak_bytes: int | None  # of memory that was its own at once; None where nobody counts it

    @property
    def found(self) -> Any:
        """The JSON on the last line that it printed."""
        return json.loads(self.output.splitlines()[-1])


def child(words: Sequence[str | Path], what: str, text: str = "", **changes: str) -> Child:
    """Runs a process to its end, `text` on its standard input and `changes` in its environment.
    Ends the script with its last words where it fails; `what` says what failed."""
    began = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in words],
        env=environment(**changes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        ended, peaks = threading.Event(), [0]
        watching = threading.Thread(target=_watch, args=(process.pid, ended, peaks), daemon=True)
        watching.start()
        output, errors = process.communicate(text)
        seconds = time.perf_counter() - began
        ended.set()
        watching.join()
    if process.returncode != 0:
        raise SystemExit(f"{what} failed:\n{errors.strip()[-2000:]}")
    return Child(output, seconds, peaks[0] or None)


def _watch(pid: int, ended: threading.Event, peaks: list[int]) -> None:
    """Keeps the peak of a process up to date. The system's own sum at the end of a child would
    begin with the memory of the process that started it."""
    status = Path(f"/proc/{pid}/status")
    while not ended.wait(0.05):
        try:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        except OSError:
            continue  # another system, or it is just gone
        if found:
            peaks[0] = max(peaks[0], 1024 * int(found[1]))


def verdict(met: bool, words: str) -> str:
    return f"{words}: {'met' if met else 'MISSED'}"


def data_folder(name: str) -> Path:
    """The folder of that name in the directories of SHOESTRING_DATA; ends the script where there
    is none."""
    for root in filter(None, os.environ.get("SHOESTRING_DATA", "").split(os.pathsep)):
        if (Path(root).expanduser() / name).is_dir():
            return Path(root).expanduser() / name
    raise SystemExit(f"no folder {name!r} in the directories of SHOESTRING_DATA; set it and retry")


def _plain(value: Any) -> Any:
    if isinstance(value, Spread):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _processor() -> tuple[str, frozenset[str]]:
    words, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return words, flags
    for line in lines:
        name, _, value = line.partition(":")
        match name.strip().lower():
            case "model name":
                words = value.strip()
            case "flags" | "features":
                flags = frozenset(value.split())
    return words, flags


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1)


def _load() -> list[float]:
    """Processes that wanted a core over the last 1, 5 and 15 minutes: a quiet machine has few."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
