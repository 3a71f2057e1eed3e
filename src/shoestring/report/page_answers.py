"""page_answers: what a run answered to its validation split, as its task wants it shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle.grade import read_outcomes
from shoestring.core.errors import UserError
from shoestring.core.exhibits import (
    Chart,
    Exhibit,
    Gallery,
    Matrix,
    Passage,
    Passages,
    Picture,
    Table,
)
from shoestring.core.protocols import Examples, Outcomes, Progress
from shoestring.engine import store
from shoestring.report.page_charts import Figure, figure
from shoestring.report.words import count, harmless, quality, visible

DAMAGED = (KeyError, IndexError, ValueError, TypeError)  # of arrays that are not what they were


@dataclass(frozen=True)
class Shown:
    """An exhibit as the page's template takes it; `kind` says which of its macros draws it."""

    kind: str
    title: str
    note: str
    content: Any


def answers(folder: Path, progress: Progress) -> tuple[list[Shown], str]:
    """What the task of a finished run shows, and why there is less of it than there could be."""
    if not (folder / store.OUTCOMES).is_file():
        return [], "The run's folder holds no answers to show."
    run = store.read(folder)
    task, missing = plugins.task(run.task), []
    examples: Examples | None = None
    try:
        outcomes: Outcomes = read_outcomes(folder / store.OUTCOMES)
        try:
            outcomes, examples = _aligned(outcomes, task.load(run.recipe, progress).validation)
        except (UserError, OSError) as error:
            missing.append(f"The data are not at hand, so no example is shown ({error}).")
        else:
            if examples is None:
                missing.append("The data have changed since the run, so no example is shown.")
        predictor = None
        try:
            predictor = bundles.load(folder).predictor
        except UserError as error:
            missing.append(f"The bundle cannot be opened ({error}).")
        found = task.exhibits(outcomes, run.facts, examples, predictor)
    except UserError as error:
        return [], f"The answers cannot be shown: {error}."
    except DAMAGED as error:
        return [], f"The answers in {store.OUTCOMES} are damaged ({type(error).__name__}: {error})."
    drawn = map(shown, found)
    return [one for one in drawn if one is not None], " ".join(missing)


def _aligned(outcomes: Outcomes, examples: Examples) -> tuple[Outcomes, Examples | None]:
    """Both in one order and of the same examples; None where some are not there any more."""
    import numpy as np

    hashes = outcomes["hashes"]
    if np.array_equal(hashes, examples.hashes):
        return outcomes, examples
    order = np.argsort(examples.hashes, kind="stable")
    found = np.searchsorted(examples.hashes[order], hashes)
    positions = order[np.minimum(found, len(order) - 1)] if len(order) else order
    if not len(order) or not np.array_equal(examples.hashes[positions], hashes):
        return outcomes, None
    rising, first = np.unique(positions, return_index=True)
    return {name: rows[first] for name, rows in outcomes.items()}, examples.part(rising)


def shown(exhibit: Exhibit) -> Shown | None:
    """An exhibit with its words made harmless and its pictures drawn; None where there is nothing
    to draw."""
    note = harmless(exhibit.note)
    title = visible(exhibit.title)
    if isinstance(exhibit, Table):
        rows = [
            [_cell(name, value) for name, value in zip(exhibit.columns, row, strict=True)]
            for row in exhibit.rows
        ]
        columns = [visible(name).replace("_", " ") for name in exhibit.columns]
        numbers = [
            all(not isinstance(row[at], str) for row in exhibit.rows) for at in range(len(columns))
        ]
        return Shown("table", title, note, {"columns": columns, "rows": rows, "numbers": numbers})
    if isinstance(exhibit, Matrix):
        return Shown("matrix", title, note, _matrix(exhibit))
    if isinstance(exhibit, Chart):
        drawn: Figure | None = figure(exhibit)
        return None if drawn is None else Shown("chart", title, note, drawn)
    if isinstance(exhibit, Gallery):
        return Shown("gallery", title, note, [_picture(one) for one in exhibit.pictures])
    assert isinstance(exhibit, Passages)
    return Shown("passages", title, note, [_passage(one) for one in exhibit.passages])


def _cell(name: str, value: str | int | float) -> str:
    if isinstance(value, float):
        return quality(value, name)
    return count(value) if isinstance(value, int) else visible(value)


def _matrix(exhibit: Matrix) -> dict[str, Any]:
    """Rows of (label, cells); a cell knows its shade."""
    labels = list(map(visible, exhibit.labels))
    wrong = [n for at, row in enumerate(exhibit.counts) for to, n in enumerate(row) if at != to]
    most = max(wrong, default=0)
    rows = [
        (label, _shades(row, place, most))
        for place, (label, row) in enumerate(zip(labels, exhibit.counts, strict=True))
    ]
    return {"labels": labels, "rows": rows}


def _shades(row: Sequence[int], diagonal: int, most_wrong: int) -> list[dict[str, Any]]:
    """Right answers by their share of the row, mistakes beside the most frequent one: among
    thousands of answers a few mistakes would not be seen."""
    of = [sum(row) if place == diagonal else most_wrong for place in range(len(row))]
    return [
        {
            "count": number,
            "shade": round((number / max(1, of[place])) ** 0.5, 3),
            "right": place == diagonal,
        }
        for place, number in enumerate(row)
    ]


def _picture(one: Picture) -> dict[str, Any]:
    width, height = _size(one.png)
    return {
        "source": "data:image/png;base64," + base64.b64encode(one.png).decode("ascii"),
        "caption": visible(one.caption),
        "said": harmless(one.description),
        "width": width,
        "height": height,
        "wide": one.wide,
    }


def _size(png: bytes) -> tuple[int, int]:
    """Width and height from the head of a PNG."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _passage(one: Passage) -> dict[str, Any]:
    return {
        "texts": [(name, harmless(text)) for name, text in one.texts],
        "picture": None if one.picture is None else _picture(one.picture),
    }
