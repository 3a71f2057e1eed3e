"""cluster_faults: what of a run survives when workers, nodes and the driver are killed.

    python bench/cluster_faults.py --seeds 20

A Ray cluster of two nodes on this machine, real processes. Each schedule has a seed, which decides
what is killed and when; the kinds take turns. Of each it is counted whether the job ended, whether
a trial that had finished was lost, and whether, in the steps behind the final weights, an example
of an epoch was left out or seen twice; and how far the final quality is from that of the run that
nothing happened to.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, verdict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shoestring.cluster.worker import LEDGER
from shoestring.engine import store
from shoestring.engine.search.study import JOURNAL
from tests import tiny
from tests.cluster.conftest import ENVIRONMENT, SMALL

STEPS, BATCH, TRIALS = 4_000, 12, 4  # so many that a fault strikes in the middle of a fit
CHECKPOINTS = {"SHOESTRING_CHECKPOINT_SECONDS": "1"}  # between two, at the least
EXAMPLES = 216  # of the training split of the tiny pictures: whole batches, none is left over
FIT = ("worker killed", "node killed", "shrunk and grown")
SEARCH = ("trial's node killed", "driver killed and resumed")
KINDS = (*FIT, *SEARCH)
LIMIT_SECONDS = 600.0  # of a job, after which it counts as not ended
NOISE = 0.1  # of accuracy on 24 validation pictures: two and a half of them


@dataclass(frozen=True)
class Outcome:
    """What came of a schedule."""

    seed: int
    kind: str
    ended: bool
    lost: int = 0  # trials that had finished before the fault and have not afterwards
    skipped: int = 0  # examples of whole epochs in the lineage
    doubled: int = 0
    quality: float = 0.0
    workers: str = ""  # how many there were, in the order of the attempts
    seconds: float = 0.0


class Ring:
    """The nodes."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=self._size())
        self.node: Any = None
        self.whole()

    @staticmethod
    def _size() -> dict[str, Any]:
        return {"num_cpus": 1, **SMALL}

    def whole(self) -> None:
        """The second node is there."""
        if self.node is None:
            self.node = self.cluster.add_node(**self._size())

    def kill(self) -> None:
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node = None


def command(source: Path, out: Path, address: str, kind: str, *, resume: bool) -> list[str]:
    words = [sys.executable, "-m", "shoestring", "train", "--cluster", address, "--quiet"]
    if resume:
        return [*words, "--resume", str(out)]
    words += [str(source), "--out", str(out), "--threads", "1", "--network", "compact:width=4"]
    words += ["--steps", str(60 if kind in SEARCH else STEPS), "--batch-size", str(BATCH)]
    words += ["--precision", "float32", "--cluster-wait", "60s"]
    what = f"tune:trials={TRIALS}" if kind in SEARCH else "distribute:workers=1-2"
    return [*words, "--with", what]


def one(seed: int, kind: str, ring: Ring, source: Path, home: Path) -> Outcome:
    draws = random.Random(seed)
    ring.whole()
    ledger, out = Path(os.environ[LEDGER]), home / f"run-{seed}"
    for path in ledger.iterdir():
        path.unlink()
    began = time.monotonic()
    log = (home / f"log-{seed}.txt").open("wb")

    def start(*, resume: bool = False) -> subprocess.Popen[bytes]:
        words = command(source, out, ring.cluster.address, kind, resume=resume)
        return subprocess.Popen(words, stdout=log, stderr=log)

    driver = start()
    before: set[int] = set()
    if kind in FIT:
        waited((out / store.CHECKPOINT).exists, driver)
        time.sleep(draws.uniform(0, 5))
        if kind == "worker killed":
            for pid in (
                draws.sample(pids("ray::RayTrainWorker"), 1) if driver.poll() is None else ()
            ):
                os.kill(pid, signal.SIGKILL)
        else:
            ring.kill()
        if kind == "shrunk and grown":
            attempts = len(list(ledger.iterdir()))
            waited(lambda: len(list(ledger.iterdir())) > attempts, driver)
            ring.whole()
    elif kind in SEARCH:
        enough = draws.randint(1, 3)
        waited(lambda: len(ended_trials(out)) >= enough, driver)
        time.sleep(draws.uniform(0, 2))
        before = ended_trials(out)
        if kind == "trial's node killed":
            ring.kill()
        else:
            driver.kill()
            driver.wait()
            driver = start(resume=True)
    try:
        code = driver.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        driver.kill()
        return Outcome(seed, kind, ended=False, seconds=time.monotonic() - began)
    if code or not (out / store.RUN).exists():
        return Outcome(seed, kind, ended=False, seconds=time.monotonic() - began)
    run, trials = store.read(out), store.read_trials(out)
    after = {line.number for line in trials.lines} if trials else set()
    skipped, doubled, workers = lineage(ledger) if kind not in SEARCH else (0, 0, "")
    quality = max((line["quality"] for line in run.curve), default=0.0)
    seconds = time.monotonic() - began
    lost = len(before - after)
    return Outcome(seed, kind, True, lost, skipped, doubled, quality, workers, round(seconds, 1))


def lineage(ledger: Path) -> tuple[int, int, str]:
    """(examples of whole epochs that were left out, that were seen twice, the numbers of workers),
    in the steps behind the final weights: of each step, the attempt that did it last."""
    lines = [json.loads(x) for file in ledger.iterdir() for x in file.read_text().splitlines()]
    attempts = sorted({(line["began"], line["workers"]) for line in lines})
    last: dict[int, float] = {}
    for line in lines:
        last[line["step"]] = max(line["began"], last.get(line["step"], 0.0))
    steps: dict[int, list[int]] = {step: [] for step in range(max(last) + 1)}
    for line in lines:
        if last[line["step"]] == line["began"]:
            steps[line["step"]] += line["ids"]
    epoch = EXAMPLES // BATCH
    skipped = doubled = 0
    for first in range(0, len(steps), epoch):
        part = [n for step in range(first, min(first + epoch, len(steps))) for n in steps[step]]
        times = Counter(part)
        doubled += sum(count - 1 for count in times.values())
        if first + epoch <= len(steps):
            skipped += EXAMPLES - len(times)
    return skipped, doubled, " ".join(str(count) for _, count in attempts)


def ended_trials(out: Path) -> set[int]:
    """Numbers of the trials that ended for good, as the journal says."""
    path = out / store.TRIALS_FOLDER / JOURNAL
    if not path.exists():
        return set()
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            said = json.loads(line)
        except ValueError:  # the last line, in the middle of being written
            continue
        if said.get("op_code") == 6 and said.get("state") in (1, 2):  # COMPLETE, PRUNED
            found.add(said["trial_id"])
    return found


def waited(what: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    """Until it is so, or the job has ended."""
    end = time.monotonic() + LIMIT_SECONDS
    while not what() and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.2)


def pids(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(entry.name))
        except OSError:  # it ended since
            continue
    return found


def main() -> None:
    parser = arguments(str(__doc__), 20, "schedules, a seed each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    count = len(KINDS) if given.quick else given.seeds
    figures, found = Figures("cluster_faults", given), []
    with tempfile.TemporaryDirectory(prefix="shoestring-faults-") as name:
        home = Path(name)
        os.environ.update(ENVIRONMENT | CHECKPOINTS)
        os.environ[LEDGER] = str(home / "ledger")
        (home / "ledger").mkdir()
        source = tiny.write_npz(home / "bars.npz")
        ring = Ring()
        plain = one(-1, "nothing", ring, source, home)
        figures.line("without a fault", asdict(plain))
        if not plain.ended:
            raise SystemExit((home / "log--1.txt").read_text())
        for seed in range(given.first, given.first + count):
            outcome = one(seed, KINDS[seed % len(KINDS)], ring, source, home)
            found.append(outcome)
            figures.line("schedule", asdict(outcome))
            if not outcome.ended:
                print((home / f"log-{seed}.txt").read_text()[-2000:], flush=True)
        ring.cluster.shutdown()
    report(found, plain, figures)


def report(found: list[Outcome], plain: Outcome, figures: Figures) -> None:
    rows = []
    for kind in KINDS:
        some = [o for o in found if o.kind == kind]
        far = [o for o in some if o.ended and abs(o.quality - plain.quality) > NOISE]
        sums = [sum(o.ended for o in some), sum(o.lost for o in some)]
        sums += [sum(o.skipped for o in some), sum(o.doubled for o in some), len(far)]
        seconds = sorted(o.seconds for o in some)
        middle = f"{seconds[len(seconds) // 2]:.0f}" if seconds else "-"
        rows.append([kind, str(len(some)), *map(str, sums), middle])
    head = ["what happens", "schedules", "ended", "trials lost", "examples left out"]
    head += ["seen twice", "quality out of noise", "median seconds"]
    good = all(o.ended and not o.lost and not o.skipped and not o.doubled for o in found)
    print(verdict(good, "every job ends, no finished trial lost, no example left out or twice"))
    figures.finish(head, rows, {"schedules": len(found), "good": good})


if __name__ == "__main__":
    main()
