"""Many files are decoded by many workers into one file, and a worker's death costs one picture."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from shoestring.core import machine
from shoestring.tasks.images.reading import decoders, reader
from shoestring.tasks.images.reading.preprocess import resize_graph
from tests.tasks.images.drawn import noise, save

PLAN = reader.Plan(16, 16, 3, resize=False)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [str(save(tmp_path / "in" / f"{i}.png", i)) for i in range(70)]
    Path(paths[5]).write_bytes(b"")
    return paths


def decoded(
    files: Sequence[str], folder: Path, plan: reader.Plan = PLAN, graph: bytes | None = None
) -> tuple[np.ndarray, np.ndarray, dict[int, str], int]:
    folder.mkdir(exist_ok=True)
    if graph is not None:
        (folder / "resize.onnx").write_bytes(graph)
    decoders.create(folder, len(files), plan)
    reasons: dict[int, str] = {}
    total = 0
    with decoders.Crew(files, [1] * len(files)) as crew:
        for _, count, _, broken in crew.decode(plan, graph, folder):
            total += count
            reasons |= broken
    pixels = np.fromfile(folder / "pixels", np.uint8)
    shape = (len(files), plan.height, plan.width, plan.channels)
    return pixels.reshape(shape), np.fromfile(folder / "records", reader.RECORD), reasons, total


def test_threads_and_processes_give_the_same(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, graph = reader.Plan(24, 24, 3, resize=True), resize_graph((24, 24))
    few = decoded(files, tmp_path / "few", plan, graph)
    monkeypatch.setattr(decoders, "FEW_FILES", 0)
    many = decoded(files, tmp_path / "many", plan, graph)
    assert np.array_equal(few[0], many[0])
    assert few[1].tobytes() == many[1].tobytes()
    assert few[2] == many[2] == {5: "the file is empty (0 bytes)"}
    assert few[3] == many[3] == 70


def test_every_picture_is_in_its_place(files: list[str], tmp_path: Path) -> None:
    pixels, records, _, _ = decoded(files, tmp_path / "out")
    for i in range(len(files)):
        assert np.array_equal(pixels[i], np.zeros_like(pixels[i]) if i == 5 else noise(i))
    assert (records["status"] == reader.READ).sum() == 69


class Deadly:
    """In the place of subprocess.Popen: kills a worker when it is asked for a certain file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
        self.started = 0
        real = subprocess.Popen
        answer = decoders._Member._answer

        def start(*arguments, **options):
            self.started += 1
            return real(*arguments, **options)

        def ask(member, question):
            killed = name is None and not isinstance(question, dict)
            if isinstance(question, list) and name is not None:
                killed = any(path.endswith(name) for path in question[1])
            if killed and member._worker is not None:
                os.kill(member._worker.pid, signal.SIGKILL)
                member._worker.wait()
            return answer(member, question)

        monkeypatch.setattr(subprocess, "Popen", start)
        monkeypatch.setattr(decoders._Member, "_answer", ask)
        monkeypatch.setattr(decoders, "FEW_FILES", 0)
        monkeypatch.setattr(decoders, "_CHUNK", 8)
        monkeypatch.setattr(decoders, "cores", lambda: 1)


def test_a_picture_that_kills_its_reader_costs_only_itself(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = Deadly(monkeypatch, "/9.png")
    pixels, records, reasons, total = decoded(files[:16], tmp_path / "out")
    assert reasons.keys() == {5, 9}
    assert "process that read it died" in reasons[9]
    assert total == 16
    assert np.flatnonzero(records["status"] == reader.BROKEN).tolist() == [5, 9]
    assert np.array_equal(pixels[10], noise(10))
    assert not pixels[9].any()
    assert deadly.started == 3


@pytest.mark.parametrize("trouble", ["no executable", "does not start", "dies at once"])
def test_where_no_worker_can_be_had_this_process_decodes(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(decoders, "FEW_FILES", 0)
    program = {"no executable": "", "does not start": "/nowhere/python", "dies at once": "false"}
    monkeypatch.setattr(decoders.sys, "executable", program[trouble])
    pixels, _, reasons, total = decoded(files, tmp_path / "out")
    assert np.array_equal(pixels[10], noise(10))
    assert reasons.keys() == {5}
    assert total == 70


def test_a_full_disk_is_raised_from_the_worker(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "FEW_FILES", 0)
    create = decoders.create

    def on_a_full_disk(folder: Path, count: int, plan: reader.Plan) -> None:
        create(folder, count, plan)
        (folder / "pixels").unlink()
        (folder / "pixels").symlink_to("/dev/full")

    monkeypatch.setattr(decoders, "create", on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        decoded(files, tmp_path / "out")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The workers, where even a few files have some."""
    workers = []
    real = subprocess.Popen

    def start(*arguments, **options):
        workers.append(real(*arguments, **options))
        return workers[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(decoders, "FEW_FILES", 0)
    monkeypatch.setattr(decoders, "_CHUNK", 4)
    return workers


def test_who_stops_early_leaves_no_worker(
    files: list[str], tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    decoders.create(tmp_path, len(files), PLAN)
    with decoders.Crew(files, [1] * len(files)) as crew:
        parts = crew.decode(PLAN, None, tmp_path)
        next(parts)
        parts.close()
        assert started
        assert all(worker.returncode is not None for worker in started)


def test_workers_wait_for_a_plan_and_end_without_one(
    files: list[str], started: list[subprocess.Popen[bytes]]
) -> None:
    with decoders.Crew(files, [1] * len(files)):
        assert started
        assert all(worker.poll() is None for worker in started)
    assert all(worker.returncode is not None for worker in started)


def test_a_second_plan_has_workers_of_its_own(
    files: list[str], tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    decoders.create(tmp_path, len(files), PLAN)
    with decoders.Crew(files, [1] * len(files)) as crew:
        for parts in (crew.decode(PLAN, None, tmp_path) for _ in range(2)):
            assert sum(count for _, count, _, _ in parts) == len(files)
    pixels = np.fromfile(tmp_path / "pixels", np.uint8).reshape(len(files), 16, 16, 3)
    assert np.array_equal(pixels[10], noise(10))
    assert len(started) == 2 * machine.cores()
