"""The verbs ablate and compare: words in, one call out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import shoestring
from shoestring.__main__ import main
from shoestring.core.budget import process_age
from tests.report.test_evidence import FOUND


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ablate is called with, in place of which FOUND is given."""
    found: list[dict[str, Any]] = []

    def call(source: str | None, **options: Any) -> Any:
        found.append({"source": source, **options})
        return FOUND

    monkeypatch.setitem(vars(shoestring), "ablate", call)
    return found


def test_words_become_one_call(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = "ablate mnist --with augment --with early_stop --seeds 5 --budget 20m --factorial -q"
    assert main(words.split()) == 0
    (call,) = calls
    assert (call["source"], call["techniques"]) == ("mnist", ("augment", "early_stop"))
    assert (call["seeds"], call["factorial"]) == (5, True)
    assert call["budget"].seconds == 1200.0
    assert abs(call["budget"].elapsed() - process_age()) < 1  # the clock of the whole process
    assert "helps here" in capsys.readouterr().out


def test_options_of_the_task_are_handed_on(calls: list[dict[str, Any]]) -> None:
    assert main("ablate mnist --with augment --per-class 100 -q".split()) == 0
    assert calls[0]["options"] == {"per_class": 100}


def test_json_is_the_whole_of_it(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("ablate mnist --with augment --json -q".split()) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["lines"][0]["verdict"] == "better"
    assert plain["lines"][2]["reason"] == "the fit of average failed"


def test_a_resumed_one_takes_no_other_words(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("ablate --resume runs/a --seeds 5".split()) == 2
    assert "--seeds cannot be changed by --resume" in capsys.readouterr().err
    assert main("ablate --resume runs/a --details --budget 5m -q".split()) == 0
    assert calls[0]["resume"]


def test_compare_refuses_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 5
    assert "is not a run" in capsys.readouterr().err
