"""outputs: what another translator wrote for the training sources, in a file.

A line for each source, in their order; several answers to one, with or without scores, stand in
columns divided by tabs as `predict --nbest` writes them, or as Moses does: `0 ||| text ||| score`,
the number of the source first, the last column its score, the higher the better.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.data.names import counted, printable
from shoestring.tasks.translation.reading import text

_MOSES = " ||| "


def read(path: Path, count: int, of: str) -> list[list[str]]:
    """(count rows) of answers, best first. DataError where there are not so many; `of` says what
    they should be answers to."""
    lines = text.lines(path, text.Broken(path, stop=True))
    first = next((line for line in lines if line.strip()), "")
    if first.count(_MOSES) >= 1 and first.partition(_MOSES)[0].strip().isdigit():
        rows = _moses(path, lines)
    else:
        rows = [_columns(line) for line in lines]
    if len(rows) != count:
        raise DataError(
            f"{printable(str(path))} has outputs for {counted(len(rows), 'source')} and {of} has "
            f"{count:,}: line n is what the teacher wrote for source n, an empty line where it "
            "wrote nothing"
        )
    return rows


def _moses(path: Path, lines: Sequence[str]) -> list[list[str]]:
    found: dict[int, list[tuple[float, str]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place, *columns = [column.strip() for column in line.split(_MOSES.strip())]
        where = f"{printable(str(path))}, line {number:,}"
        if not place.isdigit() or not columns:
            raise DataError(f"{where}: an n-best list has lines of NUMBER ||| TEXT ||| SCORE")
        score = _score(columns[-1].split()[-1:]) if len(columns) > 1 else 0.0
        if score is None:
            raise DataError(f"{where}: {printable(columns[-1])!r} is no score")
        found.setdefault(int(place), []).append((score, columns[0]))
    last = max(found, default=-1)
    # Stable: of equal scores, and where there are none, the first stays first.
    ranked = {i: sorted(rows, key=lambda row: -row[0]) for i, rows in found.items()}
    return [[answer for _, answer in ranked.get(i, [])] for i in range(last + 1)]


def _columns(line: str) -> list[str]:
    """The answers of a line; every second column is a score where all of these are numbers."""
    columns = line.split("\t")
    scores = [_score([column]) for column in columns[1::2]]
    if len(columns) % 2 == 0 and all(score is not None for score in scores):
        ranked = sorted(zip(scores, columns[::2], strict=True), key=lambda row: -(row[0] or 0.0))
        return [answer for _, answer in ranked]
    return columns


def _score(words: Sequence[str]) -> float | None:
    try:
        return float(words[0])
    except (ValueError, IndexError):
        return None


def closest(answers: Sequence[str], reference: str) -> str:
    """The answer of the highest sentence BLEU, as interpolation at the sequence level takes it
    (Kim & Rush 2016, section 3.3); of equal ones the first."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    scores = [metric.sentence_score(answer, [reference]).score for answer in answers]
    return answers[scores.index(max(scores))]
