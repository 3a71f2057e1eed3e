"""Many processes take the steps that one takes: real ones, over gloo, in float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny

EXACT = 1e-9  # relative, of float64
HOOKS = ["average:every=1,decay=0.9", "regularize:l1=0.001"]
CLASSIC = {"kind": "classic"}
COMPACT = {"kind": "compact", "width": 4, "dropout": 0.0}
LSTM = {"kind": "lstm", "embedding": 24, "encoder_units": 16, "decoder_units": 32, "dropout": 0.0}
TRANSFORMER = {
    "kind": "transformer",
    "units": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "heads": 4,
    "feed_forward": 64,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("parallel")
    for task in ("images", "translation"):
        tiny.of_task(task).write(found)
    return found


def case(
    folder: Path,
    mesh: str,
    network: dict[str, Any],
    steps: int = 3,
    precision: str = "float64",
    **more: Any,
) -> dict[str, Any]:
    pictures = network["kind"] in ("classic", "compact")
    recipe = {
        "network": network,
        "batch_size": 17 if pictures else 128,  # which two do not divide
        "learning_rate": 0.01,
        "optimizer": "adamw",
        "clip": 1.0,
        **more,
    }
    source = folder / ("bars.npz" if pictures else "words.tsv")
    found = {"mesh": mesh, "source": str(source), "steps": steps, "precision": precision}
    return {**found, "recipe": recipe}


def found(folder: Path, workers: int, cases: dict[str, Any]) -> dict[str, Any]:
    """What the lead of so many processes found of each case."""
    home = folder / f"of-{workers}-{len(list(folder.iterdir()))}"
    home.mkdir()
    (home / "cases.json").write_text(json.dumps(cases))
    said = [(home / f"errors-{rank}").open("wb") for rank in range(workers)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.engine.spread.parallel_rank",
                home,
                str(rank),
                str(workers),
            ],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).resolve().parents[3],
            stderr=said[rank],
        )
        for rank in range(workers)
    ]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process, errors in zip(processes, said, strict=True):
            process.kill()
            process.wait()
            errors.close()
    assert not any(codes), [(home / f"errors-{r}").read_text()[-2000:] for r in range(workers)]
    answers: dict[str, Any] = json.loads((home / "found.json").read_text())
    return answers


def same(one: dict[str, Any], tolerance: float = EXACT) -> None:
    """The curves, the checkpoint and the weights of a case, by many and by one."""
    assert one["names"]
    assert one["losses"] == pytest.approx(one["own"], rel=tolerance)
    for name in ("validation", "train"):
        many, alone = one[name]
        assert many == pytest.approx(alone, rel=tolerance)
    many, alone = one["after"]
    assert many == pytest.approx(alone, rel=tolerance)
    for repeated in one["repeated"]:  # from the checkpoint, by as many processes and by one
        assert repeated == pytest.approx(many, rel=tolerance)
    # Adam divides by the root of a mean square: of gradients that are all but zero it makes much.
    assert one["weights"] < 1e-6


@pytest.fixture(scope="module")
def by_two(folder: Path) -> dict[str, Any]:
    return found(
        folder,
        2,
        {
            "data accumulated": case(folder, "data2", CLASSIC, accumulate=2),
            "data of single sentences": case(folder, "data2", LSTM, batch_size=4),
            "data normalised": case(folder, "data2", COMPACT, batch_size=64),
            "fsdp": case(folder, "fsdp2", TRANSFORMER, hooks=HOOKS),
            "fsdp of pictures": case(folder, "fsdp2", CLASSIC),
            "fsdp in float32": case(folder, "fsdp2", LSTM, precision="float32"),
            "fsdp with Muon": case(folder, "fsdp2", TRANSFORMER, optimizer="muon"),
            "tensor with Muon": case(folder, "tensor2", TRANSFORMER, optimizer="muon"),
            "pipeline with Muon": case(folder, "pipeline2", TRANSFORMER, optimizer="muon"),
            "tensor": case(folder, "tensor2", TRANSFORMER, hooks=HOOKS),
            "tensor of pictures": case(folder, "tensor2", COMPACT),
            "pipeline": case(folder, "pipeline2", TRANSFORMER, hooks=HOOKS),
            "pipeline of an LSTM": case(folder, "pipeline2", LSTM),
            "pipeline of pictures": case(folder, "pipeline2", CLASSIC),
        },
    )


@pytest.mark.parametrize(
    "name",
    [
        "data accumulated",
        "data of single sentences",
        "fsdp",
        "fsdp of pictures",
        "fsdp with Muon",
        "tensor",
        "tensor with Muon",
        "tensor of pictures",
        "pipeline",
        "pipeline with Muon",
        "pipeline of an LSTM",
        "pipeline of pictures",
    ],
)
def test_two_processes_take_the_steps_of_one(by_two: dict[str, Any], name: str) -> None:
    same(by_two[name])


def test_a_fit_in_its_own_precision_is_the_same_but_for_rounding(by_two: dict[str, Any]) -> None:
    one = by_two["fsdp in float32"]
    assert one["losses"] == pytest.approx(one["own"], rel=1e-4)


def test_normalisation_by_parts_differs_within_its_bound(by_two: dict[str, Any]) -> None:
    """A part of n examples has statistics that lie about 1 / sqrt(n) deviations from those of the
    batch: with 32 of 64, the loss of a first step differs by less than that share of it."""
    one = by_two["data normalised"]
    assert one["losses"][0] != pytest.approx(one["own"][0], rel=EXACT)
    assert one["losses"] == pytest.approx(one["own"], rel=32**-0.5)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_fifty_steps_of_every_strategy(folder: Path, workers: int) -> None:
    meshes = [f"{way}{workers}" for way in ("data", "fsdp", "tensor", "pipeline")]
    if workers == 4:
        meshes += ["data2xtensor2", "data2xfsdp2"]
    wide = {**TRANSFORMER, "encoder_layers": 2, "decoder_layers": 2}
    cases = {
        f"{mesh} {network['kind']}": case(folder, mesh, network, 50, learning_rate=0.001)
        for mesh in meshes
        for network in (CLASSIC, wide)
    }
    for one in found(folder, workers, cases).values():
        same(one)
