"""Receipts as text: complete, and clean at every width."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from shoestring.core.receipt import Finding, Receipt, Scores
from shoestring.report import cards, tables, text
from shoestring.report.sheet import Sheet
from tests.report.sheets import FINDINGS, RECEIPTS, SCORES, SHEET


def at(width: int, sheet: Sheet = SHEET, details: bool = False) -> str:
    return text.plain(text.receipt(sheet, details), width)


@pytest.mark.parametrize("width", [80, 120])
def test_the_receipt_is_the_golden_one(width: int, root: object) -> None:
    golden = f"{root}/tests/golden/receipt-{width}.txt"
    shown = at(width, details=True) + "\n"
    if os.environ.get("GOLDEN") == "write":  # after a change that is meant: GOLDEN=write pytest
        with open(golden, "w", encoding="utf-8") as file:
            file.write(shown)
    with open(golden, encoding="utf-8") as file:
        assert shown == file.read()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    shown = at(width, details=True)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())
    words = " ".join(shown.split())
    for said in ("99.31%", "99.03%", "99.51%", "90,122", "373.1 KB", "0.031 ms", "p95 0.040 ms",
                 "60.0 s asked, 58.3 s used", "bfloat16", "3 left out", "better", "skipped",
                 "+0.31 points [+0.12, +0.50]", "-26.9 KB", "-0.009 ms"):  # fmt: skip
        assert said in words, said


@pytest.mark.parametrize("width", [20, 40])
def test_even_a_sliver_of_a_terminal_gets_a_receipt(width: int) -> None:
    assert "accuracy" in at(width)


def test_a_wide_terminal_gets_columns_and_a_narrow_one_lines() -> None:
    assert "gain, 95% interval" in at(120)
    assert "gain, 95% interval" not in at(60)


def test_a_reason_that_holds_for_several_is_said_once() -> None:
    shown = " ".join(at(120).split())
    assert shown.count("no run without it") == 1
    assert "augment:shift=0.1, average not measured: no run without it" in shown
    assert "--without NAME" in shown
    assert "average:decay=0.9 skipped: less than one epoch" in shown


def test_long_options_stand_below_the_name_and_break_between_them() -> None:
    long = "augment:shift=0.125,rotate=12.5,scale=0.15,shear=0.1,erase=0.25,flip=horizontal"
    shown = at(60, replace(SHEET, receipts=(Receipt(long, reason="because"),))).splitlines()
    (row,) = (i for i, line in enumerate(shown) if line.split()[:1] == ["augment"])
    assert shown[row].split() == ["augment", "not", "measured"]
    words = " ".join(shown).split()
    assert all(option.rstrip(",") in {w.rstrip(",") for w in words}
               for option in long.partition(":")[2].split(","))  # fmt: skip
    assert "  - augment not measured: because" in shown


def test_what_is_not_there_is_not_counted() -> None:
    none = Finding("split", 0, "no test split: none is given")
    assert "  split    no test split" in at(80, replace(SHEET, findings=(none,)))


def test_what_was_seen_in_the_data_stands_below_the_scores() -> None:
    said = "5 pictures could not be read and were left out"
    shown = text.plain(tables.scores(replace(SCORES, details={"findings": [said]})))
    assert shown.endswith(f"  - {said}")


def test_work_that_is_no_technique_has_no_verdict() -> None:
    only = replace(SHEET, receipts=(Receipt("export", reason="largest difference 3e-07"),))
    shown = at(100, only)
    assert "not measured" not in shown
    assert "export: largest difference 3e-07" in shown


def test_single_classes_are_shown_where_asked_for() -> None:
    assert "Per class" not in at(80)
    detailed = at(80, details=True)
    assert "Per class" in detailed
    assert "new\\nline" in detailed
    assert "Most frequent confusions" in detailed


def test_test_openings_stand_apart() -> None:
    assert "opened 2026-11-23 16:20 UTC   validation   accuracy 99.31%" in at(120)
    later = ({"at": "2026-11-24T10:00:00+00:00", "source": "mnist:test", "quality": 0.5},)
    shown = at(120, replace(SHEET, openings=later))
    assert "2026-11-24 10:00 UTC   mnist:test" in shown


def test_more_than_was_asked_is_said() -> None:
    late = Receipt("total", options={"asked_seconds": 60.0, "used_seconds": 63.0})
    shown = at(80, replace(SHEET, receipts=(late,)))
    assert "60.0 s asked, 63.0 s used, 3.0 s too much" in shown


def test_an_empty_receipt_is_still_one() -> None:
    bare = Sheet("bundle", "bundle", "images")
    assert at(80, bare) == "Receipt of bundle, images"
    assert at(80, replace(bare, scores=Scores())).endswith("Scores, measured on the bundle")


def test_the_lineage_of_a_bundle_has_no_costs() -> None:
    shown = at(80, Sheet("bundle", "bundle", "images", receipts=(Receipt("augment"),)))
    assert shown.splitlines()[-1].split() == ["augment", "not", "measured"]


def test_a_sheet_prints_itself() -> None:
    assert str(SHEET) == at(80)


names = st.text(min_size=1, max_size=60)


@settings(max_examples=30)
@given(names, names, st.integers(0, 10**9))
def test_no_name_breaks_the_page(technique: str, file: str, number: int) -> None:
    finding = Finding("broken", number, "a message", (file,))
    receipts = (Receipt(technique, reason="because"), *RECEIPTS)
    shown = at(80, replace(SHEET, receipts=receipts, findings=(finding, *FINDINGS)))
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "budget: 60.0 s asked" in shown


def test_a_foreign_bundle_gives_the_terminal_no_orders() -> None:
    order = "\x1b]0;title\x07"
    scores = replace(SCORES, metric=f"accuracy{order}", signature=order)
    foreign = Sheet(order, "bundle", order, order, scores=scores, receipts=(Receipt(order),))
    assert "\x1b" not in at(80, foreign, details=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colors_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    page = text.receipt(SHEET)
    pipe, plain, colored = io.StringIO(), Terminal(), Terminal()
    text.show(page, pipe)
    monkeypatch.setenv("NO_COLOR", "1")
    text.show(page, plain)
    monkeypatch.delenv("NO_COLOR")
    text.show(page, colored)
    assert "\x1b[" not in pipe.getvalue()
    assert "\x1b[32m" not in plain.getvalue()
    assert "\x1b[32m" in colored.getvalue()


def test_scores_tell_how_a_figure_was_measured() -> None:
    shown = text.plain(
        tables.scores(replace(SCORES, details={**SCORES.details, "opening": "in x"}))
    )
    assert "calibration error      0.0042   15 bins" in shown
    assert "opening" in shown
    assert shown.count("15 bins") == 1


def test_a_card_flows_with_the_width() -> None:
    options = (cards.Option("ratio", "float", "0.5", "share of the units"),)
    card = cards.Card("prune", "removes units.", "One\ntwo.\n\n- a\n- b", options)
    shown = text.plain(tables.card(card), 60).splitlines()
    assert shown[0] == "prune: removes units."
    assert "One two." in shown
    assert "- b" in shown
    assert shown[-1].split() == ["ratio", "float", "0.5", "share", "of", "the", "units"]


def test_no_rows_are_no_trouble() -> None:
    assert isinstance(tables.rows([]), Table)
    assert text.plain(tables.rows([])) == ""
