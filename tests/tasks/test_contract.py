"""What every task must offer. A new folder in tasks/ is found here without being named; it brings
`tests/tasks/NAME/tiny.py`: `write(folder)`, a small source; NETWORKS, small options for each of
its networks; RECIPE, what else a short fit needs; BUNDLE, the files that ship; `rows(batch)`, what
each example of a batch became; `asked(folder)`, words for two inputs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch

import shoestring
from shoestring import plugins
from shoestring.__main__ import main
from shoestring.core.budget import Meter
from shoestring.core.errors import Interrupted
from shoestring.core.listener import Look, Quiet
from shoestring.core.plain import to_plain
from shoestring.engine import device, placement, store
from shoestring.engine.device import KeyedDraws
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.loop import Feeds, Loop
from tests import tiny

TASKS = plugins.task_names()
NETWORKS = [(task, kind) for task in TASKS for kind in plugins.task(task).networks]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {task: tiny.of_task(task).write(tmp_path_factory.mktemp(task)) for task in TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_a_name_a_metric_and_frozen_options(name: str) -> None:
    task = plugins.task(name)
    assert task.name == name
    assert task.metric
    assert task.networks
    for options in (task.options, task.answer_options):
        assert is_dataclass(options)
        made = options()
        assert to_plain(made) == {f.name: to_plain(getattr(made, f.name)) for f in fields(options)}
        with pytest.raises(FrozenInstanceError):
            setattr(made, fields(options)[0].name, None)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_knows_its_own_source_and_no_nonsense(name: str, sources: dict[str, Path]) -> None:
    assert plugins.task(name).recognizes(str(sources[name]))
    assert not plugins.task(name).recognizes("/no/such/place")
    assert plugins.task_for(str(sources[name])).name == name


@pytest.mark.parametrize(("name", "kind"), NETWORKS)
@pytest.mark.parametrize("place", device.available())
def test_a_network_trains_on_every_device_present(
    name: str, kind: str, place: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    options = {"kind": kind, **tiny.of_task(name).NETWORKS[kind]}
    run, dataset = tiny.prepared(tmp_path, sources[name], network=options, device=place)
    where = placement.Local(place)
    loop = Loop(run, Feeds.of(run, dataset, where), where)
    first = [float(loop.step(0.3, 0.3)[0]) for _ in range(12)]
    assert min(first[6:]) < first[0]
    line = loop.evaluate()
    assert 0 <= line["quality"] <= 1 or line["quality"] > 1  # a share, or BLEU's hundred
    network = plugins.task(name).network(kind)
    rebuilt = network.build(loop.architecture)
    rebuilt.load_state_dict(loop.raw.state_dict())
    assert network.macs(loop.architecture) > 0
    assert [part for part, _ in network.parts(rebuilt)]


@pytest.mark.parametrize(("name", "kind"), NETWORKS)
@pytest.mark.parametrize("place", device.available())
def test_a_stopped_and_resumed_fit_ends_with_the_same_bytes_on_every_device(
    name: str, kind: str, place: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    class Stopping(Quiet):
        def evaluation(self, look: Look) -> None:
            interrupt.ask()

    options = {"kind": kind, **tiny.of_task(name).NETWORKS[kind]}
    precision = device.precisions(place)[-1]
    settings = {"network": options, "device": place, "precision": precision, "steps": 4}
    settings |= {"evaluate_every": 2, "hooks": ("average:decay=0.9,every=2",)}
    _, whole = tiny.fitted(*tiny.prepared(tmp_path / "whole", sources[name], **settings))
    run, dataset = tiny.prepared(tmp_path / "parts", sources[name], **settings)
    interrupt = Interrupt()
    with pytest.raises(Interrupted):
        tiny.fitted(run, dataset, interrupt=interrupt, listener=Stopping())
    _, parts = tiny.fitted(store.read_started(run.path), dataset)
    assert tiny.same(whole, parts)


@pytest.mark.parametrize(("name", "kind"), NETWORKS)
def test_logits_and_labels_have_no_padding(
    name: str, kind: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    options = {"kind": kind, **tiny.of_task(name).NETWORKS[kind]}
    run, dataset = tiny.prepared(tmp_path, sources[name], network=options)
    where = placement.Local("cpu")
    loop = Loop(run, Feeds.of(run, dataset, where), where)
    (batch,) = loop.batches()
    logits, labels = loop.network.logits(loop.model, batch.inputs, batch.targets)
    assert logits.ndim == 2
    assert labels.shape == logits.shape[:1]
    assert int(labels.max()) < logits.shape[1]
    assert batch.size == len(labels)


@pytest.mark.parametrize("name", TASKS)
def test_an_epoch_takes_every_example_at_most_once_in_an_order_of_its_own(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    run, dataset = tiny.prepared(tmp_path, sources[name])
    feed = plugins.task(name).feed(dataset.train, dataset.facts, "cpu")
    first = torch.cat(list(feed.order(8, seed=0, epoch=0)))
    again = torch.cat(list(feed.order(8, seed=0, epoch=0)))
    later = torch.cat(list(feed.order(8, seed=0, epoch=1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert len(set(first.tolist())) == len(first)
    assert len(first) > len(feed) - 8
    assert len(run.findings) == 0


@pytest.mark.parametrize("name", TASKS)
def test_an_example_is_changed_alike_in_any_batch(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    task = plugins.task(name)
    _, dataset = tiny.prepared(tmp_path, sources[name])
    feed = task.feed(dataset.train, dataset.facts, "cpu")
    words = {n: 0.2 if isinstance(v, float) else v for n, v in task.augment_options().items()}
    ids = torch.arange(8)
    whole = task.augment(feed.batch(ids), KeyedDraws(1, 2, ids), words)
    part = task.augment(feed.batch(ids[2:5]), KeyedDraws(1, 2, ids[2:5]), words)
    rows = tiny.of_task(name).rows
    for a, b in zip(rows(whole)[2:5], rows(part), strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a.float(), b.float(), atol=1e-3)


@pytest.mark.parametrize("name", TASKS)
def test_the_splits_share_no_example(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    task = plugins.task(name)
    dataset = task.load(tiny.recipe(sources[name]), Quiet().stage)
    train, validation = set(dataset.train.hashes.tolist()), set(dataset.validation.hashes.tolist())
    assert train
    assert validation
    assert not train & validation
    again = task.load(tiny.recipe(sources[name]), Quiet().stage)
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("name", TASKS)
def test_the_splits_hang_on_a_seed_of_their_own_never_on_the_training_s(
    name: str, sources: dict[str, Path]
) -> None:
    """Else a second seed would train on what the first was tested on."""
    task = plugins.task(name)
    first, retrained, split_anew = (
        task.load(tiny.recipe(sources[name], **changes), Quiet().stage)
        for changes in ({}, {"seed": 7}, {"options": {"split_seed": 7}})
    )
    assert retrained.fingerprint == first.fingerprint
    assert retrained.validation.hashes.tolist() == first.validation.hashes.tolist()
    assert split_anew.fingerprint != first.fingerprint


@pytest.mark.parametrize(("name", "kind"), NETWORKS)
def test_every_network_ends_as_a_bundle_that_verifies_predicts_and_evaluates(
    name: str,
    kind: str,
    sources: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ",".join(f"{k}={v}" for k, v in tiny.of_task(name).NETWORKS[kind].items())
    run = shoestring.train(
        sources[name], out=tmp_path / "run", steps=10, threads=1, network=f"{kind}:{words}"
    )
    assert shoestring.verify(run.path)["ok"]
    scores = shoestring.evaluate(run.path, sources[name])
    assert scores.quality is not None
    assert scores.examples > 0
    exported = shoestring.export(run.path, tmp_path / "bundle")
    found = shoestring.verify(exported)
    assert set(found["files"]) >= {*tiny.of_task(name).BUNDLE, "golden.npz", "README.md"}
    assert main(["predict", str(exported), *tiny.of_task(name).asked(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    card = (exported / "README.md").read_text(encoding="utf-8")
    description = plugins.task(name).describe(run.facts)
    assert all(part in card for part in (*description.answers, description.command))
    text = str(shoestring.receipt(run.path))
    assert plugins.task(name).metric in text
    assert "nan" not in text.lower().split()
    for other in set(TASKS) - {name}:
        foreign = {f.name for f in fields(plugins.task(other).answer_options)}
        foreign -= {f.name for f in fields(plugins.task(name).answer_options)}
        option = f"--{min(foreign).replace('_', '-')}"
        assert main(["predict", str(exported), option, "1"]) == 2
        assert f"{option} belongs to {other}; " in capsys.readouterr().err


@pytest.mark.parametrize("name", TASKS)
def test_a_recipe_opens_the_test_split_once_and_tells_its_figures(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    class Heard(Quiet):
        said = ""

        def say(self, text: str) -> None:
            self.said += text + "\n"

    heard = Heard()
    recipe = replace(
        tiny.recipe(sources[name], steps=4), open_test=True, options={"test_share": 0.2}
    )
    run = shoestring.train(recipe=recipe, out=tmp_path / "run", listener=heard)
    (line,) = [r for r in run.receipts if r.technique == "test opened"]
    assert line.after is not None
    assert line.after.split == "test"
    assert f"test {plugins.task(name).metric} " in heard.said
    assert f"test loss {line.after.loss:.4f}\n" in heard.said
    assert " accuracy " in heard.said


@pytest.mark.parametrize("name", TASKS)
def test_a_fit_counts_examples_and_their_labels(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    run, dataset = tiny.prepared(tmp_path, sources[name], steps=3)
    feed = plugins.task(name).feed(dataset.train, dataset.facts, "cpu")
    batches = feed.order(run.recipe.batch_size or 0, run.recipe.seed, 0)[:3]
    meter = Meter()
    tiny.fitted(run, dataset, meter=meter)
    assert meter.cost.steps == 3
    assert meter.cost.examples == sum(map(len, batches))
    assert meter.cost.labels == sum(feed.batch(ids).size for ids in batches)
