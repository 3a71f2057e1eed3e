"""Pairs that a teacher wrote: from a run, from a file, for sentences without a translation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shoestring import plugins
from shoestring.autopilot.train import train
from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.teaching import Lesson
from shoestring.engine.device import KeyedDraws
from shoestring.tasks.translation import synthetic, teaching
from shoestring.tasks.translation.data import TranslationDataset
from shoestring.tasks.translation.feed import TranslationFeed
from tests import tiny
from tests.tasks.translation.tiny import WORDS, pairs, write

TASK = plugins.task("translation")
FACTS = {"source": "en", "target": "de"}


@dataclass
class Knows:
    """A translator that shouts."""

    manifest: Plain = field(default_factory=lambda: {"task": "translation", "facts": FACTS})
    asked: list[str] = field(default_factory=list)
    options: list[Any] = field(default_factory=list)

    def answers(self, inputs: Sequence[str], options: Any = None) -> Iterator[Plain]:
        self.asked += inputs
        self.options.append(options)
        for line in inputs:
            if line == "two two two two":
                yield {"input": line, "error": "cannot be translated"}
                continue
            text = " ".join(WORDS.get(word, word).upper() for word in line.split())
            found = [{"text": text}, {"text": text.lower()}][: options["nbest"]]
            yield {"input": line, "translations": found}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny.prepared(tmp_path_factory.mktemp("run"), source)[0]


@pytest.fixture(scope="module")
def dataset(run: Run) -> TranslationDataset:
    found = TASK.load(run.recipe, tiny.Quiet().stage)
    assert isinstance(found, TranslationDataset)
    return found


def nobody(manifest: Plain, files: Any) -> Any:
    raise AssertionError("nobody is asked")


def taught(run: Run, lesson: Lesson) -> tuple[str, dict[str, str]]:
    learned = TASK.taught(run, lesson, nobody, Budget())
    sources, targets = synthetic.read(learned.key)
    assert learned.findings or lesson.key
    return learned.key, dict(zip(sources, targets, strict=True))


def test_every_training_source_gets_the_teacher_s_answer(
    run: Run, dataset: TranslationDataset
) -> None:
    knows = Knows()
    key, found = taught(run, Lesson("runs/t", knows))
    assert set(found) == set(dataset.train.sources)
    assert set(knows.asked) == set(dataset.train.sources)
    assert knows.options[0] == {"beam": 1, "nbest": 1}
    for one, other in zip(dataset.train.sources, dataset.train.targets, strict=True):
        assert found[one] in (other.upper(), other)
    # Once recorded it is looked up.
    again = Knows()
    assert taught(run, Lesson("runs/t", again, key=key))[0] == key
    assert not again.asked


def test_of_several_answers_the_closest_can_be_taken(run: Run, dataset: TranslationDataset) -> None:
    lower = {target: target.lower() for target in dataset.train.targets}
    wished = replace(Lesson("t", Knows()), beam=2, pick="closest")
    _, found = taught(run, wished)
    some = next(i for i, text in enumerate(dataset.train.targets) if "dog" not in text)
    target = dataset.train.targets[some]
    words = [len(set(target.split()) & set(one.split())) for one in (lower[target], target.upper())]
    if words[0] > words[1]:
        assert found[dataset.train.sources[some]] == lower[target]


def test_a_teacher_that_has_no_time_leaves_the_rest_as_it_is(
    run: Run, dataset: TranslationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "WINDOW", 10)
    knows = Knows()
    learned = TASK.taught(run, Lesson("t", knows), nobody, Budget(1e-9))
    assert len(knows.asked) == 10
    assert "were left for want of time" in learned.findings[0].message
    sources, targets = synthetic.read(learned.key)
    assert len(sources) == len(dataset.train)
    shouted = sum(target.isupper() for target in targets)
    assert 0 < shouted <= 10


def test_unlabelled_sentences_are_more_to_learn_from(
    run: Run, dataset: TranslationDataset, tmp_path: Path
) -> None:
    file = tmp_path / "more.en"
    held, known = next(iter(dataset.held_sources())), dataset.train.sources[0]
    fresh = ["red red red red red", "two two two two", "blue blue cat"]
    file.write_text(
        "\n".join([*fresh, fresh[0], "blue  blue\u00a0cat", "", held.upper(), known]) + "\n",
        "utf-8",
    )
    lesson = Lesson("t", Knows(), train=False, unlabelled=str(file))
    _, found = taught(run, lesson)
    assert found == {fresh[0]: "ROT ROT ROT ROT ROT", fresh[2]: "BLAU BLAU KATZE"}
    _, both = taught(run, replace(lesson, train=True))
    assert set(both) == {fresh[0], fresh[2], *dataset.train.sources}
    with pytest.raises(DataError, match=r"there is no file nothing\.en of unlabelled sentences"):
        taught(run, replace(lesson, unlabelled="nothing.en"))


# --- a file of outputs ---------------------------------------------------------------------------


def test_a_file_has_a_line_for_each_source_as_it_stood_in_the_data(tmp_path: Path) -> None:
    """Pairs that are left out for their own sake count as well: who translated the file did not
    know of them."""
    rows = [*pairs(), ("one red dog", ""), ("two", "zwei " * 40), pairs()[3]]
    data = tmp_path / "words.tsv"
    lines = ["en\tde", *("\t".join(pair) for pair in rows)]
    data.write_text("\n".join(lines) + "\n", "utf-8")
    outputs = tmp_path / "outputs.de"
    outputs.write_text("".join(f"{other.upper()}\n" for _, other in rows), "utf-8")
    recipe = tiny.recipe(data, steps=4)
    run = train(recipe=recipe, techniques=[f"distill:teacher={outputs},mix=1"], out=tmp_path / "s")
    (words,) = run.recipe.hooks
    key = plugins.technique(words).lesson  # type: ignore[attr-defined]  # it is that of distill
    sources, targets = synthetic.read(key)
    known = dict(pairs())
    assert len(sources) > 200
    assert all(target == known[one].upper() for one, target in zip(sources, targets, strict=True))
    (finding,) = [f for f in run.findings if f.kind == "distillation"]
    assert f"{len(sources)} of them new" in finding.message
    outputs.write_text("".join(f"{other}\n" for _, other in rows[1:]), "utf-8")
    with pytest.raises(DataError, match=rf"for {len(rows) - 1} sources .* has {len(rows)}: line n"):
        train(recipe=recipe, techniques=[f"distill:teacher={outputs}"], out=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_file_answers_nothing_new(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a file of outputs answers nothing new"):
        taught(run, Lesson("f", file=tmp_path / "f", unlabelled="more"))


def test_a_teacher_that_writes_otherwise_is_noticed(run: Run) -> None:
    with pytest.raises(UserError, match="writes something else than when this recipe was recorded"):
        taught(run, Lesson("t", Knows(), key="3-abc"))


# --- the feed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False])
def test_answers_stand_behind_the_pairs_or_in_their_place(
    alone: bool, run: Run, dataset: TranslationDataset
) -> None:
    key, found = taught(run, Lesson("runs/t", Knows()))
    feed = TASK.feed(dataset.train, dataset.facts, "cpu")
    joined = TASK.learning(feed, key, alone)
    assert isinstance(joined, TranslationFeed)
    assert len(joined) == len(found) + (0 if alone else len(feed))
    last = joined.examples.tokenizer
    assert last is not None
    batch = joined.batch(torch.tensor([len(joined) - 1]))
    assert last.decode([p for p in batch.targets[0].tolist() if p > 3]) == list(found.values())[-1]
    # A feed whose words are segmented anew goes on so.
    options = {**TASK.augment_options(), "bpe_dropout": 0.1}
    dropped = TASK.learning(TASK.augmented(feed, options, KeyedDraws), key, alone)
    assert isinstance(dropped, TranslationFeed)
    assert dropped._dropout == 0.1 and dropped._draws is KeyedDraws


# --- teachers that do not fit --------------------------------------------------------------------


def test_a_teacher_of_other_languages_is_refused_and_one_of_other_pieces_rates_none(
    run: Run, dataset: TranslationDataset
) -> None:
    assert teaching.unlike(FACTS, dataset.files, run) == ""
    assert "has other pieces" in teaching.unlike(FACTS, {}, run)
    with pytest.raises(UserError, match="translates de into en, the student is to translate en"):
        teaching.unlike({"source": "de", "target": "en"}, dataset.files, run)
