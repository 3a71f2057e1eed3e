"""teaching: pairs to learn from whose targets a teacher wrote, or a file of its outputs.

Source: Kim & Rush 2016, "Sequence-level knowledge distillation".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.protocols import Predictor, silent
from shoestring.core.receipt import Finding, Plain
from shoestring.core.run import Run
from shoestring.core.teaching import Learned, Lesson
from shoestring.data.names import counted, printable
from shoestring.tasks.translation import data, languages, outputs, synthetic
from shoestring.tasks.translation.asked import sentence
from shoestring.tasks.translation.data import TranslationDataset
from shoestring.tasks.translation.options import TranslationOptions
from shoestring.tasks.translation.reading import text

SHARE = 0.25  # of the seconds left, at most, for what the teacher writes
WINDOW = 512  # sentences between two looks at the clock
TOKENIZER = "tokenizer.model"

# Sentences, and of how many answers each, to the answers, best first.
Writes = Callable[[Sequence[str], int], Iterable[Sequence[str]]]


def unlike(facts: Plain, files: Mapping[str, bytes], run: Run) -> str:
    ours = str(run.facts["source"]), str(run.facts["target"])
    theirs = str(facts.get("source")), str(facts.get("target"))
    if not all(languages.matches(a, b) for a, b in zip(theirs, ours, strict=True)):
        raise UserError(
            f"the teacher translates {theirs[0]} into {theirs[1]}, the student is to translate "
            f"{ours[0]} into {ours[1]}"
        )
    dataset = data.load(run.recipe.source, TranslationOptions(**run.recipe.options), silent)
    if files.get(TOKENIZER) == dataset.files[TOKENIZER]:
        return ""
    return "the teacher has other pieces, so that it cannot rate those of the student"


def taught(
    run: Run,
    lesson: Lesson,
    assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
    budget: Budget,
) -> Learned:
    """The key of the pairs that a lesson gives: every training source with the teacher's answer
    (its own target where the seconds did not last, or the teacher wrote nothing), and unlabelled
    sentences with theirs, but for those that stand in validation or test."""
    if lesson.key and synthetic.there(lesson.key):
        return Learned(lesson.key)
    said = TranslationOptions(**run.recipe.options)
    dataset = data.load(run.recipe.source, said, silent)
    if lesson.file is not None:
        if lesson.unlabelled:
            raise UserError(
                "a file of outputs answers nothing new; name a run or a bundle as the teacher of "
                "unlabelled sentences"
            )
        found = _of_file(lesson.file, lesson, run.recipe.source, said, dataset)
    elif lesson.train or lesson.unlabelled:
        found = _written(lesson, said, dataset, _writer(lesson, dataset, assembled), budget)
    else:
        return Learned("")
    if lesson.key and found.key != lesson.key:
        raise UserError(
            f"the teacher {lesson.teacher} writes something else than when this recipe was "
            f"recorded ({found.key}, then {lesson.key}); put it back, or leave out "
            f"lesson={lesson.key}"
        )
    return found


def _writer(
    lesson: Lesson,
    dataset: TranslationDataset,
    assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
) -> Writes:
    if lesson.opened is None:
        from shoestring.tasks.translation import elsewhere

        return elsewhere.writer(lesson.teacher, dataset.facts, lesson.beam, assembled)
    opened = lesson.opened

    def writes(lines: Sequence[str], count: int) -> Iterable[Sequence[str]]:
        for answer in opened.answers(lines, {"beam": max(lesson.beam, count), "nbest": count}):
            yield [found["text"] for found in answer.get("translations", ())]

    return writes


def _written(
    lesson: Lesson,
    said: TranslationOptions,
    dataset: TranslationDataset,
    writes: Writes,
    budget: Budget,
) -> Learned:
    train = dataset.train
    asked = list(dict.fromkeys(train.sources)) if lesson.train else []
    more, left_out = _unlabelled(lesson.unlabelled, dataset, said.longest_characters)
    lines = [*more, *asked]
    lines.sort(key=lambda line: hashlib.blake2b(line.encode(), digest_size=8).digest())
    deadline = float("inf") if lesson.key else SHARE * budget.remaining()
    began, answers = budget.elapsed(), dict[str, Sequence[str]]()
    count = lesson.beam if lesson.pick == "closest" else 1
    for first in range(0, len(lines), WINDOW):
        if first and budget.elapsed() - began > deadline:
            break
        window = lines[first : first + WINDOW]
        answers.update(zip(window, writes(window, count), strict=True))
    fresh = set(more)
    sources, targets = list[str](), list[str]()
    if lesson.train:
        sources, targets = _paired(lesson, dataset, answers)
    for line in more:
        found = answers.get(line, ())
        if found and found[0].strip():
            sources.append(line)
            targets.append(found[0].strip())
    if not sources:
        raise DataError(f"the teacher {lesson.teacher} has nothing to translate, or wrote nothing")
    words = f"{counted(len(answers), 'sentence')} translated by {printable(lesson.teacher)} to "
    words += "learn from"
    if fresh:
        words += f", {len(fresh & answers.keys()):,} of {printable(lesson.unlabelled)}"
    if len(answers) < len(lines):
        words += f"; {len(lines) - len(answers):,} of {len(lines):,} were left for want of time"
    if left_out:
        words += f"; {left_out:,} that stand in the data, or are too long, were left out"
    finding = Finding("distillation", len(answers), words, dropped=left_out)
    return Learned(synthetic.kept(sources, targets), (finding,))


def _unlabelled(name: str, dataset: TranslationDataset, longest: int) -> tuple[list[str], int]:
    """Sentences of a file, each once, and how many were left out."""
    if not name:
        return [], 0
    path = Path(name).expanduser()
    if not path.is_file():
        raise DataError(f"there is no file {printable(name)} of unlabelled sentences")
    read = text.lines(path, text.Broken(path, stop=True))
    unlike = dict.fromkeys(map(sentence, read))
    unlike.pop("", None)
    held = {_folded(source) for source in dataset.held_sources()}
    held |= {_folded(source) for source in dataset.train.sources}
    fit = [line for line in unlike if len(line) <= longest and _folded(line) not in held]
    return fit, len(unlike) - len(fit)


def _folded(line: str) -> str:
    """What two spellings of one sentence share."""
    return " ".join(line.casefold().split())


def _paired(
    lesson: Lesson, dataset: TranslationDataset, answers: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Every training source with the answer that is learned from. Of pairs that share source and
    answer one stays."""
    train = dataset.train
    found: dict[tuple[str, str], None] = {}
    for source, target in zip(train.sources, train.targets, strict=True):
        written = [one.strip() for one in answers.get(source, ()) if one.strip()]
        if len(written) > 1 and lesson.pick == "closest":
            written = [outputs.closest(written, target)]
        found[source, written[0] if written else target] = None
    return [source for source, _ in found], [target for _, target in found]


def _of_file(
    file: Path, lesson: Lesson, source: str, said: TranslationOptions, dataset: TranslationDataset
) -> Learned:
    rows = data.training_sources(dataset, source, said)
    every = outputs.read(file, len(rows), f"what is trained on in {printable(source)}")
    answers: dict[str, Sequence[str]] = {}
    for source, found in zip(rows, every, strict=True):
        answers.setdefault(source, found)
    sources, targets = _paired(lesson, dataset, answers)
    own = set(zip(dataset.train.sources, dataset.train.targets, strict=True))
    new = sum(pair not in own for pair in zip(sources, targets, strict=True))
    words = f"{counted(len(sources), 'pair')} with the outputs of {printable(str(file))}"
    finding = Finding("distillation", len(sources), f"{words}, {new:,} of them new")
    return Learned(synthetic.kept(sources, targets), (finding,))
