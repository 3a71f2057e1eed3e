"""A run of this task from its training to a pipe through it, as a person meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import shoestring
from shoestring.__main__ import main
from shoestring.core.errors import RunError
from shoestring.core.run import Run
from shoestring.engine import evidence, store
from shoestring.tasks.translation.task import ATTENTION, TASK
from tests import tiny

LINES = 20_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.of_task("translation").write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = tiny.recipe(source, steps=150, evaluate_every=50)
    return shoestring.train(recipe=recipe, out=tmp_path_factory.mktemp("runs") / "t")


def predicting(run: Run, *words: str) -> subprocess.Popen[bytes]:
    """`shoestring predict`, which tells the most memory that it took when it has ended."""
    script = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background work ignores it
from shoestring.__main__ import main
code = main(["predict", *sys.argv[1:]])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.stderr.write(peak.split()[1])
sys.exit(code)
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", script, str(run.path), *words], **pipes)


def test_a_run_keeps_its_vocabulary_and_a_picture(run: Run) -> None:
    kept = (run.path / "tokenizer.model").read_bytes()
    assert kept == (run.path / "bundle" / "tokenizer.model").read_bytes()
    with Image.open(run.path / ATTENTION) as picture:
        assert picture.format == "PNG"
    sheet = shoestring.receipt(run.path)
    assert sheet.pictures == (str(run.path / ATTENTION),)
    assert str(run.path / ATTENTION) in str(sheet)
    assert len(sheet.curve) == 3
    assert run.scores is not None
    assert run.scores.metric == "BLEU"
    assert run.scores.quality == pytest.approx(run.scores.interval.value)
    assert 0 <= run.scores.quality <= 100
    assert run.scores.details["token_accuracy"] > 0.3


def test_a_run_is_compared_with_itself_sentence_by_sentence(run: Run) -> None:
    outcomes = run.path / store.OUTCOMES
    interval, verdict, doubt = evidence.gain(outcomes, outcomes, TASK)
    assert (interval.low, interval.value, interval.high) == (0, 0, 0)
    assert (verdict, doubt) == ("within noise", "")


def test_lines_stay_beside_their_sources(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["two red dogs", "", "שלום 😀\x00", "   ", "one old tree"]
    data = "\n".join(texts).encode() + b"\nb\xffd\nx\n"
    process = predicting(run, "--beam", "2", "--nbest", "2", "--scores")
    out, err = process.communicate(data)
    lines = out.decode().split("\n")
    assert len(lines) == 8  # the last one ends with a line's end
    assert lines[1] == lines[3] == lines[5] == lines[7] == ""
    columns = lines[0].split("\t")
    assert len(columns) == 4
    assert float(columns[1]) >= float(columns[3])
    assert process.returncode == 3
    assert b"line 6 of standard input is not UTF-8" in err
    assert b"Traceback" not in err
    assert main(["predict", str(run.path), "two red dogs", "--beam", "2"]) == 0
    assert capsys.readouterr().out == columns[0] + "\n"


def test_attention_is_drawn(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    assert main(["predict", str(run.path), "two red dogs", "--attention", str(path)]) == 0
    with Image.open(path) as picture:
        assert picture.width > 100
    missing = str(tmp_path / "none" / "a.png")
    assert main(["predict", str(run.path), "two red dogs", "--attention", missing]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_many_lines_go_through_a_pipe_with_flat_memory(run: Run) -> None:
    words = list(tiny.of_task("translation").WORDS)
    rows = [f"{words[n % 15]} {words[n // 15 % 15]} {words[n // 225 % 15]}" for n in range(LINES)]
    peaks = []
    for count in (LINES // 4, LINES):
        process = predicting(run, "--beam", "1")
        out, err = process.communicate("\n".join(rows[:count]).encode())
        assert out.count(b"\n") == count
        assert process.returncode == 0
        peaks.append(int(err))
    assert peaks[1] < peaks[0] + 10_000  # kilobytes


def test_an_interrupt_in_the_middle_of_a_pipe_leaves_whole_lines(run: Run) -> None:
    process = predicting(run)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"two red dogs\n")
    process.stdin.flush()
    first = process.stdout.readline()  # though the pipe stays open
    assert first.endswith(b"\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (out, process.returncode) == (b"", 130)
    assert err.strip().startswith(b"error: stopped")


def test_nobody_listening_ends_it_without_a_word(run: Run) -> None:
    process = predicting(run)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(b"two red dogs\n" * 3000)
    assert process.returncode == 141
    assert b"error" not in err


def test_options_of_both_sides_are_said(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x"
    words = ["train", str(source), "--source", "en", "--target", "de", "--steps", "2", "--json"]
    words += ["--network", "lstm:embedding=16,encoder_units=8,decoder_units=16,attention=additive"]
    assert main([*words, "--threads", "1", "--out", str(out)]) == 0
    sheet = json.loads(capsys.readouterr().out)
    assert sheet["recipe"]["options"]["source"] == "en"
    assert sheet["recipe"]["network"]["attention"] == "additive"
    assert main(["train", str(source), "--per-class", "3"]) == 2
    assert "--per-class belongs to images; " in capsys.readouterr().err
    assert main(["train", str(source), "--network", "lstm:attention=much", "--steps", "1"]) == 2
    assert "multiplicative or additive" in capsys.readouterr().err


def test_a_vocabulary_that_changed_is_noticed_at_a_resume(source: Path, tmp_path: Path) -> None:
    run, dataset = tiny.prepared(tmp_path / "x", source)
    store.keep(run.path, dataset.files)
    store.write_started(run.with_recipe(fingerprint=dataset.fingerprint))
    (run.path / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(RunError, match=r"tokenizer\.model is not what the data give now"):
        shoestring.train(resume=True, out=run.path)
