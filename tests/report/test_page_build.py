"""page_view: what the page of a build shows beside that of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shoestring.core.budget import Cost
from shoestring.core.decisions import Decision
from shoestring.core.receipt import Interval, Receipt, Scores
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.report import page, page_view, text
from shoestring.report.again import commands
from shoestring.report.sheet import receipt

SCORES = Scores(
    quality=0.95,
    metric="accuracy",
    interval=Interval(0.95, 0.93, 0.97),
    size_bytes=45_000,
    latency_ms={"model": {"median": 0.1, "p95": 0.2}},
)
FIRST = Scores(
    quality=0.9, metric="accuracy", size_bytes=170_000, latency_ms={"model": {"median": 0.12}}
)


def written(folder: Path) -> Path:
    total = {
        "asked_seconds": 60.0,
        "used_seconds": 58.0,
        "limits": {"size_bytes": 50_000, "latency_ms": None, "quality": 0.92},
    }
    folder.mkdir()
    run = Run(
        folder,
        "images",
        Recipe("images", "my photos", network={"kind": "compact"}),
        architecture={"kind": "compact"},
        scores=SCORES,
        receipts=(
            Receipt("first fit", after=FIRST, cost=Cost(wall_seconds=8.0)),
            Receipt("fit", before=FIRST, after=SCORES, cost=Cost(wall_seconds=40.0)),
            Receipt("total", total, cost=Cost(wall_seconds=58.0)),
        ),
        decisions=(
            Decision("first fit", "compact", "to fall back on", "8 s", "0.9", 12.0),
            Decision("ship", "<b>main fit</b>", "the best & only", "", "0.95", 50.0),
        ),
    )
    store.write_finished(run)
    return folder


def test_decisions_limits_and_tried_steps_are_on_the_page(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    html = page.html([folder])
    assert "What was decided, and why" in html
    assert "to fall back on" in html and "&lt;b&gt;main fit&lt;/b&gt;" in html
    assert ">at most 50 KB</text>" in html
    assert html.count(">at least 92%</text>") == 2  # in both pictures
    assert "at most 50 KB asked" in html and "at least 92% asked" in html  # on the cards
    view = page_view.view(receipt(folder), folder, 1)
    assert [row[1] for row in view.front_rows] == [str(folder), "first fit"]
    assert "--max-size 50000" in view.command and "--min-quality 0.92" in view.command
    assert "'my photos' --budget 60s" in view.command


def test_what_misses_a_limit_is_marked_on_the_page_and_on_a_terminal(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    kept = text.plain(text.receipt(receipt(folder)))
    assert "limits: at most 50 KB, accuracy of at least 92%; kept" in kept
    run = store.read(folder)
    large = replace(SCORES, size_bytes=70_000)
    other = tmp_path / "b"
    other.mkdir()
    store.write_finished(replace(run, path=other, scores=large))
    assert "92%; missed: size" in text.plain(text.receipt(receipt(other)))
    view = page_view.view(receipt(other), other, 1)
    assert [card.name for card in view.cards if card.bad] == ["size"]


def test_a_front_of_one_kind_has_its_legend_all_the_same(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    view = page_view.view(receipt(folder), folder, 1)
    assert [key.name for key in view.front[0].keys][-1] == "95% interval"


def test_no_color_of_the_budget_stands_for_two_parts(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    run = store.read(folder)
    steps = tuple(Receipt(f"step {n}", cost=Cost(wall_seconds=1.0 + n)) for n in range(12))
    total = replace(run.receipts[-1], options=run.receipts[-1].options | {"used_seconds": 80.0})
    other = tmp_path / "b"
    other.mkdir()
    store.write_finished(replace(run, path=other, receipts=(*steps, total)))
    budget = page_view.view(receipt(other), other, 1).budget
    assert budget is not None
    styles = [part.number for part in budget.parts]
    assert len(set(styles)) == len(styles)
    assert sum(part.seconds for part in budget.parts) == 80.0
    assert budget.parts[-1].name == "other"


def test_points_that_lie_on_each_other_share_a_label(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    run = store.read(folder)
    twin = replace(run.receipts[0], technique="first fit", after=replace(SCORES, quality=0.9499))
    store.write_finished(replace(run, receipts=(twin, *run.receipts[1:])))
    assert ">1, 2</text>" in page.html([folder])


def test_how_to_reproduce_says_all_that_a_build_was_told(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    run = store.read(folder)
    asked = {
        "options": {"source": "en", "target": "de", "lowercase": True, "group_by": "a b"},
        "techniques": ["tune:trials=8", "augment:flip=no"],
        "without": ["ensemble"],
        "network": {"kind": "compact", "width": 16},
        "seed": 3,
        "threads": 1,
    }
    total = replace(run.receipts[-1], options={**run.receipts[-1].options, "asked": asked})
    store.write_finished(replace(run, receipts=(*run.receipts[:-1], total)))
    (line,) = (row for row in commands(receipt(folder)).splitlines() if " build " in row)
    assert line.startswith("shoestring build 'my photos' --budget 60s --max-size 50000")
    for words in (
        "--min-quality 0.92",
        "--source en --target de --lowercase --group-by 'a b'",
        "--with tune:trials=8 --with augment:flip=no --without ensemble",
        "--network compact:width=16 --seed 3 --threads 1",
    ):
        assert words in line


def test_a_damaged_run_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    whole = {"step": 10, "train_loss": 0.5, "validation_loss": 0.4, "quality": 0.9, "epoch": 1.0}
    curve = (whole, {**whole, "step": 20, "train_loss": float("nan")}, {"step": 30, "quality": 1.0})
    scores = replace(SCORES, latency_ms={"model": {}})
    run = replace(store.read(folder), curve=curve, scores=scores)
    total = replace(
        run.receipts[-1],
        options={**run.receipts[-1].options, "limits": {"size_bytes": 3, "more": "x"}, "asked": 7},
    )
    store.write_finished(replace(run, receipts=(*run.receipts[:-1], total)))
    html = page.html([folder, written(tmp_path / "b")])
    assert "Loss" in html
    assert "shoestring build" in html
