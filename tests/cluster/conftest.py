"""conftest: one Ray cluster for all tests of the room: a head and nodes on this machine."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shoestring.cluster import session as sessions
from shoestring.cluster.session import Asked, Session
from tests import tiny

# Of a node: objects (the least that Ray takes is 75 MiB), and none of the processes that are for
# whoever watches.
STORE_BYTES = 80 << 20
SMALL = {
    "object_store_memory": STORE_BYTES,
    "include_dashboard": False,
    "include_log_monitor": False,
}
ENVIRONMENT = {
    **sessions.ALWAYS,
    **sessions.PATIENT,
    **sessions.LOOPBACK,
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # or it would be that of this machine, if it has one
    # A node that is busy answers late: its processes share two cores with all the others here.
    "RAY_health_check_timeout_ms": "20000",
    "RAY_agent_register_timeout_ms": "300000",
}


@dataclass
class Ring:
    """A cluster whose nodes come and go."""

    cluster: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, cpus: int = 1) -> Any:
        return self.cluster.add_node(num_cpus=cpus, **SMALL)

    def kill(self, node: Any) -> None:
        """As if its power went: nothing is handed over."""
        self.cluster.remove_node(node, allow_graceful=False)


def process_of(job: str) -> int:
    """The worker that does a job of this name, as its process is called; 0 where none does."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(
                f"ray::{job}".encode()
            ):
                return int(entry.name)
        except OSError:  # it ended since
            continue
    return 0


def eventually(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `what` comes to, once it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="package")
def ring() -> Iterator[Ring]:
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    # The workers import what the tests import, from where the tests do.
    root = Path(__file__).resolve().parents[2]
    paths = [str(root / "src"), str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL})
    made = Ring(cluster)
    yield made
    cluster.shutdown()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="package")
def session(ring: Ring) -> Iterator[Session]:
    with sessions.joined(Asked(ring.address)) as found:
        token = sessions._SESSION.set(None)  # for the tests of this folder that ask for it alone
        yield found
        sessions._SESSION.reset(token)


@pytest.fixture
def here(session: Session) -> Iterator[Session]:
    """The cluster, as what is called in the test finds it."""
    token = sessions._SESSION.set(session)
    yield session
    sessions._SESSION.reset(token)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")
