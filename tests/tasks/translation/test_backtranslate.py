"""More pairs from a run of the other direction: which sentences, which run, kept by content."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.protocols import silent
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe, Run
from shoestring.data import cache
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.translation import backtranslate, synthetic
from shoestring.tasks.translation.data import TranslationDataset, load
from shoestring.tasks.translation.feed import TranslationFeed
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.techniques.augment import Augment
from tests import tiny
from tests.tasks.translation.tiny import WORDS, write

BACK = {german: english for english, german in WORDS.items()}
ROWS = ["rot rot rot rot rot", "alt Baum Katze Hund Hund"]  # longer than any of train
OPTIONS: dict[str, Any] = {
    "back_translate": "runs/de-en",
    "monolingual": None,
    "synthetic": None,
}


@dataclass
class Reverse:
    """A run that knows the words of the other direction by heart."""

    manifest: Plain = field(
        default_factory=lambda: {
            "task": "translation",
            "facts": {"source": "de", "target": "en"},
        }
    )
    asked: list[str] = field(default_factory=list)
    seconds: float = 0.0
    now: float = 0.0

    def answers(self, inputs: Sequence[str], options: Any = None) -> Iterator[Plain]:
        assert options == {"beam": 1}
        self.asked += inputs
        self.now += self.seconds
        for line in inputs:
            if line == "broken":
                yield {"input": line, "error": "too long"}
                continue
            text = " ".join(BACK.get(word, "") for word in line.split()).strip()
            yield {"input": line, "translations": [{"text": text}]}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def dataset(source: Path) -> TranslationDataset:
    return load(str(source), TranslationOptions(), silent)


def made(
    dataset: TranslationDataset, run: Reverse, budget: Budget | None = None, **options: Any
) -> backtranslate.Made:
    asked = {**OPTIONS, **options}
    return backtranslate.made(asked, dataset, 1000, lambda words: run, budget or Budget())


def test_targets_of_train_get_sources_that_the_run_wrote(dataset: TranslationDataset) -> None:
    run = Reverse()
    found = made(dataset, run)
    sources, targets = synthetic.read(found.key)
    assert sorted(targets) == sorted(set(dataset.train.targets))
    assert sorted(run.asked) == sorted(targets)
    for one, other in zip(sources, targets, strict=True):
        assert one == " ".join(BACK[word] for word in other.split())
    assert found.key.startswith(f"{len(targets)}-")
    (finding,) = found.findings
    assert "made by translating the targets of train with runs/de-en" in finding.message


def test_text_of_one_language_is_more_data_and_no_held_out_sentence_comes_in(
    dataset: TranslationDataset, tmp_path: Path
) -> None:
    held = dataset.validation.targets[0]
    file = tmp_path / "mono.txt"
    lines = ["rot Hund alt", held, held.upper(), "  Katze neu Baum ", "Katze neu Baum", "", "Hund"]
    file.write_text("\n".join([*lines, "broken", "x" * 2000, "Unsinn"]) + "\n", "utf-8")
    found = made(dataset, Reverse(), monolingual=str(file))
    sources, targets = synthetic.read(found.key)
    pairs = dict(zip(targets, sources, strict=True))
    assert pairs == {"rot Hund alt": "red dog old", "Katze neu Baum": "cat new tree", "Hund": "dog"}
    (finding,) = found.findings
    assert finding.dropped == 3
    assert "stand in validation or test" in finding.message


def test_a_run_of_the_wrong_direction_says_which_is_needed(dataset: TranslationDataset) -> None:
    same = {"task": "translation", "facts": {"source": "en", "target": "de"}}
    with pytest.raises(UserError, match=r"runs/de-en translates en into de; .*a run of de into en"):
        made(dataset, Reverse(same))
    other = {"task": "translation", "facts": {"source": "de", "target": "fr"}}
    with pytest.raises(UserError, match="--source de --target en"):
        made(dataset, Reverse(other))
    with pytest.raises(UserError, match="is a bundle of images"):
        made(dataset, Reverse({"task": "images", "facts": {}}))


def test_a_file_that_is_not_there_or_holds_nothing_is_told(
    dataset: TranslationDataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"there is no file nowhere\.txt"):
        made(dataset, Reverse(), monolingual="nowhere.txt")
    file = tmp_path / "held.txt"
    file.write_text("\n".join(dataset.validation.targets), "utf-8")
    with pytest.raises(DataError, match="has nothing to translate"):
        made(dataset, Reverse(), monolingual=str(file))


def test_it_ends_with_its_share_of_the_budget(
    dataset: TranslationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtranslate, "WINDOW", 20)
    monkeypatch.setattr(backtranslate, "FIRST_WINDOW", 20)
    run = Reverse(seconds=10.0)
    budget = Budget(100.0, clock=lambda: run.now)
    found = made(dataset, run, budget)
    count = int(found.key.partition("-")[0])
    assert 30 <= count <= 40  # two windows of 10 s: a third would go past a quarter of 100 s
    assert "were left for want of time" in found.findings[0].message


def test_what_was_recorded_is_found_or_made_again_and_checked(
    dataset: TranslationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtranslate, "WINDOW", 16)
    run = Reverse(seconds=10.0)
    first = made(dataset, run, Budget(50.0, clock=lambda: run.now))
    count = len(run.asked)
    again = made(dataset, run, synthetic=first.key)
    assert (again.key, len(run.asked)) == (first.key, count)  # nothing was asked
    shutil.rmtree(cache.cache_folder() / "translation" / f"synthetic-{first.key}")
    with pytest.raises(DataError, match="not in the cache any more"):
        synthetic.read(first.key)
    assert made(dataset, Reverse(), synthetic=first.key).key == first.key
    shutil.rmtree(cache.cache_folder() / "translation" / f"synthetic-{first.key}")
    monkeypatch.setitem(BACK, "Hund", "hound")
    with pytest.raises(UserError, match="gives other sentences than when this recipe was recorded"):
        made(dataset, Reverse(), synthetic=first.key)


def test_the_feed_has_the_pairs_behind_its_own(dataset: TranslationDataset) -> None:
    key = synthetic.kept(["red red red red red", "old tree cat dog dog"], ROWS)
    plain = TranslationFeed(dataset.train, dataset.facts, "cpu")
    hook = Augment(back_translate="runs/de-en", synthetic=key, bpe_dropout=0.1)
    feed = hook.change_feed(plugins.task("translation"), plain, KeyedDraws)
    count = len(plain)
    assert len(feed) == count + 2
    assert isinstance(feed, TranslationFeed)
    assert list(feed.examples.targets[-2:]) == ROWS
    assert len(set(feed.examples.hashes.tolist())) == count + 2
    order = torch.cat(list(feed.order(128, 0, 0)))
    assert sorted(order.tolist()) == list(range(count + 2))
    batch, own = feed.batch(torch.tensor([count, 3])), plain.batch(torch.tensor([3]))
    tokenizer = dataset.train.tokenizer
    assert tokenizer is not None
    assert tokenizer.decode([p for p in batch.targets[0].tolist() if p > 3]) == ROWS[0]
    length = int(own.inputs.lengths_B[0])
    one = own.inputs.source_BS[0, :length]
    assert torch.equal(batch.inputs.source_BS[1, :length], one)


def test_the_technique_records_the_pairs_and_a_fit_learns_from_them(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.bundle import bundle

    run = Reverse()
    monkeypatch.setattr(bundle, "load", lambda words: run)
    start, dataset = tiny.prepared(tmp_path / "run", source)
    after = Augment(back_translate="runs/de-en").apply(start, Budget())
    (words,) = after.recipe.hooks
    technique = plugins.technique(words)
    assert isinstance(technique, Augment)
    assert technique.synthetic is not None
    assert synthetic.there(technique.synthetic)
    assert after.findings[-1].kind == "back-translation"
    done, _ = tiny.fitted(after, dataset)
    plain, _ = tiny.fitted(*tiny.prepared(tmp_path / "plain", source))
    assert done.curve[-1]["epoch"] < plain.curve[-1]["epoch"]  # an epoch is longer


def test_text_without_a_run_for_it_is_refused() -> None:
    with pytest.raises(UserError, match="monolingual is text for back_translate"):
        plugins.technique("augment:monolingual=mono.txt")


def test_pictures_have_no_back_translation() -> None:
    run = Run(Path("run"), "images", Recipe("images", "photos"))
    with pytest.raises(UserError, match="back_translate does not fit images, but translation"):
        Augment(back_translate="runs/de-en").apply(run, Budget())
