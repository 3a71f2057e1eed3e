"""session: addresses, versions, room and paths, and what is said where they are not as wanted."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shoestring import cli
from shoestring.__main__ import main
from shoestring.cluster import batches, nodes
from shoestring.cluster import session as sessions
from shoestring.cluster.pool import RayPool
from shoestring.cluster.session import Asked, Session
from shoestring.core.errors import MissingExtra, RunError, UserError
from shoestring.engine import store


@pytest.mark.parametrize("address", ["nowhere", "http://a:1", "a:b", "ray://a:10001", "1.2.3.4"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with (
        pytest.raises(UserError, match=r"is no address of a cluster: auto, local, or HOST:PORT"),
        sessions.joined(Asked(address)),
    ):
        pass


def test_auto_is_the_cluster_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert sessions._address("auto") == "10.0.0.1:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(sessions, "CURRENT", Path("/nowhere/at/all"))
    assert sessions._address("auto") is None
    assert sessions._address("local") is None


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "shoestring\[cluster\]"'):
        sessions.equipped()


def test_more_workers_than_there_is_room_for(session: Session) -> None:
    has = session.size()
    with pytest.raises(UserError, match=rf"{has + 5} workers of 1 cpu .* place for {has} "):
        session.wait_for(has + 5)
    with pytest.raises(UserError, match="and 1 gpu were asked for"):
        session.wait_for(1, 1, 1)
    session.wait_for(has)


def test_a_node_with_another_version_is_named(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.look_at_nodes()
    for name in ("shoestring", "torch"):
        monkeypatch.setattr(nodes, "versions", lambda name=name: {name: "9.9"})
        with pytest.raises(UserError, match=rf"node .* has {name} .*, and here it is 9\.9"):
            session.look_at_nodes()


def test_a_node_that_has_gone_is_passed_over(session: Session) -> None:
    """Ray lists one for a while after its power went."""
    gone = nodes.Node("1234567" * 8, "10.0.0.9", 1, 0)
    nodes.looked_at([gone, *session.nodes()], session.address, [], [])
    with pytest.raises(RunError, match=r"no node of the cluster at .* is left"):
        nodes.looked_at([gone], session.address, [], [])


def test_paths_that_a_node_does_not_share_are_named(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read /nowhere/photos; put it on a folder"):
        session.look_at_nodes(reads=[Path("/nowhere/photos")])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        session.look_at_nodes(writes=[tmp_path / "file" / "below"])


def test_the_interface_of_an_address_is_that_of_its_subnet(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        "eth0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n"
        "veth1 00004D0A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
    )
    assert nodes.interface_of("10.77.0.2", table) == "veth1"
    assert nodes.interface_of("10.1.0.2", table) == "eth0"
    assert nodes.interface_of("192.168.0.1", table) == ""
    assert nodes.interface_of("127.0.0.1", table) == "lo"
    assert nodes.interface_of("fe80::1", table) == ""
    assert nodes.interface_of("10.0.0.1", tmp_path / "none") == ""


def test_a_cluster_that_is_silent_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = sessions.Pulse.__new__(sessions.Pulse)
    pulse.address, pulse._last = "10.0.0.1:6379", float("-inf")
    with pytest.raises(RunError, match="has not answered"):
        pulse.check()


def test_who_works_on_a_silent_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = sessions.Pulse.__new__(sessions.Pulse)
    pulse.address, pulse._last, pulse._nodes = "10.0.0.1:6379", float("-inf"), []
    silent = Session(Asked("10.0.0.1:6379"), "10.0.0.1:6379", pulse, started=False)
    pool = RayPool(silent)
    for question in (pool.room, pool.size, lambda: list(pool.results())):
        with pytest.raises(RunError, match="go on with --resume"):
            question()


def told(*words: str) -> str:
    found = CliRunner().invoke(cli.commands, list(words))
    return f"{found.exit_code} {found.exception}"


def test_verbs_that_nothing_of_is_work_for_a_cluster_say_so(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(source), "--out", str(tmp_path / "a"), "--cluster", "local"]
    assert "nothing here is work for more than one process" in told(*words)
    assert "name it: --cluster" in told(*words[:-2], "--cluster-wait", "3s")
    words = ["predict", str(tmp_path), "x.png", "--cluster", "local"]
    assert main(["export", str(tmp_path), "--out", "x", "--cluster", "auto"]) == 2
    assert "--cluster" in capsys.readouterr().err


def test_the_command_joins_and_works_there(
    session: Session, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def same(asked: Asked) -> Iterator[Session]:
        assert asked == Asked("auto", 2, 30.0)
        yield session

    monkeypatch.setattr(sessions, "joined", same)
    words = ["train", str(source), "--out", str(tmp_path / "a"), "--steps", "12", "--quiet"]
    words += ["--network", "compact:width=4", "--threads", "1", "--with", "tune:trials=2"]
    words += ["--cluster", "auto", "--cluster-cpus", "2", "--cluster-wait", "30s"]
    found = CliRunner().invoke(cli.commands, words)
    assert found.exception is None, found.exception
    trials = store.read_trials(tmp_path / "a")
    assert trials is not None
    assert [line.number for line in trials.lines] == [0, 1]
    assert {line.ending for line in trials.lines} <= {"finished", "stopped early"}

    # That Ray Data answers the same is test_batches.py's: here it is only asked.
    answered, asked = batches.answered, []

    def near(*words: Any, session: Session | None, **named: Any) -> Any:
        asked.append(session)
        return answered(*words, **named)

    monkeypatch.setattr(batches, "answered", near)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"")
    words = ["predict", str(tmp_path / "a"), "--input", str(pictures), "--out"]
    words += [str(tmp_path / "b"), "--cluster", "auto", "--cluster-cpus", "2"]
    found = CliRunner().invoke(cli.commands, [*words, "--cluster-wait", "30s"])
    assert "1 of 1 input could not be read" in str(found.exception)
    assert (tmp_path / "b" / "part-00000.jsonl").exists()
    assert asked == [session]
