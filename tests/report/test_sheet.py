"""Sheets: what a receipt shows, read from a run folder or a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoestring.bundle import manifest as manifests
from shoestring.core.budget import Cost
from shoestring.core.errors import BundleError, RunError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Receipt
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.report.sheet import receipt, was_trained_on
from tests.report.sheets import FINDINGS, RECEIPTS, SCORES, SHEET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = Run(
        Path("."),
        "images",
        Recipe("images", "mnist", network={"kind": "compact"}),
        architecture={"kind": "classic"},
        scores=SCORES,
        receipts=RECEIPTS,
        findings=FINDINGS,
    )
    (tmp_path / store.RUN).write_text(json.dumps(to_plain(run)))
    return tmp_path


def bundle(folder: Path, **extra: Any) -> Path:
    plain = manifests.compose("images", {}, {"golden.npz": b"-"}, "golden.npz", extra)
    (folder / "bundle.json").write_bytes(manifests.to_bytes(plain))
    return folder


def test_a_run_shows_all_that_it_knows(folder: Path) -> None:
    sheet = receipt(folder)
    assert (sheet.kind, sheet.task, sheet.network) == ("run", "images", "classic")
    assert sheet.receipts == RECEIPTS
    assert sheet.findings == FINDINGS
    assert sheet.scores == SCORES


def test_openings_after_the_run_are_read(folder: Path) -> None:
    line = {"at": "2026-11-23T17:00:00+00:00", "source": "mnist:test", "quality": 0.99}
    (folder / store.OPENINGS).write_text(json.dumps(line) + "\n")
    assert receipt(folder).looks == (line,)


def test_openings_in_the_run_are_lines_of_it() -> None:
    (look,) = SHEET.looks
    assert (look["at"], look["quality"]) == ("2026-11-23T16:20:11+00:00", 0.9931)
    assert "test opened" not in [line.technique for line in SHEET.lines]


def test_the_seconds_used_are_those_of_the_command() -> None:
    assert SHEET.used_seconds == 58.34
    parts = (Receipt("data", cost=Cost(1.0)), Receipt("fit", cost=Cost(2.5)))
    assert replace(SHEET, receipts=parts).used_seconds == 3.5


def test_a_bundle_shows_its_scores_and_lineage(tmp_path: Path) -> None:
    lineage = [to_plain(RECEIPTS[0]), "augment:shift=0.1"]
    sheet = receipt(bundle(tmp_path, scores=to_plain(SCORES), lineage=lineage, network="compact"))
    assert (sheet.kind, sheet.task, sheet.network) == ("bundle", "images", "compact")
    assert sheet.scores == SCORES
    assert [line.technique for line in sheet.receipts] == ["data", "augment:shift=0.1"]


def test_a_bundle_without_scores_is_shown(tmp_path: Path) -> None:
    assert receipt(bundle(tmp_path)).scores is None


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="qualtiy"):
        receipt(bundle(tmp_path, scores={"qualtiy": 1}))
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        receipt(tmp_path)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a run nor a bundle"):
        receipt(tmp_path)
    with pytest.raises(RunError, match="there is no such folder"):
        receipt(tmp_path / "none")
    (tmp_path / store.STARTED).touch()
    with pytest.raises(RunError, match="unfinished"):
        receipt(tmp_path)


def test_a_source_that_was_trained_on_is_known_again(folder: Path, tmp_path: Path) -> None:
    assert was_trained_on(folder, "mnist", "all")
    assert was_trained_on(folder, "mnist:train", "train")
    assert not was_trained_on(folder, "mnist", "test")
    assert not was_trained_on(folder, "photos", "all")
    assert not was_trained_on(tmp_path / "bundle", "mnist", "all")
