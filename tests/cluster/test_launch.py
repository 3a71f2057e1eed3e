"""Tasks for SkyPilot: what is written, what is refused, and how it is handed over."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import shoestring
from shoestring.__main__ import main
from shoestring.cluster import skypilot
from shoestring.cluster.launch import Launch
from shoestring.cluster.skypilot import SkyTask
from shoestring.core.errors import MissingTool, UserError

# The fields of SkyPilot 0.14's task schema that we use, each with its type.
SCHEMA = {
    "name": str,
    "num_nodes": int,
    "resources": dict,
    "file_mounts": dict,
    "setup": str,
    "run": str,
}
RESOURCES = {"infra": str, "accelerators": str, "cpus": str, "disk_size": int, "use_spot": bool}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, and no SkyPilot."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "my data").mkdir()
    (tmp_path / "other" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def written(words: str, **options: Any) -> dict[str, Any]:
    found = shoestring.launch(shlex.split(words), dry_run=True, **options)
    assert found.path.read_text() == found.text
    return check(found)


def check(found: Launch) -> dict[str, Any]:
    task: dict[str, Any] = yaml.safe_load(found.text)
    assert set(task) == set(SCHEMA)
    assert all(isinstance(task[name], kind) for name, kind in SCHEMA.items())
    for name, value in task["resources"].items():
        assert isinstance(value, RESOURCES[name])
    for target, source in task["file_mounts"].items():
        assert target.startswith("~/shoestring/")
        assert isinstance(source, dict) or Path(source).exists()
    for script in (task["setup"], task["run"]):
        subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=True)
    return task


def command(task: dict[str, Any]) -> list[str]:
    last = task["run"].rstrip().splitlines()[-1]
    return shlex.split(last)[2:]  # without exec and the program


def test_the_very_command_runs_where_its_data_lie(place: Path) -> None:
    task = written("train photos --budget 10m", accelerators="H100:1")
    assert command(task) == ["train", "inputs/photos", "--budget", "10m"]
    assert task["file_mounts"] == {"~/shoestring/inputs/photos": str(place / "photos")}
    assert task["resources"] == {"accelerators": "H100:1"}
    assert task["name"] == "shoestring-train-photos"
    assert f"shoestring[train]=={shoestring.__version__}" in task["setup"]


def test_names_are_quoted_and_told_apart(place: Path) -> None:
    task = written("compare photos other/photos --on 'my data'")
    assert command(task) == ["compare", "inputs/photos", "inputs/2/photos", "--on",
                             "inputs/my data"]  # fmt: skip
    assert task["file_mounts"]["~/shoestring/inputs/2/photos"] == str(place / "other" / "photos")


def test_paths_inside_of_options_are_copied_too() -> None:
    task = written("train mnist --with transfer:start=nothing --with distill:teacher=other/photos")
    assert command(task)[-1] == "distill:teacher=inputs/photos"
    assert command(task)[1] == "mnist"  # a data set that is fetched there


def test_outputs_stay_where_they_are_said_to_go() -> None:
    task = written("train photos --out runs/new/a --html=pages/x.html")
    assert command(task)[2:] == ["--out", "runs/new/a", "--html=pages/x.html"]


def test_a_spot_machine_goes_on_where_the_last_one_stopped() -> None:
    found = shoestring.launch(
        ["train", "photos"], spot=True, resumable=True, bucket="s3://mine/runs/", dry_run=True
    )
    task = check(found)
    assert task["resources"] == {"use_spot": True}
    assert task["file_mounts"]["~/shoestring/runs"] == {"source": "s3://mine/runs", "mode": "MOUNT"}
    assert command(task) == ["train", "inputs/photos", "--out", "runs/shoestring-train-photos"]
    assert "train --resume --out runs/shoestring-train-photos" in task["run"]
    assert found.command[:3] == ("sky", "jobs", "launch")
    assert not any("takes its runs with it" in note for note in found.notes)


def test_what_a_spot_machine_loses_is_said() -> None:
    found = shoestring.launch(["train", "photos"], spot=True, dry_run=True)
    assert any("takes its runs with it" in note for note in found.notes)
    kept = shoestring.launch(["evaluate", "photos"], spot=True, bucket="s3://a/b", dry_run=True)
    assert any("begins anew" in note for note in kept.notes)


def test_an_output_outside_of_the_bucket_is_said() -> None:
    words = ["train", "photos", "--out", "elsewhere/a"]
    found = shoestring.launch(words, bucket="s3://mine/runs", dry_run=True)
    assert "elsewhere/a does not lie in the bucket: only runs/ does" in found.notes


def test_the_resuming_script_does_what_it_says(place: Path) -> None:
    """With a program in place of shoestring that writes down its words."""
    home = place / "home"
    program = home / "shoestring-environment" / "bin" / "shoestring"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@" >> "$HOME/said"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    run = home / "shoestring" / "runs" / "shoestring-train-photos"
    run.mkdir(parents=True)
    task = written("train photos", spot=True, resumable=True)

    def go() -> None:
        subprocess.run(["/bin/sh", "-c", task["run"]], env={"HOME": str(home)}, check=True)

    go()
    (run / "started.json").touch()
    go()
    (run / "run.json").touch()
    go()
    assert (home / "said").read_text().splitlines() == [
        "train inputs/photos --out runs/shoestring-train-photos",
        "train --resume --out runs/shoestring-train-photos",
    ]


def test_a_wheel_is_copied_and_installed(place: Path) -> None:
    (place / "shoestring-1-py3-none-any.whl").touch()
    task = written("train photos", install="shoestring-1-py3-none-any.whl")
    assert 'pip install "$HOME/shoestring"/inputs/shoestring-1-py3-none-any.whl' in task["setup"]
    named = written("train photos", install="shoestring[train] @ git+https://x/y;z")
    assert "'shoestring[train] @ git+https://x/y;z'" in named["setup"]


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20))
def test_no_word_gets_out_of_its_quotes(word: str) -> None:
    task = SkyTask("a", "true", "exec x " + shlex.join(["train", word]))
    found = yaml.safe_load(skypilot.yaml(task))
    assert shlex.split(found["run"]) == ["exec", "x", "train", word]


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ("train potos", {}, "no file or folder 'potos' here, and no data set"),
        ("train photos --recipe old/recipe.toml", {}, "no file or folder 'old/recipe.toml'"),
        ("train photos --with transfer:start=runs/a", {}, "no file or folder 'runs/a'"),
        ("launch train photos", {}, "launch is done here"),
        ("plan photos", {}, "plan is done here"),
        ("data list", {}, "data is done here"),
        ("", {}, "say what is launched"),
        ("--budget 10m", {}, "say what is launched"),
        ("train photos", {"accelerators": "8 GPUs"}, "--accelerators is NAME:COUNT"),
        ("train photos", {"cpus": "many"}, "--cpus is a count"),
        ("train photos", {"infra": "my cloud"}, "--infra is aws"),
        ("train photos", {"name": "My Task"}, "--name is lower-case"),
        ("train photos", {"disk_gb": 0}, "--disk is a size in GB from 1"),
        ("train photos", {"bucket": "mine"}, "--bucket is such as s3"),
        ("train / --budget 1m", {}, "would copy all of /"),
        ("train dangling", {}, "is a link to nothing"),
        ("train 'photos\nrm' ", {}, "cannot be printed"),
        ("train mnist --with transfer:start=hf_abcdefghijklmnopqrst", {}, "looks like a secret"),
        ("train mnist --with x:token=abc", {}, "looks like a secret"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(
    place: Path, words: str, options: dict[str, Any], said: str
) -> None:
    (place / "dangling").symlink_to(place / "nothing")
    with pytest.raises(UserError, match=said):
        written(words, **options)
    assert not list(place.glob("*.yaml"))


def test_a_home_is_not_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place / "photos"))
    with pytest.raises(UserError, match="would copy all of"):
        written("train photos")


def test_another_s_file_is_not_replaced(place: Path) -> None:
    (place / "mine.yaml").write_text("name: mine\n")
    with pytest.raises(UserError, match="was not written by launch"):
        written("train photos", file="mine.yaml")
    written("train photos", file="ours.yaml")
    written("train photos --epochs 2", file="ours.yaml")
    assert "--epochs 2" in (place / "ours.yaml").read_text()


def test_without_skypilot_it_says_what_to_install() -> None:
    with pytest.raises(MissingTool, match=r"needs the program 'sky'.*uv tool install") as caught:
        shoestring.launch(["train", "photos"])
    assert caught.value.exit_code == 6


# --- with a program of that name -----------------------------------------------------------------


def fake_sky(place: Path, loads: bool = True) -> None:
    """A `sky` whose Python knows a package of that name, and that writes its words down."""
    binaries, library = place / "bin", place / "library"
    binaries.mkdir()
    (library / "sky").mkdir(parents=True)
    body = "print(open(path).read())" if loads else "raise ValueError('no such field')"
    (library / "sky" / "__init__.py").write_text(
        f"class Task:\n    @staticmethod\n    def from_yaml(path):\n        {body}\n"
    )
    python = binaries / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={library} exec {sys.executable} "$@"\n')
    program = binaries / "sky"
    program.write_text(
        f"#!{python}\nimport os, sys\n"
        f"open({str(place / 'said')!r}, 'w').write(' '.join(sys.argv[1:]) + ' '\n"
        "    + os.environ['SKYPILOT_DISABLE_USAGE_COLLECTION'])\nsys.exit(3)\n"
    )
    for file in (python, program):
        file.chmod(0o755)


def test_a_task_is_loaded_and_handed_over(place: Path) -> None:
    fake_sky(place)
    found = shoestring.launch(["train", "photos"])
    assert found.loaded
    assert found.exit_code == 3
    said = (place / "said").read_text()
    assert said == "launch --cluster shoestring-train-photos --down " + str(found.path) + " 1"


def test_a_dry_run_is_loaded_and_not_handed_over(place: Path) -> None:
    fake_sky(place)
    found = shoestring.launch(["train", "photos"], dry_run=True)
    assert found.loaded
    assert found.exit_code is None
    assert not (place / "said").exists()


def test_what_skypilot_refuses_is_an_error(place: Path) -> None:
    fake_sky(place, loads=False)
    with pytest.raises(UserError, match=r"SkyPilot refuses .*ValueError: no such field"):
        shoestring.launch(["train", "photos"], dry_run=True)


@pytest.mark.slow
def test_skypilot_s_own_loader_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment of its own, which the test makes: 300 MB, minutes."""
    (tmp_path / "photos").mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", os.defpath)
    home = tmp_path / "sky"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "skypilot"], check=True)
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.defpath}")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = shoestring.launch(
        ["train", "photos", "--budget", "10m"],
        accelerators="H100:1",
        cpus="4+",
        spot=True,
        resumable=True,
        disk_gb=100,
        dry_run=True,
    )
    assert found.loaded
    wrong = found.path.with_name("wrong.yaml")
    wrong.write_text(found.text.replace("num_nodes: 1", "num_nodes: one"))
    with pytest.raises(UserError, match="SkyPilot refuses"):
        skypilot.load(wrong, str(home / "bin" / "sky"))


# --- the verb ------------------------------------------------------------------------------------


def test_words_of_the_verb_and_of_launch_are_told_apart(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "launch train photos --budget 10m --accelerators H100:1 --spot --dry-run --seed 3"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    task = yaml.safe_load(out.partition("\n# written")[0])
    assert command(task)[:6] == ["train", "inputs/photos", "--budget", "10m", "--seed", "3"]
    assert "train --resume" in task["run"]  # the verb has that option
    assert "not tried on a cloud" in out


def test_json_is_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("launch train photos --dry-run --json".split()) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["command"][:2] == ["sky", "launch"]
    assert plain["exit_code"] is None


def test_a_wrong_verb_or_option_ends_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("launch trian photos --dry-run".split()) == 2
    assert "there is no verb 'trian'" in capsys.readouterr().err
    assert main("launch train photos --bugdet 10m --dry-run".split()) == 2
    assert "--bugdet" in capsys.readouterr().err


def test_the_exit_code_is_skypilot_s(place: Path) -> None:
    fake_sky(place)
    assert main("launch train photos".split()) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--with nosuch", "there is no technique 'nosuch'"),
        ("--with distribute:workers=-2", "workers is written like 2"),
        ("--budget -5m", "budget '-5m' is not a duration"),
    ],
)
def test_what_the_verb_would_refuse_is_said_before_a_machine_is_rented(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "train", "photos", *words.split(), "--dry-run"]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not list(Path.cwd().glob("*.yaml"))
