from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.bundle.grade import read_outcomes
from shoestring.core.errors import UserError
from shoestring.core.receipt import Receipt
from shoestring.core.run import Run
from shoestring.engine import store, tensorfile
from shoestring.engine.fuse import soup
from shoestring.report.sheet import receipt
from shoestring.techniques.ensemble import Ensemble
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ensemble")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Run]:
    """Two of a seed each, a wider one, and one that knows next to nothing."""
    source = tiny.write_npz(folder / "bars.npz", count=600)
    changes: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1},
        {"seed": 2, "network": {"kind": "compact", "width": 6}},
        {"seed": 3, "steps": 1},
    ]
    usual = {"steps": 14, "evaluate_every": 7, "options": {"validation_share": 0.3}}
    return [
        train(recipe=tiny.recipe(source, **{**usual, **one}), out=folder / f"run-{i}")
        for i, one in enumerate(changes)
    ]


def paths(runs: list[Run], *numbers: int) -> list[Path]:
    return [runs[i].path for i in numbers]


def line(run: Run, name: str) -> Receipt:
    (found,) = [line for line in run.receipts if line.technique.partition(":")[0] == name]
    return found


def answers(run: Run) -> NDArray[np.float32]:
    outcomes = read_outcomes(run.path / store.OUTCOMES)
    return np.asarray(outcomes["probabilities"][np.argsort(outcomes["hashes"])])


@pytest.fixture(scope="module")
def joined(folder: Path, runs: list[Run]) -> Run:
    return finish.apply("ensemble", *paths(runs, 0, 1, 2, 3), out=folder / "joined")


def test_runs_answer_together_by_the_mean_of_their_probabilities(
    runs: list[Run], joined: Run
) -> None:
    expected = np.mean([answers(run) for run in runs], axis=0)
    np.testing.assert_allclose(answers(joined), expected, atol=1e-5)
    assert joined.architecture is not None
    assert [m["width"] for m in joined.architecture["members"]] == [4, 4, 6, 4]
    assert joined.parents == tuple(str(run.path) for run in runs)
    named = "+".join(str(run.path) for run in runs[1:])
    assert joined.recipe.then == (f"ensemble:runs={named}",)


def test_its_gain_is_over_the_best_of_the_runs(runs: list[Run], tmp_path: Path) -> None:
    worst, best = runs[3], runs[0]
    assert worst.scores is not None
    assert best.scores is not None
    assert worst.scores.quality < best.scores.quality
    made = finish.apply("ensemble", *paths([worst, best], 0, 1), out=tmp_path / "e")
    found = line(made, "ensemble")
    assert found.before == best.scores
    assert f"the gain is over {best.path}, the best of the runs" in found.reason


def test_the_receipt_says_what_each_member_adds(runs: list[Run], joined: Run) -> None:
    said = line(joined, "members")
    assert 0 < said.options["disagreement"] < 1
    members = said.options["members"]
    assert [member["name"] for member in members] == [str(run.path) for run in runs]
    assert members[3]["right_alone"] < members[0]["right_alone"]
    assert str(runs[3].path) in said.reason
    assert line(joined, "ensemble").gain is not None
    assert "two members differ on" in str(receipt(joined.path).lines)


def test_weights_are_found_on_examples_that_nothing_is_reported_on(
    runs: list[Run], tmp_path: Path
) -> None:
    run = finish.apply("ensemble:vote=weighted", *paths(runs, 3, 0, 1), out=tmp_path / "e")
    said = line(run, "members")
    weights = [member["weight"] for member in said.options["members"]]
    assert weights[0] < 0.2 and sum(weights) == pytest.approx(1)
    whole = len(read_outcomes(run.path / store.OUTCOMES)["hashes"])
    assert said.reason.startswith(f"of {whole - -(-whole // 3)} labels")
    if not weights[0]:  # and so it does not ship
        assert run.architecture is not None
        assert len(run.architecture.get("members", [0])) == sum(w > 0 for w in weights)


def test_a_run_that_others_only_spoil_is_left_as_it_is(runs: list[Run], tmp_path: Path) -> None:
    words = "ensemble:average=weights,vote=greedy"
    run = finish.apply(words, *paths(runs, 0, 3), out=tmp_path / "e")
    assert line(run, "ensemble").status == "skipped"
    assert (run.path / store.WEIGHTS).read_bytes() == (runs[0].path / store.WEIGHTS).read_bytes()


def test_a_member_that_is_trained_is_a_run_of_another_seed(runs: list[Run], tmp_path: Path) -> None:
    run = finish.apply("ensemble:members=2", *paths(runs, 0), out=tmp_path / "e")
    names = [member["name"] for member in line(run, "members").options["members"]]
    assert names == [str(runs[0].path), "seed 1"]
    assert run.parents == (str(runs[0].path),)
    tensors, _ = tensorfile.load(run.path / store.WEIGHTS)
    other, _ = tensorfile.load(runs[1].path / store.WEIGHTS)
    assert all((tensors[f"members.1.{name}"] == tensor).all() for name, tensor in other.items())
    left = {path.name for path in run.path.iterdir()}
    assert not left & {store.CHECKPOINT, store.STARTED, store.SPENT, store.SAFE}


def test_a_soup_of_snapshots_is_one_network_as_before(runs: list[Run], tmp_path: Path) -> None:
    words = "ensemble:average=weights,by=snapshots,members=3,epochs=1"
    run = finish.apply(words, *paths(runs, 0), out=tmp_path / "e")
    assert run.architecture == runs[0].architecture
    assert run.scores is not None and runs[0].scores is not None
    assert run.scores.parameters == runs[0].scores.parameters
    said = f"the mean weights of {runs[0].path}, snapshot 1, snapshot 2"
    assert line(run, "members").reason == said


def test_an_ensemble_joins_others(runs: list[Run], joined: Run, tmp_path: Path) -> None:
    run = finish.apply("ensemble:vote=hard", joined.path, runs[2].path, out=tmp_path / "f")
    assert run.architecture is not None
    assert [m["kind"] for m in run.architecture["members"]] == ["ensemble", "compact"]
    with pytest.raises(UserError, match="is an ensemble"):
        finish.apply("ensemble:members=3", joined.path, out=tmp_path / "g")


def test_the_receipt_reads_when_the_members_are_gone(joined: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(joined.path, tmp_path / "moved")  # and none of its parents
    text = (copy / store.RUN).read_text().replace(str(joined.path.parent), "/gone")
    (copy / store.RUN).write_text(text)
    sheet = receipt(copy)
    assert sheet.lineage is not None
    assert len(sheet.lineage["parents"]) == 4


def test_it_follows_a_training(folder: Path, runs: list[Run], tmp_path: Path) -> None:
    recipe = tiny.recipe(folder / "bars.npz", steps=4)
    run = train(recipe=recipe, techniques=["ensemble:members=2"], out=tmp_path / "e")
    assert run.architecture is not None and len(run.architecture["members"]) == 2


# --- members that do not go together --------------------------------------------------------------


def changed(run: Run, folder: Path, **facts: object) -> Path:
    """A copy of a run whose data fixed something else."""
    shutil.copytree(run.path, folder)
    plain = json.loads((folder / store.RUN).read_text())
    plain["facts"] |= facts
    (folder / store.RUN).write_text(json.dumps(plain))
    return folder


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"labels": ["1", "0", "2"]}, "the same labels in another order: number 1 is"),
        ({"labels": ["0", "1"]}, "labels: 3 and 2 of them"),
        ({"labels": ["0", "1", "x"]}, "differ in labels"),
        ({"size": [16, 16]}, "differ in size"),
    ],
)
def test_members_of_other_data_are_refused(
    facts: dict[str, object], said: str, runs: list[Run], tmp_path: Path
) -> None:
    other = changed(runs[1], tmp_path / "other", **facts)
    with pytest.raises(UserError, match=said):
        finish.apply("ensemble", runs[0].path, other, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_the_same_weights_twice_are_refused(runs: list[Run], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0].path, tmp_path / "copy")
    with pytest.raises(UserError, match="the same weights as"):
        finish.apply("ensemble", runs[0].path, copy, out=tmp_path / "e")
    with pytest.raises(UserError, match="named twice"):
        finish.apply("ensemble", runs[0].path, runs[0].path, out=tmp_path / "e")


def test_a_member_that_learned_the_validation_split_is_refused(
    folder: Path, runs: list[Run], tmp_path: Path
) -> None:
    options = {"validation_share": 0.3, "split_seed": 7}
    recipe = tiny.recipe(folder / "bars.npz", steps=1, options=options)
    other = train(recipe=recipe, out=tmp_path / "other")
    with pytest.raises(UserError, match=r"was trained on \d+ of the \d+ validation examples"):
        finish.apply("ensemble", runs[0].path, other.path, out=tmp_path / "e")


def test_a_soup_that_is_no_network_is_not_shipped(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of networks that were trained from other seeds."""
    monkeypatch.setattr(
        soup.Pot, "stirred", lambda pot, members: {n: 0 * w for n, w in members[0].items()}
    )
    found = finish.apply("ensemble:average=weights", *paths(runs, 0, 1), out=tmp_path / "e")
    assert line(found, "ensemble").status == "skipped"
    assert "their mean weights are a poor network" in line(found, "ensemble").reason
    assert found.scores == runs[0].scores


def test_a_soup_of_other_shapes_is_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="other shapes"):
        finish.apply("ensemble:average=weights", *paths(runs, 0, 2), out=tmp_path / "e")


def test_an_ensemble_is_no_start(folder: Path, joined: Run, tmp_path: Path) -> None:
    recipe = tiny.recipe(folder / "bars.npz", steps=1)
    words = f"transfer:start={joined.path}"
    with pytest.raises(UserError, match="start from one of its members"):
        train(recipe=recipe, techniques=[words], out=tmp_path / "a")


def test_fewer_members_than_named_are_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than the 3 runs"):
        finish.apply("ensemble:members=2", *paths(runs, 0, 1, 2), out=tmp_path / "e")


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": 1},
        {"epochs": 0.0},
        {"epochs": float("inf")},
        {"average": "weights", "vote": "hard"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Ensemble(**wrong)  # type: ignore[arg-type]  # by name


def test_of_a_budget_it_takes_what_its_members_take() -> None:
    assert Ensemble(members=4).portion == pytest.approx(3.1)
    assert Ensemble(members=5, by="snapshots").portion == pytest.approx(2.1)
    assert Ensemble(runs=("a", "b")).portion == pytest.approx(0.1)
