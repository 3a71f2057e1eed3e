from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.bundle.verify import verify
from shoestring.core.errors import Interrupted, UserError
from shoestring.core.listener import Look
from shoestring.core.receipt import Receipt
from shoestring.core.run import Recipe, Run
from shoestring.engine import fit, store, tensorfile
from shoestring.engine.interrupt import Interrupt
from shoestring.techniques.distill import Distill
from tests import tiny

FEW = {"steps": 12, "evaluate_every": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distill")


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    return tiny.write_npz(folder / "bars.npz", count=300)


@pytest.fixture(scope="module")
def runs(folder: Path, source: Path) -> list[Run]:
    return [
        train(recipe=tiny.recipe(source, seed=seed, **FEW), out=folder / f"seed-{seed}")
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Run:
    """Of the task whose examples have more than one label each."""
    source = tiny.of_task("translation").write(folder)
    return train(recipe=tiny.recipe(source, **FEW), out=folder / "pairs")


def line(run: Run, name: str) -> Receipt:
    (found,) = [line for line in run.receipts if line.technique.partition(":")[0] == name]
    return found


def hook(run: Run) -> Distill:
    """The teacher that the recipe of a training names."""
    (words,) = [w for w in run.recipe.hooks if w.startswith("distill")]
    found = plugins.technique(words)
    assert isinstance(found, Distill)
    return found


def weights(run: Run) -> dict[str, Any]:
    return tensorfile.load(run.path / store.WEIGHTS)[0]


# --- a finished run teaches ---------------------------------------------------------------------


def test_a_smaller_network_learns_from_a_run(runs: list[Run], tmp_path: Path) -> None:
    words = "distill:student=compact:width=2+depth=2,temperature=4"
    run = finish.apply(words, runs[0].path, out=tmp_path / "s")
    assert run.architecture is not None
    assert [run.architecture[name] for name in ("width", "depth")] == [2, 2]
    assert run.recipe.network == runs[0].recipe.network  # the recipe is that of the lineage
    assert run.recipe.then == (words.replace("=4", "=4.0"),)
    said = line(run, "distill")
    assert said.gain is not None
    assert f"learns from {runs[0].path}, level=word: 90% of the loss" in said.reason
    assert run.scores is not None and runs[0].scores is not None
    assert run.scores.size_bytes < runs[0].scores.size_bytes
    verify(run.path / store.BUNDLE)


def test_a_preset_is_a_network_by_name(runs: list[Run], tmp_path: Path) -> None:
    run = finish.apply("distill:student=compact-tiny,epochs=1", runs[0].path, out=tmp_path / "s")
    assert run.architecture is not None and run.architecture["width"] == 8
    with pytest.raises(UserError, match="there is no network 'compact-huge'; there are: compact,"):
        finish.apply("distill:student=compact-huge", runs[0].path, out=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_an_ensemble_becomes_one_network_and_that_is_pruned(
    runs: list[Run], tmp_path: Path
) -> None:
    joined = finish.apply("ensemble", *(run.path for run in runs), out=tmp_path / "e")
    one = finish.apply("distill:epochs=1", joined.path, out=tmp_path / "s")
    assert one.architecture == runs[0].architecture
    pruned = finish.apply("prune:ratio=0.5,epochs=1", one.path, out=tmp_path / "p")
    # A pruned shape learns from the ensemble: from nothing, and going on.
    again = finish.apply(
        f"distill:student={pruned.path},epochs=1", joined.path, out=tmp_path / "again"
    )
    assert again.architecture == pruned.architecture
    assert again.parents == (str(joined.path), str(pruned.path))
    words = f"distill:student={pruned.path},epochs=1,start=weights,rate=0.001"
    on = finish.apply(words, joined.path, out=tmp_path / "on")
    first, other, last = (weights(run) for run in (pruned, again, on))
    convolution = next(name for name, tensor in first.items() if tensor.ndim == 4)
    moved = [float((one[convolution] - first[convolution]).abs().max()) for one in (other, last)]
    assert moved[1] < 0.05 < moved[0]
    with pytest.raises(UserError, match="is an ensemble; a student of it begins with nothing"):
        finish.apply("distill:start=weights", joined.path, out=tmp_path / "x")


def test_another_kind_of_network_is_trained_as_that_kind_wants(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The textbook's small constant rate would teach another network nothing."""
    usual = {"network": {"kind": "classic"}, "learning_rate": None, "batch_size": None}
    parent = train(recipe=tiny.recipe(source, **FEW, **usual), out=tmp_path / "classic")
    run = finish.apply("distill:student=compact:width=4,epochs=6", parent.path, out=tmp_path / "s")
    assert run.architecture is not None and run.architecture["kind"] == "compact"
    assert run.scores is not None and run.scores.quality is not None
    assert run.scores.quality > 0.8
    # The recipe says the first fit of the lineage; later ones train the network that there is.
    assert run.recipe.optimizer == parent.recipe.optimizer == "adam"
    assert run.own_recipe.optimizer == store.read(run.path).trained_by["optimizer"] == "muon"
    fits: list[Recipe] = []
    first = fit.fit

    def noted(run: Run, *more: Any, **named: Any) -> Any:
        fits.append(run.recipe)
        return first(run, *more, **named)

    monkeypatch.setattr(fit, "fit", noted)
    again = run
    for words in ("prune:epochs=1", "quantize:method=qat,epochs=1", "distill:epochs=1"):
        again = finish.apply(words, again.path, out=tmp_path / words[:5])
        assert again.trained_by == run.trained_by
    assert [recipe.optimizer for recipe in fits] == ["muon"] * 3
    for recipe, factor in zip(fits, (0.5, 0.2, 1.0), strict=True):
        assert recipe.learning_rate == pytest.approx(run.own_recipe.learning_rate * factor)
        assert recipe.batch_size == run.own_recipe.batch_size


def test_a_student_without_weights_has_none_to_go_on_from(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no weights to go on from; name a run"):
        finish.apply("distill:student=compact,start=weights", runs[0].path, out=tmp_path / "s")


def test_it_follows_a_training(source: Path, tmp_path: Path) -> None:
    run = train(
        source,
        out=tmp_path / "run",
        network="compact:width=4",
        techniques=["distill:student=compact:width=2,epochs=1"],
        threads=1,
        steps=10,
    )
    assert run.architecture is not None and run.architecture["width"] == 2
    assert [branch["technique"] for branch in run.lineage] == ["train"]


# --- a teacher in a training --------------------------------------------------------------------


def taught(source: Path, out: Path, words: str, **changes: Any) -> Run:
    recipe = tiny.recipe(source, **{**FEW, "seed": 3, **changes})
    return train(recipe=recipe, techniques=[words], out=out)


def test_a_run_teaches_in_a_training(runs: list[Run], source: Path, tmp_path: Path) -> None:
    run = taught(source, tmp_path / "s", f"distill:teacher={runs[0].path}")
    recorded = hook(run)
    assert recorded.level == "word" and recorded.weights.startswith("run-")
    assert run.recipe.label_smoothing == 0.0
    assert "learns from" in line(run, "start").reason
    plain = train(recipe=tiny.recipe(source, **FEW, seed=3), out=tmp_path / "plain")
    assert not tiny.same(weights(run), weights(plain))
    # The same recipe gives the same bytes.
    again = train(recipe=run.recipe, out=tmp_path / "again")
    assert tiny.same(weights(run), weights(again))


def test_a_bundle_teaches_too(runs: list[Run], source: Path, tmp_path: Path) -> None:
    run = taught(source, tmp_path / "s", f"distill:teacher={runs[0].path / store.BUNDLE},mix=1")
    assert "level=word" in line(run, "start").reason
    assert hook(run).weights.startswith("bundle-")


@pytest.mark.parametrize("changed", [True, False])
def test_a_fit_with_a_teacher_is_resumed_exactly(
    changed: bool, runs: list[Run], source: Path, tmp_path: Path
) -> None:
    """Whether what the teacher thinks is asked anew or looked up."""
    hooks = (f"distill:teacher={runs[0].path},level=word",)
    usual: dict[str, Any] = {"hooks": hooks, "steps": 60, "evaluate_every": 20}
    usual |= {} if changed else {"without": ("augment",)}
    _, whole = tiny.fitted(*tiny.prepared(tmp_path / "whole", source, **usual))
    run, dataset = tiny.prepared(tmp_path / "parts", source, **usual)
    interrupt = Interrupt()

    class Asks(tiny.Quiet):
        def evaluation(self, look: Look) -> None:
            if look.step == 40:
                interrupt.ask()

    with pytest.raises(Interrupted):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Asks())
    _, parts = tiny.fitted(store.read_started(run.path), dataset)
    assert tiny.same(whole, parts)


def test_a_teacher_of_labels_answers_probabilities_or_whole_inputs(
    pairs: Run, tmp_path: Path
) -> None:
    source = Path(pairs.recipe.source)
    by_word = taught(source, tmp_path / "word", f"distill:teacher={pairs.path}")
    assert "level=word" in line(by_word, "start").reason
    words = f"distill:teacher={pairs.path},level=both,mix=1"
    both = taught(source, tmp_path / "both", words)
    assert hook(both).lesson
    assert any(finding.kind == "distillation" for finding in both.findings)
    bundled = taught(source, tmp_path / "b", f"distill:teacher={pairs.path / store.BUNDLE}")
    assert "level=sequence" in line(bundled, "start").reason
    words = f"distill:teacher={pairs.path / store.BUNDLE},level=word"
    with pytest.raises(UserError, match="says no probabilities of single labels; take sequence"):
        taught(source, tmp_path / "c", words)


def test_what_a_run_answers_is_learned_from_on_a_finished_run(pairs: Run, tmp_path: Path) -> None:
    words = "distill:level=sequence,epochs=0.5,student=lstm:embedding=16+encoder_units=12"
    run = finish.apply(words, pairs.path, out=tmp_path / "s")
    assert run.architecture is not None and run.architecture["encoder_units"] == 12
    assert "sentences translated by" in line(run, "distill").reason


def test_wrong_words_are_refused(runs: list[Run], source: Path, tmp_path: Path) -> None:
    wrong = {
        "distill:mix=0": "mix is a share above 0",
        "distill:temperature=0": "temperature is above 0",
        "distill:epochs=0": "epochs is above 0",
        "distill:epochs=inf": "epochs is above 0",
        "prune:epochs=nan": "epochs is from 0",
        "quantize:method=qat,epochs=inf": "epochs",
        "distill:teacher=a,student=b": "are of a finished run",
        "distill:lesson=1": "record what a teacher was",
        "distill:pick=closest": "with pick=closest from 2",
    }
    for words, said in wrong.items():
        with pytest.raises(UserError, match=said):
            plugins.technique(words)
    with pytest.raises(UserError, match="changes how a run is trained, not a finished one"):
        finish.apply(f"distill:teacher={runs[0].path}", runs[1].path, out=tmp_path / "x")
    with pytest.raises(UserError, match="there is no teacher 'nobody'"):
        taught(source, tmp_path / "y", "distill:teacher=nobody")
    with pytest.raises(UserError, match="has no more than one label to say"):
        taught(source, tmp_path / "z", f"distill:teacher={runs[0].path},level=sequence")
    assert not any((tmp_path / name).exists() for name in "xyz")


def test_the_receipt_reads_when_the_teacher_is_gone(runs: list[Run], tmp_path: Path) -> None:
    parent = shutil.copytree(runs[1].path, tmp_path / "parent")
    run = finish.apply("distill:epochs=1", parent, out=tmp_path / "s")
    shutil.rmtree(parent)
    from shoestring.report.sheet import receipt

    assert "learns from" in str(receipt(run.path).lines)


def test_a_fit_goes_on_from_the_labels_where_the_teacher_is_gone(
    runs: list[Run], source: Path, tmp_path: Path
) -> None:
    teacher = shutil.copytree(runs[1].path, tmp_path / "teacher, one+two")
    words = plugins.words(Distill(teacher=str(teacher)))
    run = taught(source, tmp_path / "s", words)
    assert hook(run).teacher == str(teacher)  # commas and plus signs in its name
    shutil.rmtree(teacher)
    pruned = finish.apply("prune:epochs=0.5", run.path, out=tmp_path / "p")
    assert "goes on from the labels alone" in line(pruned, "prune").reason
    assert pruned.recipe.hooks == run.recipe.hooks  # the record of the training stays
    with pytest.raises(UserError, match="there is no teacher"):  # from nothing it needs it
        finish.apply("ensemble:members=2,epochs=0.5", run.path, out=tmp_path / "e")


def test_a_bundle_of_other_data_may_know_the_answers(
    runs: list[Run], source: Path, tmp_path: Path
) -> None:
    same = taught(source, tmp_path / "a", f"distill:teacher={runs[0].path / store.BUNDLE}")
    assert not any("cannot be told" in finding.message for finding in same.findings)
    options = {"validation_share": 0.3, "split_seed": 7}
    other = train(recipe=tiny.recipe(source, steps=1, options=options), out=tmp_path / "other")
    run = taught(source, tmp_path / "b", f"distill:teacher={other.path / store.BUNDLE}")
    assert any("cannot be told whether" in finding.message for finding in run.findings)


def test_wrong_words_of_a_later_technique_are_told_before_the_training(
    runs: list[Run], pairs: Run, source: Path, tmp_path: Path
) -> None:
    wrong = {
        "distill:student=nope": "there is no network 'nope'",
        f"distill:student={pairs.path}": "is of translation, and no student of images",
        "distill:student=compact,start=weights": "has no weights to go on from",
        f"ensemble:runs={pairs.path}": "is of translation, and no member of images",
        f"ensemble:runs={tmp_path / 'nobody'}": "no such folder",
        f"ensemble:members=2,runs={runs[0].path}+{runs[1].path}": "fewer than the 3 runs",
    }
    for words, said in wrong.items():
        with pytest.raises(UserError, match=said):
            taught(source, tmp_path / "x", words)
        assert not (tmp_path / "x").exists()
    with pytest.raises(UserError, match="ship in 8 bits or as floats, not in 4 bits"):
        taught(Path(pairs.recipe.source), tmp_path / "x", "quantize:bits=4")
    assert not (tmp_path / "x").exists()


def test_a_fit_goes_on_from_the_labels_where_the_answers_are_gone(
    pairs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the cache was emptied."""
    words = f"distill:teacher={pairs.path},level=sequence"
    run = taught(Path(pairs.recipe.source), tmp_path / "s", words)
    assert plugins.task(run.task).remembers(hook(run).lesson)
    monkeypatch.setattr(type(plugins.task(run.task)), "remembers", lambda task, key: False)
    pruned = finish.apply("prune:epochs=0.5", run.path, out=tmp_path / "p")
    assert "answered is not in the cache any more" in line(pruned, "prune").reason
