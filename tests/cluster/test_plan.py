"""Plans: strategies in order, what cannot be with its reason, and words that make no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import shoestring
from shoestring import plugins
from shoestring.cluster.plan import Plan
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Scores
from shoestring.core.run import Recipe, Run
from shoestring.engine import store
from shoestring.report import planning, text


def translator(cluster: str = "2x8xH100", **changes: object) -> Plan:
    words: dict[str, object] = {"task": "translation", "parameters": "1.3B", "tokens": "20B"}
    return shoestring.plan(cluster=cluster, **{**words, **changes})  # type: ignore[arg-type]


def test_strategies_stand_fastest_first() -> None:
    found = translator()
    rates = [s.units_a_second for s in found.feasible]
    assert rates == sorted(rates, reverse=True)
    best = found.feasible[0]
    assert best.hours == pytest.approx(20e9 / best.units_a_second / 3600)
    assert best.dollars == pytest.approx(best.hours * 16 * 3.78)
    assert 0.05 < best.utilisation < 0.7
    assert {s.method.sharding for s in found.feasible} == {"none", "zero1", "zero2", "fsdp"}


def test_each_that_fits_does_and_each_that_does_not_says_what_it_needs() -> None:
    found = translator("8xA100", parameters="13B")
    for strategy in found.feasible:
        assert strategy.memory is not None
        assert strategy.memory.total <= found.cluster.device.memory_bytes
    short = [s for s in found.infeasible if s.memory is not None]
    assert short
    assert all(s.reason.startswith("needs ") and s.reason.endswith(" GB of 42") for s in short)
    assert all(s.times is None and s.hours is None for s in found.infeasible)


def test_everything_can_be_fixed() -> None:
    found = translator(mesh="data4xtensor4", sharding="fsdp", checkpointing="full", micro_batch=2)
    (only,) = found.feasible
    assert (only.mesh.data, only.mesh.tensor) == (4, 4)
    assert (only.method.sharding, only.method.checkpointing) == ("fsdp", "full")
    assert only.method.micro_batch == 2


def test_long_sequences_are_cut() -> None:
    found = translator("8xH100", batch=8, options={"sequence": 131_072})
    assert any(s.mesh.context > 1 for s in found.feasible)


def test_pictures_are_counted_in_examples() -> None:
    found = shoestring.plan(
        task="images", parameters="25.6M", examples="1M", cluster="8xA100", options={}
    )
    assert found.workload.unit == "examples"
    assert found.workload.macs == pytest.approx(4.1e9)
    assert all(s.mesh.tensor == s.mesh.context == 1 for s in found.feasible)
    larger = shoestring.plan(
        task="images", parameters="25.6M", cluster="8xA100", options={"image_size": 448}
    )
    assert larger.workload.macs == pytest.approx(4 * found.workload.macs)
    assert larger.workload.kept == pytest.approx(2 * found.workload.kept)
    assert larger.feasible[0].hours is None
    assert any("none of these trained such a network" in note for note in larger.notes)
    assert not any("none of these" in note for note in translator().notes)


@pytest.mark.parametrize("task", plugins.task_names())
def test_every_task_can_be_planned_by_its_size_alone(task: str) -> None:
    found = shoestring.plan(task=task, parameters="60M", examples="1M", cluster="H100")
    assert found.feasible
    assert found.workload.told
    assert json.loads(json.dumps(to_plain(found)))["task"] == task


# --- of a run ------------------------------------------------------------------------------------

TRANSFORMER = {
    "kind": "transformer",
    "units": 128,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "heads": 4,
    "feed_forward": 512,
    "tied": True,
    "dropout": 0.1,
    "pieces": 4000,
}
LSTM = {
    "kind": "lstm",
    "embedding": 256,
    "encoder_units": 128,
    "encoder_layers": 2,
    "decoder_units": 256,
    "decoder_layers": 2,
    "tied": True,
    "pieces": 4000,
}
ROWS = {
    "kind": "compact",
    "input": [1, 28, 28],
    "layers": [
        {"layer": "conv", "units": 16, "kernel": 5, "stride": 2, "padding": 0},
        {"layer": "norm", "momentum": 0.1},
        {"layer": "relu"},
        {"layer": "residual", "layers": [
            {"layer": "conv", "units": 16, "kernel": 3, "stride": 1, "padding": 1},
        ]},
        {"layer": "mean"},
        {"layer": "dense", "units": 10, "scale": 1.0},
    ],
}  # fmt: skip


def finished(folder: Path, task: str, architecture: dict[str, object] | None) -> Run:
    folder.mkdir(parents=True)
    run = Run(
        Path("."),
        task,
        Recipe(task, "data"),
        architecture=architecture,
        scores=Scores(parameters=2_000_000, macs=30_000_000),
    )
    (folder / store.RUN).write_text(json.dumps(to_plain(run)))
    return replace(run, path=folder)


@pytest.mark.parametrize(
    ("task", "architecture", "blocks"),
    [("translation", TRANSFORMER, 8), ("translation", LSTM, 4), ("images", ROWS, 6)],
)
def test_a_run_says_its_own_size(
    tmp_path: Path, task: str, architecture: dict[str, object], blocks: int
) -> None:
    run = finished(tmp_path / "a", task, architecture)
    found = shoestring.plan(run.path, cluster="2xT4", precision="float16", examples="1M")
    assert found.task == task
    assert found.workload.parameters == 2_000_000
    assert found.workload.blocks == blocks
    assert found.feasible
    assert "of the run" in found.workload.told or "the run's" in found.workload.told


def test_a_run_s_pictures_keep_what_its_layers_answer(tmp_path: Path) -> None:
    run = finished(tmp_path / "a", "images", ROWS)
    found = shoestring.plan(run.path, cluster="T4", precision="float16").workload
    assert found.kept * found.blocks == 16 * 12 * 12 * 4 + 10  # conv, norm, residual and its conv
    assert found.matrix_macs == 30_000_000


def test_runs_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no counted network"):
        shoestring.plan(finished(tmp_path / "a", "images", None).path, cluster="T4")
    whole = finished(tmp_path / "b", "translation", TRANSFORMER)
    with pytest.raises(UserError, match="own parameters"):
        shoestring.plan(whole.path, parameters="7B", cluster="T4")
    with pytest.raises(UserError, match="is a run of translation, not of images"):
        shoestring.plan(whole.path, task="images", cluster="T4")
    with pytest.raises(RunError):
        shoestring.plan(tmp_path / "nowhere", cluster="T4")
    members = {"kind": "ensemble", "members": [TRANSFORMER]}
    with pytest.raises(UserError, match="cannot be planned: name a member"):
        shoestring.plan(finished(tmp_path / "c", "translation", members).path, cluster="T4")


# --- words that make no sense --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": "7X"}, "--parameters is a positive number.*not '7X'"),
        ({"tokens": "0"}, "--tokens is a positive number.*not '0'"),
        (
            {"task": None, "parameters": None},
            r"say what is planned: a run's folder, or --task \(images, translation\)",
        ),
        ({"task": "music"}, "no task 'music'"),
        ({"parameters": None}, "say how large the model is"),
        ({"examples": "1M"}, "the same thing twice"),
        ({"batch": 0}, "--batch is a whole number from 1, not 0"),
        ({"micro_batch": -3}, "--micro-batch is a whole number from 1, not -3"),
        ({"precision": "float64"}, "no matrix rate for float64"),
        ({"mesh": "pipeline16", "parameters": "20M"}, "16 stages, more than the .* layers"),
        ({"mesh": "data2"}, "--mesh data2 is for 2 devices, and .* are 16"),
        ({"options": {"image_size": 3}}, "a plan of translation has no option 'image_size'"),
        ({"options": {"sequence": 0}}, "sequence is a whole number from 1"),
        ({"options": {"hidden": 100, "heads": 3}}, "3 heads do not divide"),
    ],
)
def test_a_plan_of_nonsense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        translator(**changes)


def test_pictures_have_no_tokens() -> None:
    with pytest.raises(UserError, match="counts in examples: say --examples"):
        shoestring.plan(task="images", parameters="25M", tokens="1B", cluster="T4")
    with pytest.raises(UserError, match="say how large the model is"):
        shoestring.plan(task="images", cluster="A100")
    with pytest.raises(UserError, match="image_size is a side of 1 to 16,384"):
        shoestring.plan(task="images", parameters="25M", cluster="A100", options={"image_size": 0})


# --- for a person --------------------------------------------------------------------------------


def shown(found: Plan, details: bool = False) -> str:
    return text.plain(planning.planned(found, details), 100)


def test_a_table_tells_memory_time_and_cost() -> None:
    page = shown(translator())
    for words in ("1.3B parameters, 20B tokens on 2 nodes of 8 NVIDIA H100", "data 16, FSDP",
                  "Memory of a device in the first", "optimizer's states", "Its step:",
                  "products with weights", "$3.78 a device and hour on 2026-05-07"):  # fmt: skip
        assert words in page
    assert len(shown(translator(), details=True)) > len(page)


def test_a_table_of_nothing_says_what_would_help() -> None:
    page = shown(translator("2xT4", parameters="70B", precision="float16"))
    assert "none: more devices, devices with more memory, or a smaller model would" in page
    assert "GB of 16" in page
    assert "no published training calibrates NVIDIA T4 16 GB" in page
    odd = shown(translator("3xA100", batch=2))
    assert "another batch or number of devices" in odd


def test_parameters_alone_are_a_transformer_s() -> None:
    assert shoestring.plan(parameters="7B", cluster="8xH200").task == "translation"


HANDBOOK = Path(__file__).parents[2] / "docs/handbook/cluster-plan.md"


def test_the_handbook_s_table_is_what_the_plan_says() -> None:
    page = [" ".join(line.split()) for line in shown(translator()).splitlines()]
    told = HANDBOOK.read_text(encoding="utf-8").partition("## Reading the table")[2]
    rows = told.split("```")[1].strip().splitlines()
    assert len(rows) == 5
    for row in rows:
        assert " ".join(row.split()) in page


@pytest.mark.parametrize(
    ("mesh", "sharding", "words"),
    [
        ("data8", "none", "distribute:workers=8"),
        ("data8", "fsdp", "distribute:workers=8,strategy=fsdp"),
        ("tensor8", "none", "distribute:workers=8,strategy=tensor"),
        ("pipeline8", "none", "distribute:workers=8,strategy=pipeline"),
        ("data4xtensor2", "none", "distribute:mesh=data4xtensor2"),
        ("data8", "zero1", ""),
        ("data4xtensor2", "fsdp", ""),
        ("data4xpipeline2", "none", ""),
        ("tensor2xpipeline4", "none", ""),
    ],
)
def test_a_strategy_says_by_which_technique_train_shares_so(
    mesh: str, sharding: str, words: str
) -> None:
    found = translator("8xH100", mesh=mesh, sharding=sharding, checkpointing="none")
    (strategy,) = (*found.feasible, *found.infeasible)
    assert strategy.distribute == words
    if words:
        plugins.technique(words)


def test_what_is_computed_again_is_not_for_train() -> None:
    found = translator("8xH100", mesh="data8", sharding="none", checkpointing="full")
    assert not found.feasible[0].distribute


def test_a_price_that_is_not_known_is_said() -> None:
    assert "no price of NVIDIA H200" in shown(translator("8xH200"))
    quick = shown(translator("8xH200", tokens="1M"))
    assert " s " in quick


def test_products_are_in_what_the_device_has() -> None:
    """Turing has no bfloat16, and nobody who plans for it should have to know that."""
    found = translator("1xT4", parameters="60M")
    assert found.feasible
    assert found.feasible[0].method.precision == "float16"
    assert "products in float16" in found.notes
    assert translator("1xH100", parameters="60M").feasible[0].method.precision == "bfloat16"
