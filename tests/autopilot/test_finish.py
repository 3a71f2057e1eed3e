from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.core.budget import Budget, Cost
from shoestring.core.errors import Interrupted, RunError, Skipped, UserError
from shoestring.core.run import Run
from shoestring.core.techniques import Finisher
from shoestring.engine import derive, store
from tests import tiny


@dataclass(frozen=True)
class Tuned(Finisher):
    """Fine-tunes a little."""

    portion = 0.5

    epochs: float = field(default=0.5, metadata={"help": "of the fit that goes on"})
    does: str = field(default="tune", metadata={"help": "tune, skip, fail or stop"})

    def apply(self, run: Run, budget: Budget) -> Run:
        if self.does == "skip":
            raise Skipped("nothing to be gained")
        if self.does == "fail":
            raise UserError("it cannot be done")
        if self.does == "stop":
            raise Interrupted("stopped")
        weights = derive.model_of(run).state_dict()
        child = derive.child(run, "tuned")
        child, best, cost = derive.tuned(child, weights, budget, self.epochs, learning_rate=1e-3)
        return derive.sealed(child, best, budget, cost)


Tuned.__module__ = "shoestring.techniques.tuned"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A technique of these tests, beside those in the folder."""
    names, kind = plugins.technique_names(), plugins.technique_class
    monkeypatch.setattr(plugins, "technique_names", lambda: (*names, "tuned"))
    monkeypatch.setattr(
        plugins, "technique_class", lambda name: Tuned if name == "tuned" else kind(name)
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe=tiny.recipe(source), out=tmp_path_factory.mktemp("runs") / "a")


def test_apply_makes_a_run_of_its_own(run: Run, tmp_path: Path) -> None:
    after = finish.apply("tuned", run.path, out=tmp_path / "t")
    assert after.path == tmp_path / "t" and store.read(after.path) == after
    assert after.parents == (str(run.path),) and after.recipe.then == ("tuned",)
    line = next(line for line in after.receipts if line.technique == "tuned")
    assert line.gain is not None and "agree" in line.reason
    assert [line.technique for line in after.receipts].count("fit") == 1  # its own is in its line


def test_a_second_step_keeps_the_lineage_of_the_first(run: Run, tmp_path: Path) -> None:
    first = finish.apply("tuned", run.path, out=tmp_path / "one")
    second = finish.apply("tuned:epochs=1.0", first.path, out=tmp_path / "two")
    assert second.recipe.then == ("tuned", "tuned:epochs=1.0")
    (parent,) = second.lineage
    assert [parent["path"], parent["parents"][0]["path"]] == [str(first.path), str(run.path)]
    store.remove(first.path)
    from shoestring.report.sheet import receipt

    assert str(first.path) in str(receipt(second.path)).replace("\n", "")


def test_a_skipped_one_leaves_a_copy_and_says_why(run: Run, tmp_path: Path) -> None:
    after = finish.apply("tuned:does=skip", run.path, out=tmp_path / "t")
    assert after.scores == run.scores
    line = next(line for line in after.receipts if line.technique == "tuned:does=skip")
    assert (line.status, line.reason) == ("skipped", "nothing to be gained")
    assert line.cost.wall_seconds > 0
    ours, theirs = (r.path / store.BUNDLE / "model.onnx" for r in (after, run))
    assert ours.read_bytes() == theirs.read_bytes()


def test_one_with_a_defect_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tuned, "apply", lambda *_: int("1.4"))
    with pytest.raises(ValueError, match="invalid literal"):
        finish.apply("tuned", run.path, out=tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("does", ["fail", "stop"])
def test_one_that_fails_or_is_stopped_leaves_nothing(does: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        finish.apply(f"tuned:does={does}", run.path, out=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_it_refuses(run: Run, tmp_path: Path) -> None:
    out: dict[str, Any] = {"out": tmp_path / "t"}
    with pytest.raises(UserError, match="changes how a run is trained"):
        finish.apply("average", run.path, **out)
    with pytest.raises(UserError, match="works on one run, not on 2"):
        finish.apply("tuned", run.path, run.path, **out)
    with pytest.raises(UserError, match="say which run tuned is for"):
        finish.apply("tuned", **out)
    with pytest.raises(RunError, match="no such folder"):
        finish.apply("tuned", tmp_path / "nowhere", **out)
    with pytest.raises(UserError, match="is not empty"):
        finish.apply("tuned", run.path, out=run.path)
    with pytest.raises(UserError, match="which stays as it is; take another --out"):
        finish.apply("tuned", run.path, out=run.path / "further" / "t")
    assert not (run.path / "further").exists()
    other = shutil.copytree(run.path, tmp_path / "other")  # nor in one that is no parent of it
    with pytest.raises(UserError, match="lies in the run"):
        finish.apply("tuned", run.path, out=other / "t")
    with pytest.raises(UserError, match="lies in the run"):
        train(recipe=tiny.recipe(run.recipe.source), out=other / "t")


def test_seconds_in_which_nothing_can_be_graded_are_refused(run: Run, tmp_path: Path) -> None:
    """Its parent's export and grading took longer than there is."""
    slow = [
        replace(line, cost=Cost(wall_seconds=30.0)) if line.technique == "grade" else line
        for line in run.receipts
    ]
    parent = replace(run, path=shutil.copytree(run.path, tmp_path / "slow"), receipts=tuple(slow))
    store.write_finished(parent)
    with pytest.raises(UserError, match=r"5 s are too few for tuned: to export and grade .* 3\d s"):
        finish.apply("tuned", parent.path, budget="5s", out=tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert finish.apply("tuned", parent.path, budget="2m", out=tmp_path / "t").trained


def test_damaged_outcomes_are_told_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = shutil.copytree(run.path, tmp_path / "damaged")
    monkeypatch.setattr(Tuned, "apply", lambda *_: pytest.fail("it was begun"))
    whole = (damaged / store.OUTCOMES).read_bytes()
    for content in (b"nothing of the kind", whole[: len(whole) // 2], whole[:30]):
        (damaged / store.OUTCOMES).write_bytes(content)
        with pytest.raises(UserError, match="outcomes"):
            finish.apply("tuned", damaged, out=tmp_path / "t")
        assert not (tmp_path / "t").exists()


def test_a_training_goes_through_them_in_its_own_folder(source: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(source)
    run = train(recipe=recipe, techniques=["tuned"], out=tmp_path / "a")
    assert run.path == tmp_path / "a" and run.recipe.then == ("tuned",)
    assert sorted(path.name for path in (run.path / "steps").iterdir()) == ["0-train"]
    assert run.parents == (str(run.path / "steps" / "0-train"),)
    assert store.read(run.path / "steps" / "0-train").recipe.then == ("tuned",)
    assert [line.technique for line in run.receipts].count("total") == 1


def test_a_step_that_fails_is_on_the_receipt_and_the_run_goes_on(
    source: Path, tmp_path: Path
) -> None:
    run = train(recipe=tiny.recipe(source), techniques=["tuned:does=fail"], out=tmp_path / "a")
    line = next(line for line in run.receipts if line.technique == "tuned:does=fail")
    assert (line.status, line.reason) == ("failed", "it cannot be done")
    assert (run.path / store.BUNDLE / "model.onnx").exists()


def test_a_training_stopped_in_a_step_goes_on_where_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted, match="--resume"):
        train(recipe=tiny.recipe(source), techniques=["tuned:does=stop"], out=tmp_path / "a")
    stopped = store.read(tmp_path / "a")  # the trained run is whole
    assert finish.pending(stopped)
    monkeypatch.setattr(Tuned, "apply", _not_stopped)
    run = train(tmp_path / "a", resume=True)
    assert run.lineage and not finish.pending(run)
    with pytest.raises(RunError, match="nothing to resume"):
        train(tmp_path / "a", resume=True)


def _not_stopped(self: Tuned, run: Run, budget: Budget) -> Run:
    raise Skipped("this time it is not stopped")
