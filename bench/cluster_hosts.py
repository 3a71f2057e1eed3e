"""cluster_hosts: a search on three hosts with addresses of their own, and links that fail.

    python bench/cluster_hosts.py            # as root: it makes network namespaces
    python bench/cluster_hosts.py --page docs/handbook/cluster.md

Each host is a network namespace on one bridge, with processes of its own. Ray is started on each
with `ray start`, as a person would; the second one reaches the head through a proxy that delays
what it carries, holds it back for seconds and resets connections; the third one is cut off for half
a minute and comes back. The jobs, begun on the first host: `train --with tune`, and one fit whose
three workers speak to each other at every step, one on each host. Counted: whether they ended, with
how many trials or steps, and what the proxy did to the link. Only what goes between the second host
and the head's port passes the proxy; what workers say to each other goes past it, and is cut off
with the third host. With --page, all that a page tells to type on the machines `one`,
`two` and `three` is typed there, word for word, in a folder that they share.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, data_folder, verdict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shoestring.engine import store
from tests import tiny

PROXY = "proxy"  # the word by which this script is the proxy
NAMES = ("shoe1", "shoe2", "shoe3")
MACHINES = ("one", "two", "three")  # as a page calls them
BRIDGE = "shoebridge"
PORT, PROXY_PORT = 6379, 7379
CUT_SECONDS = 30.0
# A host that is silent for a minute is not given up: longer than the cut.
PATIENT = {"RAY_health_check_period_ms": "5000", "RAY_health_check_failure_threshold": "12"}
CLOSED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # a page makes its own
}
TRIALS, SEARCH_STEPS = 6, 400
FIT_STEPS = 6_000
LIMIT_SECONDS = 900.0


def address(number: int) -> str:
    return f"10.77.0.{number + 1}"


def sh(*words: str, check: bool = True) -> None:
    subprocess.run(words, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@dataclass(frozen=True)
class Host:
    """A network namespace, and in it a first process, whose end is that of all others there."""

    name: str
    first: int  # its process id outside

    def words(self, *words: str) -> list[str]:
        return ["nsenter", f"--target={self.first}", "--net", "--pid", "--mount", *words]

    def run(self, *words: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **changes}
        done = subprocess.run(self.words(*words), capture_output=True, env=environment, check=False)
        if done.returncode:
            raise SystemExit((done.stdout + done.stderr).decode(errors="replace")[-2000:])
        return done


@contextmanager
def hosts() -> Iterator[list[Host]]:
    """Three on a bridge."""
    _gone()
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "link", "set", BRIDGE, "up")
    firsts, found = [], []
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "infinity"]
    for number, name in enumerate(NAMES):
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        sh("ip", "link", "set", f"{name}a", "master", BRIDGE, "up")
        sh("ip", "link", "set", f"{name}b", "netns", name)
        inside = ["ip", "netns", "exec", name]
        sh(*inside, "ip", "addr", "add", f"{address(number)}/24", "dev", f"{name}b")
        sh(*inside, "ip", "link", "set", f"{name}b", "up")
        sh(*inside, "ip", "link", "set", "lo", "up")
        firsts.append(subprocess.Popen([*inside, *alone]))
        found.append(Host(name, _child_of(firsts[-1].pid)))
    try:
        yield found
    finally:
        for first in firsts:
            first.kill()
            first.wait()
        _gone()


def _child_of(pid: int) -> int:
    """The process that `unshare` has made: number one inside."""
    while True:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        if found:
            return int(found[0])
        time.sleep(0.05)


def _gone() -> None:
    for name in NAMES:
        sh("ip", "netns", "del", name, check=False)
        sh("ip", "link", "del", f"{name}a", check=False)
    sh("ip", "link", "del", BRIDGE, check=False)


@dataclass
class Proxy:
    """Carries connections to the head's port, badly. Runs as a process of the first host."""

    seed: int
    counts: Path  # where it writes what it has done so far

    def __post_init__(self) -> None:
        self._done = dict.fromkeys(("connections", "stalls", "resets", "bytes"), 0)
        self._lock = threading.Lock()

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._done[what] += number
            self.counts.write_text(json.dumps(self._done), encoding="utf-8")

    def serve(self) -> None:
        draws = random.Random(self.seed)
        listener = socket.create_server((address(0), PROXY_PORT))
        while True:
            near, _ = listener.accept()
            self._count("connections")
            far = socket.create_connection((address(0), PORT))
            seed = draws.random()
            threading.Thread(target=self._carry, args=(near, far, seed), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket, seed: float) -> None:
        draws = random.Random(seed)
        resets = time.monotonic() + draws.uniform(20, 90)
        stalls = time.monotonic() + draws.uniform(10, 40)
        other = {near: far, far: near}
        try:
            while True:
                ready, _, _ = select.select([near, far], [], [], 1.0)
                now = time.monotonic()
                if now > resets:
                    self._count("resets")
                    for end in other:  # a reset, not an orderly end
                        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                if now > stalls:
                    self._count("stalls")
                    time.sleep(draws.uniform(2, 6))
                    stalls = time.monotonic() + draws.uniform(10, 40)
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    time.sleep(draws.uniform(0.01, 0.1))
                    other[end].sendall(data)
                    self._count("bytes", len(data))
        except OSError:
            return
        finally:
            near.close()
            far.close()


def started(there: Sequence[Host], home: Path) -> None:
    """Ray on each host."""
    both = {**CLOSED, **PATIENT}
    ray = str(Path(sys.executable).with_name("ray"))
    begin = [ray, "start", "--num-cpus=1", "--object-store-memory=80000000"]
    head = [f"--node-ip-address={address(0)}", "--head", f"--port={PORT}"]
    head += ["--include-dashboard=false", f"--temp-dir={home / 'ray'}"]
    there[0].run(*begin, *head, **both)
    for number, port in ((1, PROXY_PORT), (2, PORT)):
        where = [f"--node-ip-address={address(number)}", f"--address={address(0)}:{port}"]
        there[number].run(*begin, *where, **both)


def searched(there: Sequence[Host], home: Path) -> dict[str, Any]:
    """A search, the third host being cut off in its first trials."""
    out, words = home / "run", f"tune:trials={TRIALS},stop=none,share=0.8"
    begun = out / store.TRIALS_FOLDER / "search.json"
    found = _trained(there, home, out, words, SEARCH_STEPS, begun)
    trials = store.read_trials(out) if found["ended"] else None
    failed = sum(line.ending == "failed" for line in trials.lines) if trials else 0
    found |= {"trials": len(trials.lines) if trials else 0, "failed": failed}
    return found | {"good": found["trials"] == TRIALS and not failed}


def divided(there: Sequence[Host], home: Path) -> dict[str, Any]:
    """One fit by a worker on each host, the third being cut off once there is a checkpoint."""
    out = home / "fit"
    words = f"distribute:workers={len(there)}"
    found = _trained(there, home, out, words, FIT_STEPS, out / store.CHECKPOINT)
    steps = store.read(out).recipe.total_steps if found["ended"] else 0
    return found | {"steps": steps, "good": steps == FIT_STEPS}


def _trained(
    there: Sequence[Host], home: Path, out: Path, technique: str, steps: int, begun: Path
) -> dict[str, Any]:
    source = home / "bars.npz"
    if not source.exists():
        tiny.write_npz(source)
    words = [sys.executable, "-m", "shoestring", "train", str(source), "--out", str(out)]
    words += ["--steps", str(steps), "--network", "compact:width=4", "--threads", "1", "--with"]
    words += [technique, "--cluster", f"{address(0)}:{PORT}"]
    command, environment = there[0].words(*words), {**os.environ, **CLOSED}
    began = time.monotonic()
    log = (home / "log.txt").open("wb")
    cut = 0.0
    with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as driver:
        while driver.poll() is None and time.monotonic() - began < LIMIT_SECONDS:
            if not cut and begun.exists():
                time.sleep(5)  # into the first trials
                cut = time.monotonic() - began
                sh("ip", "link", "set", f"{NAMES[2]}a", "down")
                time.sleep(CUT_SECONDS)
                sh("ip", "link", "set", f"{NAMES[2]}a", "up")
                in_it = driver.poll() is None
            time.sleep(0.2)
        if driver.poll() is None:
            driver.kill()
    said = (home / "log.txt").read_text(encoding="utf-8")
    return {
        "ended": driver.returncode == 0,
        "cut after seconds": round(cut, 1),
        "ended after the cut": bool(cut) and in_it,
        "seconds": round(time.monotonic() - began, 1),
        "last words": "" if driver.returncode == 0 else said[-600:],
    }


def typed(there: Sequence[Host], page: Path, home: Path) -> list[dict[str, Any]]:
    """What came of each line of a page that begins with `one$`, `two$` or `three$`."""
    found = []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    for line in page.read_text(encoding="utf-8").splitlines():
        machine, _, words = line.partition("$ ")
        if machine not in MACHINES or not words:
            continue
        host = there[MACHINES.index(machine)]
        began = time.monotonic()
        done = subprocess.run(
            host.words("sh", "-c", f"cd {home} && {words}"),
            env=environment,
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        found.append(
            {
                "machine": machine,
                "words": words,
                "code": done.returncode,
                "seconds": round(time.monotonic() - began, 1),
                "last words": [] if not done.returncode else said[-12:],
            }
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = arguments(str(__doc__), 1, "seeds of the proxy")
    parser.add_argument("--page", type=Path, help="type what this page tells to")
    given = parser.parse_args()
    good: list[bool] = []
    figures, rows = Figures("cluster_page" if given.page else "cluster_hosts", given), []
    if given.page:
        data_folder("sign-digits")  # which the page begins with
        with tempfile.TemporaryDirectory(prefix="shoe-") as name, hosts() as there:
            found = typed(there, given.page.resolve(), Path(name))
        for line in found:
            figures.line("typed", line)
        rows = [[x["machine"], str(x["code"]), str(x["seconds"]), x["words"][:70]] for x in found]
        print(verdict(all(not line["code"] for line in found), "every command ends well"))
        figures.finish(["machine", "code", "seconds", "command"], rows, {})
        return
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory(prefix="shoe-") as name, hosts() as there:
            counts = Path(name) / "proxy.json"
            words = there[0].words(sys.executable, __file__, PROXY, str(seed), str(counts))
            with subprocess.Popen(words) as proxy:
                try:
                    started(there, Path(name))
                    for job in (searched, divided):
                        result = {"job": job.__name__, **job(there, Path(name))}
                        result["proxy so far"] = json.loads(counts.read_text(encoding="utf-8"))
                        figures.line("job", result)
                        print(result, flush=True)
                        good.append(result["good"])
                        row = [str(seed), result["job"], str(result.get("trials", "-"))]
                        row += [str(result.get("steps", "-")), str(result["seconds"])]
                        did = result["proxy so far"]
                        rows.append([*row, " / ".join(str(did[k]) for k in ("stalls", "resets"))])
                finally:
                    proxy.kill()
    print(verdict(all(good), "every job ends with all of its trials or steps"))
    head = ["seed", "job", "trials", "steps", "seconds", "stalls / resets of the link"]
    figures.finish(head, rows, {"jobs": len(good), "good": sum(good)})


if __name__ == "__main__":
    if sys.argv[1:2] == [PROXY]:
        Proxy(int(sys.argv[2]), Path(sys.argv[3])).serve()
    else:
        main()
