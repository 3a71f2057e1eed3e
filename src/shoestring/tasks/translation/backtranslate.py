"""backtranslate: more pairs to learn from, whose sources a run of the other direction wrote.

Source: Sennrich et al. 2016, "Improving neural machine translation models with monolingual data".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring.core.budget import Budget
from shoestring.core.errors import DataError, UserError
from shoestring.core.protocols import Answering
from shoestring.core.receipt import Finding, Plain
from shoestring.data.names import counted, printable
from shoestring.tasks.translation import languages, synthetic
from shoestring.tasks.translation.data import TranslationDataset
from shoestring.tasks.translation.reading import text

SHARE = 0.25  # of the seconds left, at most, for translating
# Sentences between two looks at the clock: few at first, for how long they take is not known, then
# twice as many each time. Never by the clock: what is translated together is to come out alike.
FIRST_WINDOW, WINDOW = 16, 512
BEAM = 1  # greedy: as good to learn from as a beam, and several times quicker (Edunov et al. 2018)
RATIO, ROOM = 4, 20  # longer side over shorter in characters, and more: beyond it nothing fits


@dataclass(frozen=True)
class Made:
    """What came of it."""

    key: str  # of the pairs in the cache
    findings: tuple[Finding, ...]


def made(
    options: Plain,
    dataset: TranslationDataset,
    longest: int,
    open_bundle: Callable[[str], Answering],
    budget: Budget,
) -> Made:
    """Pairs for sentences of `monolingual` (a file of the target language, a sentence a line), or
    for the targets of train where none is given, translated by the run `back_translate`. Sentences
    that stand in validation or test are left out, and so are those longer than `longest`
    characters. Raises UserError where the run is of another direction."""
    words = str(options["back_translate"])
    asked: str | None = options["synthetic"]
    if asked is not None and synthetic.there(asked):
        return Made(asked, ())
    opened = open_bundle(words)
    _checked(words, opened.manifest, dataset.facts)
    lines, left_out = _lines(options["monolingual"], dataset, longest)
    if not lines:
        raise DataError(
            f"back_translate={words} has nothing to translate: all sentences were left out "
            f"({left_out:,} stand in validation or test, or are longer than {longest:,} characters)"
        )
    most = len(lines) if asked is None else int(asked.partition("-")[0])
    deadline = SHARE * budget.remaining() if asked is None else float("inf")
    sources, targets, seen = _translated(opened, lines, most, deadline, budget)
    key = synthetic.kept(sources, targets)
    if asked is not None and key != asked:
        raise UserError(
            f"back_translate={words} gives other sentences than when this recipe was recorded "
            f"({key}, then {asked}); put the run and its text back, or leave out synthetic={asked}"
        )
    return Made(key, _findings(words, options, len(sources), seen, len(lines), left_out))


def _checked(words: str, manifest: Plain, facts: Plain) -> None:
    """Raises UserError for a bundle that is not of the other direction."""
    one, other = str(facts["source"]), str(facts["target"])
    need = f"back-translation for {one} into {other} needs a run of {other} into {one}"
    if manifest["task"] != "translation":
        raise UserError(f"{words} is a bundle of {manifest['task']}; {need}")
    found = manifest["facts"]["source"], manifest["facts"]["target"]
    if not (languages.matches(found[0], other) and languages.matches(found[1], one)):
        raise UserError(
            f"{words} translates {found[0]} into {found[1]}; {need}: shoestring train DATA "
            f"--source {other} --target {one}"
        )


def _lines(name: Any, dataset: TranslationDataset, longest: int) -> tuple[list[str], int]:
    """Sentences to translate, each once, in an order that hangs on nothing but themselves, so
    that a part of them is a fair sample; and how many were left out."""
    if name is None:
        lines: Iterable[str] = dataset.train.targets
    else:
        if not Path(name).is_file():
            raise DataError(f"there is no file {printable(str(name))} of monolingual text")
        lines = text.lines(Path(name), text.Broken(Path(name), stop=True))
    unlike = dict.fromkeys(line.strip() for line in lines)
    unlike.pop("", None)
    held = {_folded(target) for target in dataset.held_targets()}
    fit = [line for line in unlike if len(line) <= longest and _folded(line) not in held]
    fit.sort(key=lambda line: hashlib.blake2b(line.encode(), digest_size=8).digest())
    return fit, len(unlike) - len(fit)


def _folded(line: str) -> str:
    """What two spellings of one sentence share."""
    return " ".join(line.casefold().split())


def _translated(
    opened: Answering, lines: Sequence[str], most: int, seconds: float, budget: Budget
) -> tuple[list[str], list[str], int]:
    """At most so many pairs within the seconds, and how many sentences were looked at for them."""
    began = budget.elapsed()
    sources, targets, seen, size = list[str](), list[str](), 0, FIRST_WINDOW
    while seen < len(lines) and len(sources) < most:
        spent = budget.elapsed() - began
        if seen and spent + size * spent / seen > seconds:
            break
        window = list(lines[seen : seen + size])
        size = min(2 * size, WINDOW)
        answers = opened.answers(window, {"beam": BEAM})
        for line, answer in zip(window, answers, strict=True):
            seen += 1
            found = answer["translations"][0]["text"].strip() if "error" not in answer else ""
            if found and _alike(len(found), len(line)) and len(sources) < most:
                sources.append(found)
                targets.append(line)
    return sources, targets, seen


def _alike(one: int, other: int) -> bool:
    return max(one, other) <= RATIO * min(one, other) + ROOM


def _findings(
    words: str, options: Plain, count: int, seen: int, total: int, left_out: int
) -> tuple[Finding, ...]:
    where = options["monolingual"] or "the targets of train"
    said = (
        f"{counted(count, 'pair')} to learn from {'was' if count == 1 else 'were'} made by "
        f"translating {printable(str(where))} with {printable(words)}"
    )
    if seen < total:
        said += f" ({total - seen:,} of {total:,} sentences were left for want of time)"
    if left_out:
        said += f"; {left_out:,} that stand in validation or test, or are too long, were left out"
    return (Finding("back-translation", count, said, dropped=left_out),)
