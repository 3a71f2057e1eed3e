"""distribute: what it refuses before anything runs, and fits by real processes end to end."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import shoestring
from shoestring import plugins
from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Look
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.engine.spread import parallel_fit
from shoestring.engine.spread.parallel_job import FOLDER
from tests import tiny

SHORT = {
    "network": "compact:width=4",
    "batch_size": 16,
    "precision": "float32",
    "device": "cpu",
    "threads": 1,
}
TWO = "distribute:workers=2,oversubscribe=yes"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


class Acts(tiny.Quiet):
    """A listener that does something at a look."""

    def __init__(self, folder: Path, act: str) -> None:
        self.folder, self.act = folder, act

    def evaluation(self, look: Look) -> None:
        if self.act == "kill":
            os.kill(worker_of(self.folder, 1), signal.SIGKILL)
        elif self.act == "ask":
            signal.raise_signal(signal.SIGINT)
        self.act = ""


def worker_of(folder: Path, rank: int) -> int:
    return workers_of(folder)[rank]


def workers_of(folder: Path) -> dict[int, int]:
    """Process ids of the workers on a run, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str((folder / FOLDER).resolve()) in words:
            found[int(words[-2])] = int(path.parent.name)
    return found


# --- words ---


@pytest.mark.parametrize(
    ("words", "layout"),
    [
        ("", Layout(data=2)),
        ("workers=3", Layout(data=3)),
        ("workers=4,strategy=fsdp", Layout(fsdp=4)),
        ("strategy=pipeline,microbatches=3", Layout(pipeline=2)),
        ("mesh=data2xtensor2", Layout(data=2, tensor=2)),
        ("mesh=data2xfsdp2,workers=4", Layout(data=2, fsdp=2)),
    ],
)
def test_words_say_how_the_work_is_divided(words: str, layout: Layout) -> None:
    technique = plugins.technique(f"distribute:{words}")
    assert technique.layout == layout  # type: ignore[attr-defined]  # of this technique


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("workers=none2", "workers is a number from 1"),
        ("workers=0", "workers is a number from 1"),
        ("workers=8-2", "workers is written like 2, or 2-8"),
        ("workers=3,mesh=data2xtensor2", "is of 4 workers"),
        ("strategy=fsdp,mesh=data2", "leave strategy out"),
        ("strategy=rows", "strategy is one of data, fsdp, tensor, pipeline"),
        ("rate=linear", "rate is of batch=each"),
        ("microbatches=2", "microbatches are of strategy=pipeline"),
        ("accumulate=0", "accumulate is a number from 1"),
    ],
)
def test_wrong_words_are_refused(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plugins.technique(f"distribute:{words}")


def test_workers_that_come_and_go_need_a_cluster(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes a cluster; say --cluster auto"):
        shoestring.train(source, steps=1, techniques=["distribute:workers=2-8"], out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


# --- what is decided before a process starts ---


def test_more_processes_than_cores_are_refused_with_what_is_free() -> None:
    recipe = Recipe("images", "photos", device="cpu")
    with pytest.raises(UserError, match=r"9999 processes were asked for .* cores free"):
        parallel_fit.enough(recipe, Layout(data=9999), oversubscribe=False)
    parallel_fit.enough(recipe, Layout(data=9999), oversubscribe=True)


def test_batch_and_rate_of_all_are_written_down() -> None:
    recipe = Recipe("images", "photos", batch_size=64, learning_rate=0.01)
    scaled = parallel_fit.scaled(recipe, Layout(data=4), "global", "same")
    assert scaled == recipe
    scaled = parallel_fit.scaled(recipe, Layout(data=4), "each", "linear")
    assert (scaled.batch_size, scaled.learning_rate) == (256, 0.04)
    scaled = parallel_fit.scaled(recipe, Layout(data=2, tensor=2), "each", "root")
    assert (scaled.batch_size, scaled.learning_rate) == (128, pytest.approx(0.01 * 2**0.5))
    with pytest.raises(UserError, match="a batch of 2 cannot be divided among 4"):
        parallel_fit.scaled(replace(recipe, batch_size=2), Layout(data=4), "global", "same")


def test_the_batch_of_all_is_not_multiplied_again(tmp_path: Path) -> None:
    technique = plugins.technique("distribute:batch=each,rate=linear,oversubscribe=yes")
    recipe = Recipe("images", "photos", batch_size=8, learning_rate=0.01, threads=1)
    settled = technique.settled(Run(tmp_path, "images", recipe))  # type: ignore[attr-defined]
    assert (settled.recipe.batch_size, settled.recipe.hooks) == (
        16,
        ("distribute:oversubscribe=True",),
    )


@pytest.mark.parametrize(
    ("network", "layout", "said"),
    [
        ("classic", Layout(pipeline=9), "has 4 layers with weights, too few for 9 stages"),
        ("efficientnet_lite0:side=32", Layout(pipeline=2), "no plain row"),
    ],
)
def test_a_network_that_cannot_be_divided_is_refused(
    network: str, layout: Layout, said: str, source: Path, tmp_path: Path
) -> None:
    options = plugins.network(network, plugins.task("images"))
    run, _ = tiny.prepared(tmp_path / "a", source, network=options)
    with pytest.raises(UserError, match=said):
        parallel_fit.possible(run, layout)


def test_a_technique_that_freezes_weights_is_refused_where_they_are_cut(tmp_path: Path) -> None:
    hooks = ("transfer:freeze=all",)
    run = Run(tmp_path, "images", Recipe("images", "photos", hooks=hooks))
    with pytest.raises(UserError, match="transfer:freeze=all freezes weights"):
        parallel_fit.possible(run, Layout(fsdp=2))
    parallel_fit.possible(run, Layout(data=2))


# --- fits ---


def test_two_processes_make_a_run_like_any_other(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    run = shoestring.train(source, out=out, steps=12, techniques=[TWO], **SHORT)  # type: ignore[arg-type]
    line = next(r for r in run.receipts if r.technique == parallel_fit.LINE)
    assert line.options["mesh"] == "data2"
    assert line.options["global_batch"] == 16
    assert line.options["sent_bytes"] > 0
    assert line.reason.startswith("2 processes, data2: ")
    fit = next(r for r in run.receipts if r.technique == "fit")
    assert (fit.cost.steps, fit.cost.examples) == (12, 12 * 16)
    assert store.read(out) == run
    assert not (out / FOLDER).exists()
    assert workers_of(out) == {}
    bundle = shoestring.load(out)
    assert bundle.manifest["task"] == "images"


def test_a_killed_worker_ends_the_fit_which_goes_on_by_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOESTRING_CHECKPOINT_SECONDS", "0")
    out = tmp_path / "a"
    with pytest.raises(RunError, match=r"worker 2 of 2 was killed by signal 9; .*--resume"):
        shoestring.train(  # type: ignore[arg-type]
            source, out=out, steps=60, techniques=[TWO], listener=Acts(out, "kill"), **SHORT
        )
    assert workers_of(out) == {}
    assert not (out / FOLDER).exists()
    run = shoestring.train(out=out, resume=True, techniques=["distribute:workers=1"])
    assert run.recipe.total_steps == 60
    assert run.curve[-1]["step"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "tensor", "pipeline"])
def test_a_fit_that_was_stopped_goes_on_by_others(
    strategy: str, source: Path, tmp_path: Path
) -> None:
    """Weights that were cut between two processes, taken up by one, and by two that cut nothing."""
    out, words = tmp_path / "a", f"{TWO},strategy={strategy}"
    with pytest.raises(Interrupted, match="--resume"):
        shoestring.train(  # type: ignore[arg-type]
            source, out=out, steps=40, techniques=[words], listener=Acts(out, "ask"), **SHORT
        )
    assert workers_of(out) == {}
    run = shoestring.train(out=out, resume=True, techniques=[TWO])
    assert run.curve[-1]["step"] == 40
    assert {path.name for path in out.glob("checkpoint*")} == set()
