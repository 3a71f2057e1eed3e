"""The table of devices, and clusters as people say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.cluster.description import cluster
from shoestring.cluster.devices import NEEDED, device, from_table, table
from shoestring.core.errors import UserError

OWN = """
nodes = 2
devices_a_node = 4
network_gb_s = 100
price_an_hour = 1.5
[device]
title = "a chip"
memory_gb = 32
rates = { bfloat16 = 200.0 }
memory_gb_s = 900
link_gb_s = 100
network_gb_s = 10
"""


@pytest.mark.parametrize("name", table())
def test_every_device_says_where_its_figures_are_from(name: str) -> None:
    found = table()[name]
    assert found.source
    assert found.title
    assert found.family
    assert (found.price_an_hour is None) == (not found.price_source)
    assert bool(found.price_source) == bool(found.price_as_of)
    assert found.memory_bandwidth >= found.link_bandwidth >= found.network_bandwidth


def test_names_have_letters_of_either_case() -> None:
    assert device("h100").name == "H100"


def test_an_unknown_device_lists_the_near_ones() -> None:
    with pytest.raises(UserError, match=r"no device 'A100-80'.*did you mean A100-80GB"):
        device("A100-80")


@pytest.mark.parametrize(
    ("words", "nodes", "each"), [("2x8xH100", 2, 8), ("8xH100", 1, 8), ("t4", 1, 1)]
)
def test_clusters_in_words(words: str, nodes: int, each: int) -> None:
    found = cluster(words)
    assert (found.nodes, found.devices_a_node) == (nodes, each)
    assert found.devices == nodes * each


@pytest.mark.parametrize("words", ["", "8x", "-1xH100", "2x2x2xH100", "0xH100", "70000xH100"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(UserError, match=r"2x8xH100|a plan is for 1 to"):
        cluster(words)


def test_a_file_describes_a_device_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    found = cluster(str(tmp_path / "own.toml"))
    assert found.told() == "2 nodes of 4 a chip"
    assert found.device.rate("bfloat16") == 200e12
    assert found.device.network_bandwidth == 100e9  # the cluster's own wins
    assert found.device.price_an_hour == 1.5


def test_a_file_changes_a_device_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('nodes = 1\ndevices_a_node = 8\ndevice = "H200"\nprice_an_hour = 2')
    assert cluster(str(path)).device.price_an_hour == 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("nodes = 2\n", ""), "lacks the field 'nodes'"),
        (("devices_a_node = 4\n", ""), "lacks the field 'devices_a_node'"),
        (("memory_gb = 32\n", ""), "device lacks the field 'memory_gb'"),
        (("nodes = 2", 'nodes = "two"'), "nodes is a whole number"),
        (("nodes = 2", "nodes = 0"), "0 nodes"),
        (("memory_gb = 32", "memory_gb = -1"), "device: memory_gb is a positive number, not -1"),
        (("memory_gb = 32", "memory = 32"), "lacks the field 'memory_gb'"),
        (("link_gb_s = 100", "link_gb_s = 100\nlinks = 3"), "no field 'links'"),
        (("{ bfloat16 = 200.0 }", "3"), "rates is a table"),
        (("200.0", '"fast"'), "rates.bfloat16 is a positive number"),
        (("bfloat16 =", "bfloat61 ="), "device: rates has 'bfloat61', which is none of bfloat16"),
        (("nodes = 2", "nodes ="), "is no TOML"),
        (("nodes = 2", "nodes = 2\nowner = 1"), "no field 'owner'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(UserError, match=said) as caught:
        cluster(str(path))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml cannot be read"):
        cluster("nowhere.toml")


def test_a_device_needs_every_figure() -> None:
    row = {"memory_gb": 1.0, "memory_gb_s": 1.0, "link_gb_s": 1.0, "network_gb_s": 1.0}
    row["rates"] = {"float32": 1.0}  # type: ignore[assignment]
    for field in NEEDED:
        with pytest.raises(UserError, match=f"here lacks the field '{field}'"):
            from_table("x", {k: v for k, v in row.items() if k != field}, "here")
    with pytest.raises(UserError, match="for bfloat16; say another --precision: float32"):
        from_table("x", row, "here").rate("bfloat16")


def test_a_ring_is_as_fast_as_what_it_crosses() -> None:
    found = cluster("2x8xH100")
    assert found.bandwidth(8, 1) == 450e9  # within a node
    assert found.bandwidth(16, 1) == 8 * 50e9  # all its network cards side by side
    assert found.bandwidth(2, 8) == 50e9  # one member in each node
