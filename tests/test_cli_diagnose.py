"""The verbs `diagnose` and `evaluate --shift`, as a shell says them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shoestring
from shoestring.__main__ import main
from shoestring.core.run import Run
from tests import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cli")
    return shoestring.train(
        tiny.write_npz(folder / "bars.npz", count=150),
        steps=20,
        network="compact:width=4",
        batch_size=16,
        precision="float32",
        threads=1,
        device="cpu",
        out=folder / "run",
    )


def test_a_run_is_diagnosed_in_a_page_and_as_json(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(run.path), "--quiet"]) == 0
    page = capsys.readouterr().out
    assert f"Diagnosis of {run.path}"[:40] in page
    assert "The run" in page
    assert main(["diagnose", str(run.path), "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "run"
    assert found["fitness"]["state"] in ("overfitting", "underfitting", "balanced", "solved")


def test_data_are_only_read_where_fits_are_declined(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["diagnose", run.recipe.source, "--no-labels", "--no-more-data", "--quiet", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] is None
    assert found["counts"]["train"] > 0


def test_a_picture_that_cannot_be_written_ends_before_the_work(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(run.path), "--plot", "more.png"]) == 2
    assert "SVG" in capsys.readouterr().err


def test_nothing_there_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "/no/such/place"]) == 2
    assert "/no/such/place" in capsys.readouterr().err


def test_evaluate_shows_and_draws_the_shift(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "shift.svg"
    words = ["evaluate", str(run.path), run.recipe.source, "--shift", "--quiet"]
    assert main([*words, "--plot", str(drawn)]) == 0
    page = capsys.readouterr().out
    assert "Under shift" in page
    assert "gaussian noise" in page
    assert drawn.read_text("utf-8").startswith("<svg")
