"""What every technique on finished runs must keep, on every task. A new one is found and tested
here without being named."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import pytest

import shoestring
from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.bundle.verify import verify
from shoestring.core.errors import UserError
from shoestring.core.run import Run
from shoestring.engine import derive, export, seal, store, tensorfile
from shoestring.report.sheet import receipt
from tests import tiny

TASKS = plugins.task_names()
FINISHERS = [
    name
    for name in plugins.technique_names()
    if getattr(plugins.technique_class(name)(), "finishes", False)
]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", params=TASKS)
def parents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two small runs of a task that differ in their seed alone."""
    folder = tmp_path_factory.mktemp(f"finish-{request.param}")
    source = tiny.of_task(request.param).write(folder)
    return [
        train(recipe=tiny.recipe(source, seed=seed, steps=40, evaluate_every=20),
              out=folder / f"seed-{seed}")
        for seed in (0, 1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def before(parents: list[Run]) -> dict[str, str]:
    return contents(parents[0].path)


@pytest.fixture(scope="module")
def made(
    parents: list[Run], before: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run | str]:
    """What each technique made of them; the words of a UserError where it refused the task."""
    found: dict[str, Run | str] = {}
    for name in FINISHERS:
        kind = plugins.technique_class(name)
        wanted = parents if kind.takes else parents[:1]
        out = tmp_path_factory.mktemp(name) / "made"
        try:
            found[name] = finish.apply(kind(), *(run.path for run in wanted), out=out)
        except UserError as error:
            found[name] = str(error)
            assert not (out / store.RUN).exists()
    return found


def run_of(made: dict[str, Run | str], name: str) -> Run:
    found = made[name]
    assert isinstance(found, Run), found
    return found


@pytest.mark.parametrize("name", FINISHERS)
def test_it_makes_a_finished_run_with_a_verified_bundle(
    name: str, made: dict[str, Run | str]
) -> None:
    run = run_of(made, name)
    assert store.read(run.path) == run
    verify(run.path / store.BUNDLE)
    assert run.scores is not None and run.scores.quality is not None


@pytest.mark.parametrize("name", FINISHERS)
def test_its_receipt_holds_the_parents_lines_and_its_own(
    name: str, made: dict[str, Run | str], parents: list[Run]
) -> None:
    run = run_of(made, name)
    before = [line.technique for line in parents[0].receipts if line.technique == "fit"]
    lines = {line.technique.partition(":")[0]: line for line in run.receipts}
    assert set(before) <= set(lines)
    line = lines[name]
    assert set(line.options) == {f.name for f in fields(plugins.technique_class(name))}
    assert line.before == parents[0].scores
    assert line.status == "skipped" or line.gain is not None
    assert str(receipt(run.path))  # it can be shown


@pytest.mark.parametrize("name", FINISHERS)
def test_its_lineage_names_every_parent(
    name: str, made: dict[str, Run | str], parents: list[Run]
) -> None:
    run = run_of(made, name)
    assert run.parents[0] == str(parents[0].path)
    assert [branch["path"] for branch in run.lineage] == list(run.parents)
    assert run.recipe.then[-1].partition(":")[0] == name


@pytest.mark.parametrize("name", FINISHERS)
def test_the_network_is_rebuilt_from_its_architecture_alone(
    name: str, made: dict[str, Run | str]
) -> None:
    run = run_of(made, name)
    model = seal.load_model(store.read(run.path))
    tensors, _ = tensorfile.load(run.path / store.WEIGHTS)
    assert set(model.state_dict()) == set(tensors)


def test_a_lineage_of_five_steps_exports_verifies_and_evaluates(
    parents: list[Run], tmp_path: Path
) -> None:
    """Many into one, one into a small one, that thinner, taught once more, in few bits."""
    short = "epochs=0.2"
    joined = finish.apply("ensemble", *(run.path for run in parents), out=tmp_path / "1")
    taught = finish.apply(f"distill:{short}", joined.path, out=tmp_path / "2")
    pruned = finish.apply(f"prune:{short}", taught.path, out=tmp_path / "3")
    words = f"distill:student={pruned.path},start=weights,{short}"
    again = finish.apply(words, joined.path, out=tmp_path / "4")
    last = finish.apply("quantize:want=size,points=100", again.path, out=tmp_path / "5")
    for run in (joined, taught, pruned, again, last):
        with derive.at(derive.Desk()):  # what stands on the disk is enough to export it once more
            dataset = derive.dataset_of(run)
            model = seal.load_model(store.read(run.path))
            export.export_run(run, model, dataset.validation, tmp_path / "again" / run.path.name)
    out = export.export(last.path, tmp_path / "bundle")
    assert verify(out)["ok"]
    scores = shoestring.evaluate(out, last.recipe.source)
    assert scores.quality is not None and scores.examples > 0
    text = str(receipt(last.path))
    assert all(str(run.path.name) in text for run in (joined, pruned, again, *parents))
    counts = [run.scores.parameters or 0 for run in (pruned, taught, joined) if run.scores]
    assert counts == sorted(counts)


def test_the_parents_are_as_they_were(
    made: dict[str, Run | str], parents: list[Run], before: dict[str, str]
) -> None:
    assert made.keys() == set(FINISHERS)
    assert contents(parents[0].path) == before
