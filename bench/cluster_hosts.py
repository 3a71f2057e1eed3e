"""cluster_hosts: a search on three hosts with addresses of their own, and links that fail.

    python bench/cluster_hosts.py            # as root: it makes network namespaces

Each host is a network namespace on one bridge. Ray is started on each with `ray start`, as a person
would; the second one reaches the head through a proxy that delays what it carries, holds it back
for seconds and resets connections; the third one is cut off for half a minute and comes back. The
job is `train --with tune`, begun on the first host. Counted: whether it ended, with how many
trials, and on how many hosts jobs were done.
"""

from __future__ import annotations

import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _figures import Figures, arguments, verdict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shoestring.engine import store
from tests import tiny

HOSTS = ("shoe1", "shoe2", "shoe3")
BRIDGE = "shoebridge"
PORT, PROXY_PORT = 6379, 7379
CUT_SECONDS = 30.0
# A host that is silent for a minute is not given up: longer than the cut.
PATIENT = {"RAY_health_check_period_ms": "5000", "RAY_health_check_failure_threshold": "12"}
CLOSED = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
TRIALS = 6
LIMIT_SECONDS = 900.0


def address(number: int) -> str:
    return f"10.77.0.{number + 1}"


def sh(*words: str, check: bool = True) -> None:
    subprocess.run(words, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextmanager
def hosts() -> Iterator[None]:
    """Three namespaces on a bridge."""
    _gone()
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "link", "set", BRIDGE, "up")
    for number, host in enumerate(HOSTS):
        sh("ip", "netns", "add", host)
        sh("ip", "link", "add", f"{host}a", "type", "veth", "peer", "name", f"{host}b")
        sh("ip", "link", "set", f"{host}a", "master", BRIDGE, "up")
        sh("ip", "link", "set", f"{host}b", "netns", host)
        on(host, "ip", "addr", "add", f"{address(number)}/24", "dev", f"{host}b")
        on(host, "ip", "link", "set", f"{host}b", "up")
        on(host, "ip", "link", "set", "lo", "up")
    try:
        yield
    finally:
        _gone()


def _gone() -> None:
    for host in HOSTS:
        sh("ip", "netns", "del", host, check=False)
        sh("ip", "link", "del", f"{host}a", check=False)
    sh("ip", "link", "del", BRIDGE, check=False)


def on(host: str, *words: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    command = ["ip", "netns", "exec", host, *words]
    return subprocess.run(command, check=True, capture_output=True, env={**os.environ, **changes})


@dataclass
class Proxy:
    """Carries connections to the head's port, badly. Runs as a process of the first host."""

    seed: int

    def serve(self) -> None:
        draws = random.Random(self.seed)
        listener = socket.create_server((address(0), PROXY_PORT))
        while True:
            near, _ = listener.accept()
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
                    for end in other:  # a reset, not an orderly end
                        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                if now > stalls:
                    time.sleep(draws.uniform(2, 6))
                    stalls = time.monotonic() + draws.uniform(10, 40)
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    time.sleep(draws.uniform(0.01, 0.1))
                    other[end].sendall(data)
        except OSError:
            return
        finally:
            near.close()
            far.close()


def started(home: Path) -> None:
    """Ray on each host."""
    both = {**CLOSED, **PATIENT}
    ray = str(Path(sys.executable).with_name("ray"))
    begin = [ray, "start", "--num-cpus=1", "--object-store-memory=80000000"]
    head = [f"--node-ip-address={address(0)}", "--head", f"--port={PORT}"]
    on(HOSTS[0], *begin, *head, "--include-dashboard=false", f"--temp-dir={home / 'ray'}", **both)
    for number, port in ((1, PROXY_PORT), (2, PORT)):
        where = [f"--node-ip-address={address(number)}", f"--address={address(0)}:{port}"]
        on(HOSTS[number], *begin, *where, **both)


def searched(home: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    source, out = tiny.write_npz(home / "bars.npz"), home / "run"
    words = [sys.executable, "-m", "shoestring", "train", str(source), "--out", str(out)]
    words += ["--steps", "400", "--network", "compact:width=4", "--threads", "1", "--with"]
    words += [f"tune:trials={TRIALS},stop=none,share=0.8", "--cluster", f"{address(0)}:{PORT}"]
    command = ["ip", "netns", "exec", HOSTS[0], *words]
    began = time.monotonic()
    log = (home / "log.txt").open("wb")
    cut = 0.0
    with subprocess.Popen(command, stdout=log, stderr=log, env=dict(environment)) as driver:
        while driver.poll() is None and time.monotonic() - began < LIMIT_SECONDS:
            if not cut and (out / store.TRIALS_FOLDER / "search.json").exists():
                time.sleep(5)  # into the first trials
                cut = time.monotonic() - began
                sh("ip", "link", "set", f"{HOSTS[2]}a", "down")
                time.sleep(CUT_SECONDS)
                sh("ip", "link", "set", f"{HOSTS[2]}a", "up")
            time.sleep(0.2)
        if driver.poll() is None:
            driver.kill()
    trials = store.read_trials(out) if driver.returncode == 0 else None
    said = (home / "log.txt").read_text(encoding="utf-8")
    return {
        "ended": driver.returncode == 0,
        "trials": len(trials.lines) if trials else 0,
        "failed": sum(line.ending == "failed" for line in trials.lines) if trials else 0,
        "cut after seconds": round(cut, 1),
        "seconds": round(time.monotonic() - began, 1),
        "last words": "" if driver.returncode == 0 else said[-600:],
    }


def main() -> None:
    given = arguments(str(__doc__), 1, "seeds of the proxy").parse_args()
    figures, rows = Figures("cluster_hosts", given), []
    ray = str(Path(sys.executable).with_name("ray"))
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory(prefix="shoe-") as name, hosts():
            proxy = subprocess.Popen(
                ["ip", "netns", "exec", HOSTS[0], sys.executable, __file__, f"proxy-{seed}"]
            )
            try:
                started(Path(name))
                nodes = on(HOSTS[0], ray, "status", f"--address={address(0)}:{PORT}", **CLOSED)
                found = searched(Path(name), {**os.environ, **CLOSED})
            finally:
                proxy.kill()
                proxy.wait()
                for host in HOSTS:
                    for pid in on(host, "ip", "netns", "pids", host).stdout.split():
                        subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
        found["nodes"] = nodes.stdout.decode().count(" node_")
        figures.line("search", found)
        rows.append([str(seed), *(str(found[k]) for k in ("nodes", "trials", "failed", "seconds"))])
        print(verdict(found["ended"] and found["trials"] == TRIALS, "every trial ended"))
    head = ["seed", "nodes", "trials", "failed", "seconds"]
    figures.finish(head, rows, {"cut_seconds": CUT_SECONDS})


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("proxy-"):
        Proxy(int(sys.argv[1].removeprefix("proxy-"))).serve()
    else:
        main()
