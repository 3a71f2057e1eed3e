"""session: joining a Ray cluster, or starting one on this machine, and looking at its nodes.

Ray's telemetry is off, there is no dashboard, who speaks to the cluster needs its token, and what
is started here listens on the loopback alone. The settings stand in the environment because Ray
reads them when it is imported, and hands them on to the processes that it starts.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring.cluster import nodes
from shoestring.core.errors import MissingExtra, RunError, UserError
from shoestring.data.names import counted

ADDRESS = "RAY_ADDRESS"
CURRENT = Path("/tmp/ray/ray_current_cluster")  # written by `ray start`
LOCAL, AUTO = "local", "auto"
ALWAYS = {"RAY_USAGE_STATS_ENABLED": "0"}
# Ray ends a process that has not reached the cluster for a minute, without a word to it; `Pulse`
# says so earlier, and a link that is gone for a while is waited for.
PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what its name says is the reverse of it
POLL_SECONDS = 0.5
BEAT_SECONDS = 1.0  # between two looks at whether the cluster is there
GONE_SECONDS = 60.0  # without an answer, until it is taken for lost
JOIN_SECONDS = 60.0  # for the head of a cluster to answer
_LOG = logging.getLogger("shoestring.cluster")


@dataclass(frozen=True)
class Asked:
    """What a person says of a cluster."""

    address: str = AUTO  # "auto", "local" or HOST:PORT
    cpus: int | None = None  # of a cluster that is started here; None: its cores
    wait_seconds: float = 0.0  # for as many workers as are asked for to be free
    token: bool = True  # whether who speaks to it needs its token


class Pulse:
    """Looks in the background at the nodes of the cluster, and whether it answers. Nobody else asks
    it: a question blocks until somebody answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._last = time.monotonic()
        self._nodes = _nodes()
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        import ray

        while not self._ended.wait(BEAT_SECONDS):
            try:
                found = _nodes()
            except (ray.exceptions.RayError, ConnectionError, RuntimeError, TimeoutError):
                continue
            self._last, self._nodes = time.monotonic(), found

    def nodes(self) -> list[nodes.Node]:
        """Those that were there at the last look. RunError as `check`."""
        self.check()
        return self._nodes

    def check(self) -> None:
        """Raises RunError where it did not for a while."""
        silent = time.monotonic() - self._last
        if silent > GONE_SECONDS:
            raise RunError(
                f"the cluster at {self.address} has not answered for {silent:.0f} s; what ended "
                "before is kept: when the cluster is there again, go on with --resume"
            )

    def end(self) -> None:
        self._ended.set()


@dataclass(frozen=True)
class Session:
    """A cluster that this process has joined."""

    asked: Asked
    address: str
    pulse: Pulse
    started: bool  # here, and ended with this process

    def nodes(self) -> list[nodes.Node]:
        """Those that are there, as of some seconds ago."""
        return self.pulse.nodes()

    def size(self, cpus: int = 1, gpus: int = 0) -> int:
        """How many workers of this size it has place for, whatever goes on there now."""
        return sum(nodes.fitting(node.cpus, node.gpus, cpus, gpus) for node in self.nodes())

    def wait_for(self, workers: int, cpus: int = 1, gpus: int = 0) -> None:
        """Until so many workers of this size have a place, as long as was said. UserError with
        what there is where they have none by then."""
        until = time.monotonic() + self.asked.wait_seconds
        while (there := self.size(cpus, gpus)) < workers:
            if time.monotonic() >= until:
                there_are = self.nodes()
                has = ", ".join(f"{n.host}: {n.cpus} cpus, {n.gpus} gpus" for n in there_are)
                size = counted(cpus, "cpu") + (f" and {counted(gpus, 'gpu')}" if gpus else "")
                raise UserError(
                    f"{counted(workers, 'worker')} of {size} were asked for, and the cluster at "
                    f"{self.address} has place for {there} ({has}); ask for fewer, add nodes (ray "
                    "start --address=...), or wait for some that are on their way: "
                    "--cluster-wait 5m"
                )
            time.sleep(POLL_SECONDS)

    def look_at_nodes(self, reads: Sequence[Path] = (), writes: Sequence[Path] = ()) -> None:
        """UserError naming the first node where another version of shoestring, torch or Ray is at
        work, where a path of `reads` is not there, or a folder of `writes` cannot be written."""
        nodes.looked_at(self.nodes(), self.address, reads, writes)


_SESSION: ContextVar[Session | None] = ContextVar("session", default=None)


def current() -> Session | None:
    """The cluster that this process is part of."""
    return _SESSION.get()


def _nodes() -> list[nodes.Node]:
    import ray

    return [
        nodes.Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def equipped(purpose: str = "work on a cluster") -> None:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("ray", "cluster", purpose)


@contextmanager
def joined(asked: Asked) -> Iterator[Session]:
    """Inside, this process is part of a cluster: the one at the address; with "auto" that of
    RAY_ADDRESS or of a `ray start` on this machine, or else, as with "local", one that is started
    here and ends with the block. UserError where there is none at the address, MissingExtra
    without Ray."""
    equipped()
    address = _address(asked.address)
    settings = dict(ALWAYS)
    settings |= {"RAY_AUTH_MODE": "token"} if asked.token else {}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    os.environ.update(PATIENT)
    if address is None:
        os.environ.update(LOOPBACK)
    import ray

    if ray.is_initialized():
        raise RunError("this process is part of a cluster already; one at a time")
    _start(address, asked)
    where = address or "this machine"
    try:
        pulse = Pulse(where)
        session = Session(asked, where, pulse, started=address is None)
        token = _SESSION.set(session)
        try:
            yield session
        finally:
            _SESSION.reset(token)
            pulse.end()
    finally:
        _leave()


def _address(said: str) -> str | None:
    """HOST:PORT of a cluster that is there; None for one that is to be started here."""
    if said == LOCAL:
        return None
    if said == AUTO:
        known = os.environ.get(ADDRESS, "").strip()
        if known and known != LOCAL:
            return _address(known)
        try:
            return CURRENT.read_text(encoding="utf-8").strip() or None
        except OSError:
            return None
    if not re.fullmatch(r"[A-Za-z0-9.\-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", said):
        raise UserError(
            f"{said!r} is no address of a cluster: auto, local, or HOST:PORT of its head as `ray "
            "start --head` printed it; this machine has to be one of its nodes (ray start "
            "--address=HOST:PORT)"
        )
    return said


def _start(address: str | None, asked: Asked) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    options |= {"namespace": "shoestring"}
    if address is None:
        options |= {"address": "local", "include_dashboard": False, "num_cpus": asked.cpus}
    else:
        options |= {"address": address}
    failed: list[BaseException] = []
    joining = threading.Thread(target=_init, args=(options, failed), daemon=True)
    if address is None:  # by this thread: what Ray starts ends with the thread that started it
        _init(options, failed)
    else:  # Ray goes on trying for as long as a cluster that is known may be silent
        joining.start()
        joining.join(JOIN_SECONDS)
    if not joining.is_alive() and ray.is_initialized():
        return
    why = "its node did not start in time, as on a machine that is very busy"
    if joining.is_alive():
        why = f"nobody answered within {JOIN_SECONDS:.0f} s"
    if failed:
        why = (str(failed[0]).strip().splitlines() or [type(failed[0]).__name__])[0]
    _leave()
    if address is None:
        raise RunError(f"Ray did not start on this machine: {why}")
    raise UserError(
        f"no cluster could be joined at {address}: {why}. Is it running (ray status), is this "
        "machine one of its nodes (ray start --address=...), and is the token the same "
        "(RAY_AUTH_TOKEN, or ~/.ray/auth_token)?"
    )


def _init(options: Mapping[str, Any], failed: list[BaseException]) -> None:
    import ray

    _hush()
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
        failed.append(error)


def _hush() -> None:
    """Ray prints what it has to say of a worker that was lost to standard output, whatever
    `log_to_driver` is, in the middle of what a command says there; it becomes a warning of a
    log of ours, which is on standard error where nobody asks for it elsewhere."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _warned


def _warned(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    _LOG.warning("Ray: %s", " ".join(data["lines"]).partition("\n")[0])


def _leave() -> None:
    """Out of the cluster; does not wait for one that is gone."""
    import ray

    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(timeout=20)
