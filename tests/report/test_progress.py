"""Progress: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import re

import pytest

from shoestring.core.listener import Listener, Look, Quiet
from shoestring.report import progress

LOOK = Look(100, 200, 0.4, 0.31, "accuracy", 0.981, 0.07)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(listener: Listener) -> None:
    listener.stage("reading pictures", 0, 3)
    listener.stage("reading pictures", 3, 3)
    listener.say("a sentence")
    listener.step(100, 200, 65.0, 0.31, 0.92, 12_345.6)
    listener.evaluation(LOOK)
    listener.step(200, 200, 0.0, 0.21, 0.93, 12_345.6)


def test_lines() -> None:
    stream = io.StringIO()
    with progress.watch(stream) as listener:
        told(listener)
    assert stream.getvalue().splitlines() == [
        "reading pictures 3 of 3",
        "a sentence",
        "step 100 loss 0.3100 accuracy 0.9200",
        "step 100 validation accuracy 0.9810 loss 0.0700",
        "step 200 loss 0.2100 accuracy 0.9300",
    ]


def test_long_work_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    lines = progress.Lines(stream)
    for done in range(1001):
        now = done / 50  # 20 seconds in all
        lines.stage("reading pictures", done, 1000)
    assert stream.getvalue().splitlines() == [
        f"reading pictures {done} of 1,000" for done in ("250", "500", "750", "1,000")
    ]


def test_work_that_is_not_counted_is_only_named() -> None:
    stream, terminal = io.StringIO(), Terminal()
    progress.Lines(stream).stage("looking around", 0, 0)
    assert stream.getvalue() == "looking around\n"
    with progress.Bar(terminal).shown() as bar:
        bar.stage("looking around", 0, 0)
    assert "looking around" in terminal.getvalue()


def test_quiet_says_nothing() -> None:
    stream = Terminal()
    with progress.watch(stream, quiet=True) as listener:
        told(listener)
        assert isinstance(listener, Quiet)
    assert stream.getvalue() == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def seen(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())


def test_a_bar_shows_time_left_rate_and_validation(terminal: Terminal) -> None:
    with progress.watch(terminal) as listener:
        told(listener)
    shown = seen(terminal)
    assert "a sentence" in shown
    assert "1:05 left" in shown
    assert "12,346/s" in shown
    assert "validation 0.9810" in shown
    assert "step 100 loss" not in shown


def test_a_bar_fits_in_80_columns(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with progress.watch(terminal) as listener:
        listener.evaluation(LOOK)
        listener.step(100, 200, 3665.0, 0.31, 0.92, 123_456.0)
    lines = re.split(r"[\r\n]", seen(terminal))
    assert max(map(len, lines)) <= 80
    assert any("1:01:05 left" in line for line in lines)


def test_lines_can_be_had_above_the_bar(terminal: Terminal) -> None:
    with progress.watch(terminal, lines=True) as listener:
        told(listener)
    assert "step 100 loss 0.3100 accuracy 0.9200" in seen(terminal)
    assert "step 100 validation accuracy 0.9810" in seen(terminal)


def test_a_bar_is_drawn_seldom(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1000.0)
    with progress.watch(terminal) as listener:
        before = len(terminal.getvalue())
        for done in range(1, 1000):
            listener.stage("reading pictures", done, 1000)
        assert len(terminal.getvalue()) - before < 1000


def test_a_terminal_that_cannot_draw_gets_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with progress.watch(terminal) as listener:
        assert isinstance(listener, progress.Lines)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "0:00"), (-3, "0:00"), (45, "0:45"), (723, "12:03")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert progress.clock(seconds) == shown


@pytest.mark.parametrize(
    ("look", "line"),
    [
        (LOOK, "step 100 validation accuracy 0.9810 loss 0.0700"),
        (
            Look(450, 900, 2.998, 2.5, "BLEU", 31.4159, 1.75),
            "step 450 epoch 3 train loss 2.5000 validation BLEU 31.42 loss 1.7500",
        ),
        (
            Look(1, 900, 0.001, 2.5, "BLEU", 0.02, 9.75),
            "step 1 validation BLEU 0.02 loss 9.7500",
        ),
    ],
)
def test_a_look_is_told_with_its_metric_and_the_epoch_that_it_ends(look: Look, line: str) -> None:
    stream = io.StringIO()
    progress.Lines(stream).evaluation(look)
    assert stream.getvalue() == line + "\n"
