"""The command line: words in, one call out; help at once; errors that say what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner

import shoestring
from shoestring import cli, cli_options, plugins
from shoestring.__main__ import main
from shoestring.core.budget import Budget
from shoestring.core.errors import (
    BundleError,
    DataError,
    Interrupted,
    MissingExtra,
    RunError,
    UserError,
)
from shoestring.core.listener import Look
from shoestring.core.receipt import Interval, Scores
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from tests.report.sheets import SHEET

HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "rich", "PIL", "matplotlib", "sentencepiece")
VERBS = (
    (),
    ("build",),
    ("train",),
    ("predict",),
    ("export",),
    ("verify",),
    ("evaluate",),
    ("ablate",),
    ("compare",),
    ("diagnose",),
    ("receipt",),
    ("plan",),
    ("launch",),
    ("techniques",),
    ("data",),
    ("data", "list"),
    ("data", "get"),
)
SCORES = Scores(0.9931, "accuracy", Interval(0.9931, 0.99, 0.995), split="validation", examples=500)


def said(
    monkeypatch: pytest.MonkeyPatch, verb: str, answer: Any
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The calls that a verb gets, in place of which `answer` is given (or raised)."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def call(*args: Any, **options: Any) -> Any:
        calls.append((args, options))
        if isinstance(answer, BaseException):
            raise answer
        return answer(*args, **options) if callable(answer) else answer

    monkeypatch.setitem(vars(shoestring), verb, call)
    return calls


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run on disk."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    recipe = Recipe("images", "photos", network={"kind": "compact"})
    run = Run(folder, "images", recipe, architecture={"kind": "compact"}, scores=SCORES)
    plain = {**store.to_plain(replace(run, path=Path(".")))}
    (folder / store.RUN).write_text(json.dumps(plain))
    return run


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: "-".join(verb) or "shoestring")
def test_help_is_the_golden_one(verb: Sequence[str], root: Path) -> None:
    result = CliRunner().invoke(
        cli.commands, [*verb, "--help"], prog_name="shoestring", terminal_width=80
    )
    golden = root / "tests" / "golden" / f"help-{'-'.join(verb) or 'shoestring'}.txt"
    if os.environ.get("GOLDEN") == "write":  # after a change that is meant: GOLDEN=write pytest
        golden.write_text(result.output, encoding="utf-8")
    assert result.exit_code == 0
    assert result.output == golden.read_text(encoding="utf-8")


def test_help_loads_nothing_heavy() -> None:
    script = f"""
import sys
from shoestring.__main__ import main
for verb in {VERBS!r}:
    assert main([*verb, "--help"]) == 0
sys.stderr.write(" ".join(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--budget" in done.stdout


def test_listing_techniques_and_refusing_words_load_no_model_library() -> None:
    script = f"""
import sys
from shoestring.__main__ import main
assert main(["techniques"]) == 0
assert main(["train", "mnist", "--with", "prun"]) == 2
heavy = {tuple(name for name in HEAVY if name != "rich")!r}
sys.exit(" ".join(name for name in heavy if name in sys.modules) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_every_verb_has_a_short_help_that_fits_a_line() -> None:
    for command in cli.commands.commands.values():
        assert not command.get_short_help_str(62).endswith("...")


# --- train ---------------------------------------------------------------------------------------


def test_train_hands_on_what_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    calls = said(monkeypatch, "train", run)
    monkeypatch.setattr(plugins, "task_for", lambda source, named: plugins.task("images"))
    words = "train photos --with augment:shift=0.1 --without average --budget 90s --seed 3"
    words += " --network compact:width=8 --per-class 5 --on-bad stop --out runs/a --log-every 7"
    before = time.monotonic()
    assert main(words.split()) == 0
    (source,), options = calls[0]
    assert source == "photos"
    (technique,) = options["techniques"]
    assert plugins.words(technique) == "augment:shift=0.1"
    assert options["without"] == ("average",)
    assert options["options"] == {"per_class": 5, "on_bad": "stop"}
    assert options["network"] == "compact:width=8"
    assert (options["seed"], options["out"], options["log_every"]) == (3, "runs/a", 7)
    assert options["resume"] is False
    assert options["learning_rate"] is None
    # The budget covers the command from its very start, interpreter included.
    assert isinstance(options["budget"], Budget)
    assert options["budget"].seconds == 90
    assert options["budget"].elapsed() > time.monotonic() - before
    assert "Receipt of" in capsys.readouterr().out


def test_every_argument_of_train_can_be_said() -> None:
    """Equal names in Python and on the command line, but for `with`, a word of the language."""
    import inspect

    there = {parameter.name for parameter in cli.train.params}
    wanted = set(inspect.signature(shoestring.train).parameters) - {"options", "listener"}
    assert wanted <= there


@pytest.mark.parametrize("budget", ["0", "-1", "0s", "soon", "inf", "nan"])
def test_a_budget_that_is_none_is_refused(
    budget: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = said(monkeypatch, "train", None)
    assert main(["train", "mnist", "--budget", budget]) == 2
    assert not calls
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: budget '{budget}'")
    assert "write it like 60s" in shown.err


@pytest.mark.parametrize("words", ["--steps 0", "--epochs -1"])
def test_a_length_that_is_none_is_refused(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "train", None)
    assert main(["train", "mnist", *words.split()]) == 2
    assert "must be above zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--with prun", "there is no technique 'prun'; there are: augment, "),
        ("--with augment:shfit=1", "augment has no option 'shfit'; it has: shift, "),
        ("--with augment:shift", "augment: 'shift' is not option=value"),
        ("--with augment:shift=far", "augment: shift is a number, not 'far'"),
        ("--pre-class 5", "'--pre-class'"),
        ("--per-class five", "'five' is not a valid integer"),
        ("--on-bad maybe", "'maybe' is not one of 'skip', 'stop'"),
    ],
)
def test_a_wrong_name_or_option_is_told_with_the_valid_ones(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "mnist", *words.split()]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_wrong_word_points_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist", "--bugdet", "5m"]) == 2
    assert "see: shoestring train --help" in capsys.readouterr().err
    assert main(["trian"]) == 2
    assert "trian" in capsys.readouterr().err


def test_resume_takes_the_run_as_its_source(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    calls = said(monkeypatch, "train", run)
    assert main(["train", "--resume", "runs/a"]) == 0
    assert calls[0][0] == ("runs/a",)
    assert calls[0][1]["resume"] is True
    assert calls[0][1]["budget"].seconds is None  # the run's own goes on
    assert main(["train", "--resume", "--out", "runs/a", "--budget", "5m"]) == 0
    assert calls[1][1]["budget"].seconds == 300


@pytest.mark.parametrize("words", ["--steps 5", "--seed 0", "--with augment", "--per-class 3"])
def test_resume_refuses_another_recipe(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = said(monkeypatch, "train", None)
    assert main(["train", "--resume", "runs/a", *words.split()]) == 2
    assert not calls
    assert f"{words.split(maxsplit=1)[0]} cannot be changed by --resume" in capsys.readouterr().err


def test_json_is_one_document_and_the_rest_goes_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    def train(source: str, **options: Any) -> Run:
        options["listener"].step(100, 200, 5.0, 0.31, 0.92, 1000.0)
        return run

    said(monkeypatch, "train", train)
    assert main(["train", "photos", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["scores"]["quality"] == 0.9931
    assert shown.err == "step 100 loss 0.3100 accuracy 0.9200\n"


def test_plain_lines_where_standard_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    def train(source: str, **options: Any) -> Run:
        assert options["log_every"] == 100
        options["listener"].step(100, 200, 5.0, 0.31, 0.92, 1000.0)
        options["listener"].evaluation(Look(200, 200, 0.4, 0.3, "accuracy", 0.981, 0.07))
        return run

    said(monkeypatch, "train", train)
    assert main(["train", "photos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 100 loss 0.3100 accuracy 0.9200"
    assert lines[1] == "step 200 validation accuracy 0.9810 loss 0.0700"


def test_quiet_shows_the_run_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    def train(source: str, **options: Any) -> Run:
        options["listener"].say("something")
        return run

    said(monkeypatch, "train", train)
    assert main(["train", "photos", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{run.path}\n"


# --- options of tasks ----------------------------------------------------------------------------


@dataclass(frozen=True)
class BeamOptions:
    beam: int = 5  # hypotheses kept; None: as many as fit
    top: int = 1  # how many labels an answer lists
    reject: str = "no"  # what is not answered
    source: str | None = None  # the language it is from
    greedy: bool = False


@pytest.fixture
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    images = plugins.task("images")
    translation = SimpleNamespace(
        name="translation", options=BeamOptions, answer_options=BeamOptions
    )
    monkeypatch.setattr(plugins, "task_names", lambda: ("images", "translation"))
    tasks = {"images": images, "translation": translation}
    monkeypatch.setattr(plugins, "task", tasks.__getitem__)
    cli_options.task_options.cache_clear()
    yield
    cli_options.task_options.cache_clear()


def test_an_option_of_another_task_is_refused_by_name(
    two_tasks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main("predict runs/a a.png --beam 3".split()) == 2
    told = capsys.readouterr().err
    assert told == "error: --beam belongs to translation; runs/a is images\n"
    monkeypatch.setattr(plugins, "task_for", lambda source, named: plugins.task("images"))
    assert main("train photos --greedy".split()) == 2
    assert "--greedy belongs to translation; photos is images" in capsys.readouterr().err


def test_an_option_that_tasks_share_is_taken(
    two_tasks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Opened()
    said(monkeypatch, "load", opened)
    assert main("predict runs/a a.png --top 3".split()) == 0
    assert opened.options == {"top": 3}


def test_the_help_names_the_task_of_an_option(
    two_tasks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Options of translation:" in shown
    assert "Options of images and translation:" in shown
    assert "Hypotheses kept.  [default: as many as fit]" in shown
    assert shown.count("--reject") == 2  # each task says what it means there
    assert "What is not answered.  [default: no]" in shown
    assert "--greedy\n" in shown  # a switch that is off needs no --no-greedy


def test_an_option_may_have_the_name_of_an_argument(
    two_tasks: None, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    calls = said(monkeypatch, "train", run)
    task = SimpleNamespace(name="translation")
    monkeypatch.setattr(plugins, "task_for", lambda source, named: task)
    assert main("train corpus --source en --greedy --reject 7".split()) == 0
    assert calls[0][0] == ("corpus",)
    assert calls[0][1]["options"] == {"source": "en", "greedy": True, "reject": "7"}


def test_resume_refuses_an_option_with_the_name_of_its_argument(
    two_tasks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "train", None)
    assert main("train --resume runs/a --source en".split()) == 2
    assert "--source cannot be changed by --resume" in capsys.readouterr().err


def test_no_task_option_hides_one_of_the_command() -> None:
    for command in (cli.train, cli.evaluate, cli.predict):
        assert isinstance(command, cli_options.TaskCommand)
        own = {name for p in command.params for name in (p.name, *p.opts)}
        assert cli_options.task_options(command.takes)
        for option, _ in cli_options.task_options(command.takes):
            assert own.isdisjoint({option.name, *option.opts})


# --- the other verbs -----------------------------------------------------------------------------


class Opened:
    """Stands in for a bundle of images."""

    manifest: ClassVar = {"task": "images"}

    def __init__(self) -> None:
        self.options: Any = None

    def answers(self, inputs: Any, options: Any) -> Iterator[dict[str, Any]]:
        self.options = options
        for name in inputs:
            if name.startswith("broken"):
                yield {"input": name, "error": "holds no picture"}
            else:
                top = [{"label": "cat", "probability": 0.875}, {"label": "dog", "probability": 0.1}]
                yield {"input": name, "label": "cat", "probability": 0.875, "rejected": False,
                       "top": top[: options.get("top", 1)]}  # fmt: skip


def test_predict_prints_a_line_an_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main(["predict", "b", "a.png", "new\nline.png", "--top", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "a.png\tcat\t0.8750\tdog\t0.1000"
    assert len(shown) == 2


def test_predict_json_is_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main(["predict", "b", "a.png", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["label"] == "cat"


def test_predict_json_is_whole_where_the_answers_end_in_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ends(Opened):
        def answers(self, inputs: Any, options: Any) -> Iterator[dict[str, Any]]:
            yield from super().answers(inputs, options)
            raise UserError("that was all")

    said(monkeypatch, "load", Ends())
    assert main(["predict", "b", "a.png", "--json"]) == UserError.exit_code
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 1
    assert shown.err == "error: that was all\n"


def test_predict_answers_what_it_can_and_says_what_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main(["predict", "b", "broken.png", "a.png"]) == DataError.exit_code
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "broken.png\terror\tholds no picture",
        "a.png\tcat\t0.8750",
    ]
    assert shown.err == (
        "error: 1 of 2 inputs could not be read; the other answers stand; the first: holds no "
        "picture\n"
    )


def test_predict_that_answers_nothing_speaks_of_no_other_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main(["predict", "b", "broken.png", "broken2.png"]) == DataError.exit_code
    told = "error: none of 2 inputs could be read; the first: holds no picture\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("encoding", "name"), [("utf-8", "é☃"), ("latin-1", "\\u00e9\\u2603")])
def test_json_keeps_letters_where_they_can_be_shown(encoding: str, name: str) -> None:
    script = """
import sys, shoestring
from shoestring.__main__ import main
shoestring.verify = lambda path: {"name": chr(0xe9) + chr(0x2603)}
sys.exit(main(["verify", "bundle", "--json"]))
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, env=environment
    )
    assert f'"name": "{name}"' in done.stdout.decode(encoding)


def test_predict_without_inputs_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "load", Opened())
    assert main(["predict", "b"]) == 2
    assert "there is nothing to answer; name pictures" in capsys.readouterr().err


def test_export_names_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = said(monkeypatch, "export", Path("bundle"))
    assert main(["export", "runs/a", "--out", "bundle"]) == 0
    assert calls == [(("runs/a", "bundle"), {})]
    assert capsys.readouterr().out == "bundle holds the bundle of runs/a\n"


def test_verify_tells_what_was_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "path": "bundle",
        "files": ["golden.npz", "model.onnx"],
        "size_bytes": 373112,
        "golden": {"inputs": 8, "tolerance": 1e-4, "max_difference": 3e-7},
    }
    said(monkeypatch, "verify", found)
    assert main(["verify", "bundle"]) == 0
    assert "bundle is as it was made: 2 files" in capsys.readouterr().out
    assert main(["verify", "bundle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_evaluate_prints_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = said(monkeypatch, "evaluate", SCORES)
    assert main(["evaluate", "bundle", "mnist:test"]) == 0
    assert calls[0][0] == ("bundle", "mnist:test", {})
    assert "99.31%" in capsys.readouterr().out
    assert main(["evaluate", "bundle", "mnist:test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "accuracy"


def test_evaluate_takes_the_options_of_its_task(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    calls = said(monkeypatch, "evaluate", SCORES)
    assert main(["evaluate", str(run.path), "photos", "--on-bad", "stop"]) == 0
    assert calls[0][0][2] == {"on_bad": "stop"}


def test_evaluate_says_where_training_examples_are_among_the_others(
    monkeypatch: pytest.MonkeyPatch, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said(
        monkeypatch, "evaluate", replace(SCORES, split="all", details={"findings": ["1 left out"]})
    )
    assert main(["evaluate", str(run.path), "photos"]) == 0
    shown = capsys.readouterr().out
    assert "- 1 left out" in shown
    assert "examples that it was trained on are among these" in shown
    assert main(["evaluate", str(run.path), "others"]) == 0
    assert "are among these" not in capsys.readouterr().out


def test_the_way_to_single_classes_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, "receipt", SHEET)
    assert main(["receipt", "runs/a"]) == 0
    assert capsys.readouterr().out.endswith("\nmore tables: shoestring receipt runs/a --details\n")
    assert main(["receipt", "runs/a", "runs/a"]) == 0
    assert capsys.readouterr().out.count("--details") == 1
    assert main(["receipt", "runs/a", "--details"]) == 0
    assert "--details" not in capsys.readouterr().out


def test_several_receipts_stand_side_by_side(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(run.path)
    other = str(shutil.copytree(run.path, tmp_path / "other"))
    assert main(["receipt", path, other]) == 0
    shown = capsys.readouterr().out
    assert "Receipt of" not in shown
    assert "* on the front" in shown
    assert main(["receipt", path, other, "--details"]) == 0
    assert capsys.readouterr().out.count("Receipt of") == 2
    assert main(["receipt", path, other, "--json"]) == 0
    assert [sheet["task"] for sheet in json.loads(capsys.readouterr().out)] == ["images"] * 2
    assert main(["receipt", path + "?"]) == RunError.exit_code


def test_of_several_those_that_are_no_run_are_left_out_and_said_to_be(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["receipt", str(run.path), f"{run.path}?"]) == 0
    assert "left out: " in capsys.readouterr().err
    assert main(["receipt", f"{run.path}?", f"{run.path}!"]) == RunError.exit_code


def test_techniques_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["techniques"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in plugins.technique_names())
    assert main(["techniques", "augment"]) == 0
    assert "default" in capsys.readouterr().out
    assert main(["techniques", "augment", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "augment"
    assert main(["techniques", "augmnet"]) == 2
    assert "there is no technique 'augmnet'" in capsys.readouterr().err


def test_data_sets_are_listed_and_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"name": "mnist", "task": "images", "description": "digits", "licence": "CC BY-SA 3.0",
             "size_bytes": 54_950_048, "source": "somebody", "here": None}  # fmt: skip
    said(monkeypatch, "data_list", [entry])
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert "55.0 MB" in shown
    assert "CC BY-SA 3.0" in shown
    assert main(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [entry]
    calls = said(monkeypatch, "data_get", Path("somewhere/mnist"))
    assert main(["data", "get", "mnist"]) == 0
    assert calls[0][0][0] == "mnist"
    assert capsys.readouterr().out == f"{Path('somewhere/mnist')}\n"


# --- the process ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no"), 2),
        (DataError("no"), 3),
        (BundleError("no"), 4),
        (RunError("no"), 5),
        (MissingExtra("torch", "train", "training"), 6),
        (Interrupted("no"), 130),
        (KeyboardInterrupt(), 130),
        (click.ClickException("no"), 1),
    ],
)
def test_errors_have_a_code_and_no_traceback(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said(monkeypatch, "verify", error)
    assert main(["verify", "bundle"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.strip().startswith("error: ")
    assert "Traceback" not in shown.err


def started(script: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, **options)


def test_a_bug_shows_where_it_arose_and_where_to_report_it() -> None:
    script = """
import sys, shoestring
from shoestring.__main__ import main
shoestring.verify = lambda path: 1 / 0
sys.exit(main(["verify", "bundle"]))
"""
    process = started(script)
    _, err = process.communicate()
    assert process.returncode == 1
    assert b"ZeroDivisionError" in err
    assert b"This is a bug in shoestring" in err


@pytest.mark.parametrize(
    "error", ['MemoryError("a")', 'RuntimeError("[enforce fail] can\'t allocate memory: 9 bytes")']
)
def test_too_little_memory_is_told_as_such(error: str) -> None:
    script = f"""
import sys, shoestring
from shoestring.__main__ import main
def full(path):
    raise {error}
shoestring.verify = full
sys.exit(main(["verify", "bundle"]))
"""
    process = started(script)
    _, err = process.communicate()
    assert process.returncode == RunError.exit_code
    assert err.startswith(b"error: the memory of this machine does not hold it")
    assert b"Traceback" not in err


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_ends_the_command_without_a_word(lines: int) -> None:
    script = f"""
import sys, shoestring
from types import SimpleNamespace
from shoestring.__main__ import main
answer = {{"input": "a", "label": "b", "probability": 1.0, "rejected": False,
          "top": [{{"label": "b", "probability": 1.0}}]}}
shoestring.load = lambda path: SimpleNamespace(
    manifest={{"task": "images"}}, answers=lambda inputs, options: [answer] * {lines})
sys.exit(main(["predict", "bundle", "a"]))
"""
    reading, writing = os.pipe()
    os.close(reading)
    process = started(script, stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert err == b""
    assert process.returncode == 141


# A bundle that answers each line of standard input with that line, as a task of text would.
ECHOING = """
import sys, shoestring
from types import SimpleNamespace
from shoestring import plugins
from shoestring.__main__ import main
task = SimpleNamespace(name="echo", parse_inputs=lambda words: sys.stdin,
                       render=lambda answer: answer["text"])
named = plugins.task
plugins.task = lambda name: task if name == "echo" else named(name)
shoestring.load = lambda path: SimpleNamespace(manifest={"task": "echo"},
    answers=lambda inputs, options: ({"text": line.rstrip()} for line in inputs))
"""


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_answers_come_one_by_one_and_an_interrupt_leaves_whole_lines(more: list[str]) -> None:
    process = started(
        ECHOING + f"sys.exit(main(['predict', 'bundle', *{more!r}]))",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    first, second = (
        (b'[{\n "text": "one"\n}\n', b',{\n "text": "two"\n}\n') if more else (b"one\n", b"two\n")
    )
    got = b"".join(process.stdout.readline() for _ in range((first + second).count(b"\n")))
    assert got == first + second  # though more input may come
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate()
    closed = b"]\n" if more else b""  # a whole document
    assert (rest, err.strip(), process.returncode) == (closed, b"error: stopped", 130)


def test_no_lines_have_no_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of an empty file through a pipe: output stays aligned with it."""
    opened = SimpleNamespace(manifest={"task": "images"}, answers=lambda inputs, options: iter(()))
    said(monkeypatch, "load", opened)
    assert main(["predict", "b", "a"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["predict", "b", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_many_answers_take_no_more_memory_than_one() -> None:
    script = (
        ECHOING
        + """
code = main(["predict", "bundle"])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.stderr.write(peak.split()[1])  # of this program alone; getrusage knows its parent's as well
sys.exit(code)
"""
    )
    peaks = []
    for lines in (1, 200_000):
        data = "".join(f"line {n}\n" for n in range(lines)).encode()
        done = subprocess.run(
            [sys.executable, "-c", script], input=data, capture_output=True, check=True
        )
        assert done.stdout == data
        peaks.append(int(done.stderr))
    assert (
        peaks[1] < peaks[0] + 4_000
    )  # kilobytes; the lines alone are 2,300, a list of them 30,000


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", b"caf\\udce9\n"), ("ascii", b"caf?\n")])
def test_names_that_are_no_text_are_shown(encoding: str, shown: bytes) -> None:
    script = """
import sys, shoestring
from shoestring.__main__ import main
shoestring.data_get = lambda name, progress: "caf\\udce9"
sys.exit(main(["data", "get", "mnist"]))
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")


@pytest.mark.parametrize("hidden", [True, False])
def test_an_interrupt_behind_an_error_of_a_library_is_a_stop(hidden: bool) -> None:
    """As where Ctrl-C meets an import, and SIGTERM, which takes the same way."""
    script = f"""
import os, shoestring, signal, sys
from shoestring.__main__ import main
def verify(path):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt as error:
        if {hidden}:
            raise ImportError("a part cannot be loaded") from error
        raise
shoestring.verify = verify
sys.exit(main(["verify", "bundle"]))
"""
    process = started(script)
    _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, b"error: stopped")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shoestring", "--version"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"shoestring {shoestring.__version__}\n"


def test_completion_scripts_can_be_had() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shoestring"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "_SHOESTRING_COMPLETE": "zsh_source"},
    )
    assert "#compdef shoestring" in done.stdout


def test_every_call_of_a_verb_has_a_home() -> None:
    """What the command line calls are public functions: Python can do the same."""
    verbs: dict[str, Callable[..., Any]] = {
        name: getattr(shoestring, name)
        for name in ("train", "predict", "export", "verify", "evaluate", "receipt", "data_list")
    }
    assert all(callable(verb) for verb in verbs.values())
