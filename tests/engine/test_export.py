"""A trained run to a bundle that agrees with it, and a bundle to a folder of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import shoestring
from shoestring import plugins
from shoestring.bundle import bundle
from shoestring.bundle.verify import verify
from shoestring.core.errors import BundleError, RunError, UserError
from shoestring.core.receipt import Receipt
from shoestring.core.run import Recipe, Run
from shoestring.engine.export import export, export_run
from tests.bundle.making import facts, made, pictures, settled


@pytest.fixture
def run(tmp_path: Path) -> Run:
    known = facts()
    network = plugins.task("images").network("compact")
    return Run(
        path=tmp_path / "run",
        task="images",
        recipe=Recipe("images", "/home/somebody/photos", fingerprint="abc"),
        architecture=network.architecture({"kind": "compact", "width": 4}, known),
        facts=known,
        receipts=(
            Receipt("augment:shift=0.1"),
            Receipt("prune", status="skipped", reason="nothing to prune"),
            Receipt("fit"),
        ),
    )


def model_of(run: Run) -> torch.nn.Sequential:
    assert run.architecture is not None
    torch.manual_seed(0)
    return settled(plugins.task("images").network("compact").build(run.architecture))


def test_a_run_becomes_a_bundle_that_agrees_with_it(run: Run) -> None:
    folder, model = run.path / "bundle", model_of(run)
    words = export_run(run, model, pictures(60), folder)
    assert "agrees with the float32 network on 60 validation pictures" in words
    assert verify(run.path)["ok"]
    manifest = bundle.load(folder).manifest
    assert manifest["model"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert manifest["model"]["macs"] > 0
    assert manifest["network"] == "compact"
    assert manifest["data"] == {"source": "photos", "fingerprint": "abc"}
    assert manifest["lineage"] == ["augment:shift=0.1", "fit"]
    assert manifest["opset"] == 19
    assert set(manifest["versions"]) == {"shoestring", "torch", "onnx", "onnxruntime", "numpy"}
    for file in folder.iterdir():
        assert b"/home/somebody" not in file.read_bytes()


def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    for name in ("one", "two"):
        export_run(run, model_of(run), pictures(10), run.path / name)
    for name in ("bundle.json", "model.onnx", "golden.npz", "README.md"):
        assert (run.path / "one" / name).read_bytes() == (run.path / "two" / name).read_bytes()


def test_a_bundle_that_disagrees_is_not_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from shoestring.tasks.images.model import ImageNetwork

    shipped, other = model_of(run), model_of(run)
    with torch.no_grad():
        next(p for p in other.parameters()).add_(0.05)
    graphs = ImageNetwork.graphs
    monkeypatch.setattr(ImageNetwork, "graphs", lambda self, model, run: graphs(self, other, run))
    folder = run.path / "bundle"
    with pytest.raises(BundleError, match=r"disagrees with its network on 60 validation pictures"):
        export_run(run, shipped, pictures(60), folder)
    assert not run.path.exists()


def test_a_bundle_of_an_interrupted_run_is_written_anew(run: Run) -> None:
    made(run.path / "bundle")
    export_run(run, model_of(run), pictures(10), run.path / "bundle")
    assert bundle.load(run.path).manifest["network"] == "compact"


def test_a_run_without_weights_is_not_exported(run: Run) -> None:
    with pytest.raises(RunError, match=r"has no network yet: train it"):
        export_run(replace(run, architecture=None), model_of(run), pictures(9), run.path / "bundle")


def test_a_quantization_that_is_not_known_is_refused(run: Run) -> None:
    quantized = replace(run, quantization={"weights": "int8"})
    with pytest.raises(UserError, match=r"is not quantized by \{'weights': 'int8'\}"):
        export_run(quantized, model_of(run), pictures(9), run.path / "bundle")


# --- the verb -----------------------------------------------------------------------------------


def test_export_copies_and_verifies(tmp_path: Path) -> None:
    made(tmp_path / "run" / "bundle")
    (tmp_path / "run" / "bundle" / "openings.jsonl").write_text('{"source": "x"}\n')
    out = shoestring.export(tmp_path / "run", tmp_path / "deep" / "out")
    assert out == tmp_path / "deep" / "out"
    assert verify(out)["ok"]
    assert (out / "openings.jsonl").read_text() == '{"source": "x"}\n'
    (answer,) = shoestring.load(out).predict(np.zeros((8, 8), np.uint8))
    assert "label" in answer
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_an_empty_folder_is_filled_and_a_full_one_left_alone(tmp_path: Path) -> None:
    made(tmp_path / "run" / "bundle")
    (tmp_path / "out").mkdir()
    export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(UserError, match=r"out is not empty; name another folder with --out"):
        export(tmp_path / "run", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file is not empty"):
        export(tmp_path / "run", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_openings_of_a_run_travel_with_its_bundle(tmp_path: Path) -> None:
    made(tmp_path / "run" / "bundle")
    (tmp_path / "run" / "openings.jsonl").write_text('{"source": "mnist:test"}\n')
    (tmp_path / "run" / "bundle" / "openings.jsonl").write_text('{"source": "x"}\n')
    out = export(tmp_path / "run", tmp_path / "out")
    assert (out / "openings.jsonl").read_text().splitlines() == [
        '{"source": "x"}',
        '{"source": "mnist:test"}',
    ]


def test_a_damaged_bundle_is_not_copied(tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "bundle")
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx has 0 bytes"):
        export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    made(tmp_path / "run" / "bundle")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*file/out"):
        export(tmp_path / "run", tmp_path / "file" / "out")
