"""cli_build: what the command line hands on to `build`, and how it ends."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoestring
from shoestring import cli, plugins
from shoestring.__main__ import main
from shoestring.core.decisions import BuildPlan, Decision, Step
from shoestring.core.errors import LimitsMissed
from shoestring.core.limits import Limits
from shoestring.core.receipt import Receipt, Scores
from shoestring.core.run import Recipe, Run
from shoestring.engine import store

PLAN = BuildPlan(
    task="images",
    source="photos",
    seconds=60.0,
    limits=Limits(size_bytes=50_000),
    steps=(Step("main fit", "fit", 40.0, 0.66, "one good long fit", gain="0.9"),),
    decisions=(Decision("network", "compact:width=20", "the largest that keeps to the limits"),),
    spent_seconds=4.0,
    reserved_seconds=5.0,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    recipe = Recipe("images", "photos", network={"kind": "compact"}, budget_seconds=60.0)
    total = {"asked_seconds": 60.0, "used_seconds": 50.0, "limits": {"size_bytes": 50_000}}
    run = Run(
        tmp_path / "a",
        "images",
        recipe,
        architecture={"kind": "compact"},
        scores=Scores(quality=0.9, metric="accuracy", size_bytes=40_000),
        receipts=(Receipt("total", total),),
        decisions=(Decision("ship", "main fit", "the only one", "", "0.9", 50.0),),
    )
    run.path.mkdir()
    return store.write_finished(run)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """What `build` is called with; it gives what is handed in, or raises it."""

    def answering(answer: Any) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []

        def call(source: Any, **options: Any) -> Any:
            made.append({"source": source, **options})
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setitem(vars(shoestring), "build", call)
        monkeypatch.setattr(plugins, "task_for", lambda source, named: plugins.task("images"))
        return made

    return answering


def test_it_hands_on_what_was_said(calls: Any, run: Run, capsys: Any) -> None:
    made = calls(run)
    words = (
        "build photos --budget 60s --max-size 50KB --max-latency 2ms --min-accuracy 0.9 --seed 3"
    )
    words += " --per-class 5 --with augment:shift=0.1 --without ensemble --out b --threads 1"
    assert main(words.split()) == 0
    (said,) = made
    assert said["source"] == "photos" and said["budget"].seconds == 60
    assert (said["max_size"], said["max_latency"], said["min_quality"]) == ("50KB", "2ms", "0.9")
    assert said["options"] == {"per_class": 5} and said["without"] == ("ensemble",)
    assert (said["seed"], said["threads"], said["out"]) == (3, 1, "b")
    shown = capsys.readouterr().out
    assert "Receipt of" in shown and "Decisions" in shown and "ship: main fit" in shown


def test_every_argument_of_build_can_be_said() -> None:
    there = {parameter.name for parameter in cli.build.params}
    wanted = set(inspect.signature(shoestring.build).parameters) - {"options", "listener"}
    assert wanted <= there


def test_a_plan_is_shown_and_nothing_else(calls: Any, capsys: Any) -> None:
    calls(PLAN)
    assert main("build photos --budget 60s --dry-run".split()) == 0
    shown = capsys.readouterr().out
    assert "Plan for photos" in shown and "main fit" in shown and "50,000 bytes" in shown
    assert main("build photos --budget 60s --dry-run --json".split()) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["steps"][0]["name"] == "main fit" and plain["limits"]["size_bytes"] == 50_000


def test_a_missed_limit_shows_the_receipt_and_has_a_code_of_its_own(
    calls: Any, run: Run, capsys: Any
) -> None:
    calls(LimitsMissed("not reachable within this budget: ...", run.path))
    assert main("build photos --budget 60s --max-size 50KB".split()) == 7
    shown = capsys.readouterr()
    assert "Receipt of" in shown.out and "not reachable" in shown.err


def test_two_names_of_one_limit(calls: Any, run: Run, capsys: Any) -> None:
    calls(run)
    words = "build photos --budget 60s --min-accuracy 0.9 --min-quality 0.8"
    assert main(words.split()) == 2
    assert "say the same" in capsys.readouterr().err


def test_accuracy_is_of_tasks_that_have_it(
    calls: Any, run: Run, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls(run)
    monkeypatch.setattr(plugins, "task_for", lambda source, named: plugins.task("translation"))
    assert main("build corpus --budget 60s --min-accuracy 0.9".split()) == 2
    assert "not by accuracy" in capsys.readouterr().err


def test_resume_changes_nothing_else(calls: Any, run: Run, capsys: Any) -> None:
    made = calls(run)
    assert main("build --resume --out a --max-size 5KB".split()) == 2
    assert "cannot be changed by --resume" in capsys.readouterr().err
    assert main("build --resume --out a --budget 90s --quiet".split()) == 0
    assert made[0]["resume"] and capsys.readouterr().out.strip() == str(run.path)
