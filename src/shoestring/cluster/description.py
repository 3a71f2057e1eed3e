"""description: a cluster as a person says it, 2x8xH100 or a file of TOML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.cluster.devices import GIGA, NEEDED, Device, device, from_table, positive
from shoestring.core.errors import UserError

MOST_DEVICES = 65_536
_WORDS = re.compile(r"(?:(?:(\d+)x)?(\d+)x)?([A-Za-z][\w.-]*)")
_FIELDS = ("nodes", "devices_a_node", "device", "link_gb_s", "network_gb_s", "price_an_hour")


@dataclass(frozen=True)
class Cluster:
    """Equal nodes of equal devices."""

    nodes: int
    devices_a_node: int
    device: Device

    @property
    def devices(self) -> int:
        return self.nodes * self.devices_a_node

    def told(self) -> str:
        """`2 nodes of 8 NVIDIA H100 SXM 80 GB`."""
        nodes = f"{self.nodes} nodes of " if self.nodes > 1 else ""
        return f"{nodes}{self.devices_a_node} {self.device.title}"

    def bandwidth(self, members: int, stride: int) -> float:
        """Bytes a second at which a ring of so many devices, `stride` apart, passes data around,
        each device one way. A ring that leaves the node is as fast as the network cards of those
        members that a node holds, which carry it side by side, and never faster than its links."""
        inside = max(1, min(members, self.devices_a_node // max(1, stride)))
        if members <= inside:
            return self.device.link_bandwidth
        return min(self.device.link_bandwidth, inside * self.device.network_bandwidth)


def cluster(words: str) -> Cluster:
    """The cluster of `[NODESx]DEVICESxNAME`, or of a file of TOML. UserError for a device that is
    not in the table, for a count that is none, and for a file with the field at fault."""
    if words.endswith(".toml") or Path(words).is_file():
        return _from_file(Path(words))
    found = _WORDS.fullmatch(words.strip())
    if found is None:
        raise UserError(
            f"--cluster is [NODESx]DEVICESxNAME such as 2x8xH100, or a file.toml, not {words!r}"
        )
    return _checked(int(found[1] or 1), int(found[2] or 1), device(found[3]), repr(words))


def _from_file(path: Path) -> Cluster:
    import tomllib

    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"the cluster file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the cluster file {path} is no TOML: {error}") from error
    for field in given:
        if field not in _FIELDS:
            raise UserError(f"{path} has no field {field!r}; it has: {', '.join(_FIELDS)}")
    for field in ("nodes", "devices_a_node", "device"):
        if field not in given:
            raise UserError(
                f"{path} lacks the field {field!r}; a cluster needs nodes, devices_a_node and "
                f"device (a name of the table, or a table with {', '.join(NEEDED)})"
            )
    counts = [_whole(given[field], f"{path}: {field}") for field in ("nodes", "devices_a_node")]
    return _checked(counts[0], counts[1], _device_of(given, path), str(path))


def _device_of(given: Mapping[str, Any], path: Path) -> Device:
    said = given["device"]
    if isinstance(said, Mapping):
        found = from_table(str(said.get("title", "device")), said, f"{path}: device")
    else:
        found = device(str(said))
    numbers = {f: positive(given[f], f"{path}: {f}") for f in _FIELDS[3:] if f in given}
    if "price_an_hour" in numbers:
        found = replace(
            found,
            price_an_hour=numbers["price_an_hour"],
            price_as_of="",
            price_source=str(path),
        )
    return replace(
        found,
        link_bandwidth=numbers.get("link_gb_s", found.link_bandwidth / GIGA) * GIGA,
        network_bandwidth=numbers.get("network_gb_s", found.network_bandwidth / GIGA) * GIGA,
    )


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where} is a whole number, not {value!r}")
    return value


def _checked(nodes: int, devices: int, kind: Device, where: str) -> Cluster:
    if nodes < 1 or devices < 1 or nodes * devices > MOST_DEVICES:
        raise UserError(
            f"{where}: {nodes} nodes of {devices} devices; a plan is for 1 to {MOST_DEVICES:,}"
        )
    return Cluster(nodes, devices, kind)
