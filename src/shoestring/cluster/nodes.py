"""nodes: the machines of a cluster: what each has and runs, what it can read and write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring.core.errors import RunError, UserError
from shoestring.core.receipt import Plain

HANDED_ON = ("SHOESTRING_DATA", "SHOESTRING_CACHE")
ROUTES = Path("/proc/net/route")
SAME = ("shoestring", "torch", "ray")  # their versions, on every node
CHECK_SECONDS = 300.0  # for every node to say what it runs


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as Ray sees it."""

    id: str
    host: str  # its address
    cpus: int
    gpus: int


def fitting(cpus: int, gpus: int, each_cpus: int, each_gpus: int) -> int:
    found = cpus // each_cpus if each_cpus else cpus + gpus
    return min(found, gpus // each_gpus) if each_gpus else found


@dataclass(frozen=True)
class Surroundings:
    """What relative paths and names of data sets hang on, for a worker elsewhere."""

    folder: str
    variables: Mapping[str, str]

    @staticmethod
    def here() -> Surroundings:
        return Surroundings(os.getcwd(), {n: os.environ[n] for n in HANDED_ON if n in os.environ})

    def enter(self) -> None:
        """Where there is no such folder, relative paths are not found, which is told of them."""
        os.environ.update(self.variables)
        if os.path.isdir(self.folder):
            os.chdir(self.folder)


def interface_of(address: str, routes: Path = ROUTES) -> str:
    """The network interface in whose subnet an address of this machine is, by Linux's table of
    routes; "" where none is found. Gloo would take the one that the machine's name stands for,
    which on many is the loopback, where no other machine listens."""
    if address.startswith("127."):
        return "lo"
    try:
        number = int.from_bytes(bytes(map(int, address.split("."))), "little")
        lines = routes.read_text(encoding="ascii").splitlines()[1:]
    except (OSError, ValueError):  # another system, or an address of another kind
        return ""
    found = ("", 0)
    for line in lines:
        name, net, _, _, _, _, _, mask = line.split()[:8]
        bits = int(mask, 16)
        if number & bits == int(net, 16) and bits.bit_count() > found[1]:
            found = (name, bits.bit_count())
    return found[0]


def versions() -> Plain:
    """What has to be the same on every node."""
    found = _looker()((), ())
    return {name: found[name] for name in SAME}


def looked_at(
    nodes: Sequence[Node], address: str, reads: Sequence[Path], writes: Sequence[Path]
) -> None:
    """Runs a tiny task on each node. UserError naming the first where another version of
    shoestring, torch or Ray is at work, where a path of `reads` is not there, or a folder of
    `writes` cannot be written. A node that has gone is passed over: Ray lists it for a while."""
    here = versions()
    paths = [str(path.resolve()) for path in reads]
    folders = [str(path.resolve()) for path in writes]
    for node, found in _on_each(nodes, address, paths, folders):
        for name, version in here.items():
            if found[name] != version:
                raise UserError(
                    f"node {node.host} of the cluster has {name} {found[name] or 'missing'}, "
                    f"and here it is {version}; install the same on every node"
                )
        for path in found["unread"]:
            raise UserError(
                f"node {node.host} of the cluster cannot read {path}; put it on a folder that "
                "every node shares, under the same path, or copy it to each"
            )
        for path in found["unwritten"]:
            raise UserError(
                f"node {node.host} of the cluster cannot write to {path}; give a folder that "
                "every node shares and may write to"
            )


def _on_each(
    nodes: Sequence[Node], address: str, reads: Sequence[str], writes: Sequence[str]
) -> Iterator[tuple[Node, Mapping[str, Any]]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    looking = {}
    look = ray.remote(num_cpus=0, max_retries=1)(_looker())
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        looking[look.options(scheduling_strategy=place).remote(reads, writes)] = node
    errors = ray.exceptions
    gone = errors.TaskUnschedulableError, errors.NodeDiedError
    answered = False
    for ref, node in looking.items():
        try:
            found = ray.get(ref, timeout=CHECK_SECONDS)
        except gone:
            continue
        except errors.WorkerCrashedError as error:  # with its node, or by itself
            if not any(n["Alive"] and n["NodeID"] == node.id for n in ray.nodes()):
                continue
            raise RunError(
                f"the worker on node {node.host} of the cluster at {address} that looks at what "
                "is there crashed twice; does Python start there, and is there memory for it?"
            ) from error
        except errors.GetTimeoutError as error:
            raise RunError(
                f"node {node.host} of the cluster at {address} did not answer within "
                f"{CHECK_SECONDS:.0f} s"
            ) from error
        except errors.RayError as error:
            first = str(error).strip().splitlines()[-1]
            raise RunError(
                f"node {node.host} of the cluster at {address} could not be looked at: {first}"
            ) from error
        answered = True
        yield node, found
    if not answered:
        raise RunError(f"no node of the cluster at {address} is left; is Ray running there?")


def _looker() -> Any:
    """A function that Ray sends whole: a node without shoestring can run it too."""

    def look(
        reads: Sequence[str], writes: Sequence[str], names: Sequence[str] = SAME
    ) -> dict[str, Any]:
        import os
        import tempfile
        from importlib import metadata
        from importlib.util import find_spec

        def version(name: str) -> str:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                return "" if find_spec(name) is None else "unknown"

        unwritten = []
        for folder in writes:
            try:
                os.makedirs(folder, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=folder):
                    pass
            except OSError:
                unwritten.append(folder)
        found: dict[str, Any] = {name: version(name) for name in names}
        found["unread"] = [path for path in reads if not os.access(path, os.R_OK)]
        return found | {"unwritten": unwritten}

    return look
