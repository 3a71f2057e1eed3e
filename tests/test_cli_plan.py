"""The verb plan: words in, one call out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoestring.__main__ import main

WORDS = "plan --task translation --parameters 1.3B --tokens 20B --cluster 2x8xH100"


def test_a_plan_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS.split(), "--sequence", "2048", "--layers", "24", "--hidden", "2048"]) == 0
    out = capsys.readouterr().out
    assert "together 24 blocks of 2048 units" in out
    assert "2048 tokens a side" in out
    assert "Strategies that fit, fastest first: 10 of " in out


def test_json_is_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS.split(), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["cluster"]["device"]["name"] == "H100"
    assert plain["feasible"][0]["times"]["matrix"] > 0


def test_an_option_of_another_task_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS.split(), "--image-size", "224"]) == 2
    assert "--image-size belongs to images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("1.3B", "7X"), "not '7X'"),
        (("20B", "0"), "--tokens is a positive number"),
        (("2x8xH100", "8xH1000"), "did you mean H100"),
        (("--cluster 2x8xH100", ""), "Missing option '--cluster'"),
    ],
)
def test_nonsense_is_an_error_without_a_traceback(
    change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(WORDS.replace(*change).split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_verb_that_was_handed_over_keeps_its_own_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The process asks the verb what it takes, under the names that the verb has when called."""
    words = ["--file", str(tmp_path / "task.yaml"), "--dry-run"]
    assert main(["launch", *words, "diagnose", "mnist"]) == 0
    assert main(["diagnose", "--help"]) == 0
    assert "-h, --help" in capsys.readouterr().out
