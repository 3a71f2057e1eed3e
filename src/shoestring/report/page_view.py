"""page_view: one receipt as the values that the page's template shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.core.exhibits import Chart, Line
from shoestring.core.plain import from_plain
from shoestring.core.protocols import silent
from shoestring.core.receipt import Finding, Interval, Plain, Scores
from shoestring.data.names import counted
from shoestring.engine import store
from shoestring.report import front, lineage, page_front, page_trials
from shoestring.report.again import commands
from shoestring.report.lines import minute, reasons
from shoestring.report.page_answers import Shown, answers, shown
from shoestring.report.page_budget import Timeline, timeline
from shoestring.report.page_charts import Figure, figure
from shoestring.report.page_lines import Item, items
from shoestring.report.sheet import Sheet
from shoestring.report.tables import interval_words, score_rows
from shoestring.report.words import (
    all_visible,
    count,
    duration,
    harmless,
    is_share,
    milliseconds,
    short,
)
from shoestring.report.words import quality as quality_words
from shoestring.report.words import size as size_words


@dataclass(frozen=True)
class Card:
    """A figure at the head of the page."""

    name: str
    value: str
    note: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Choice:
    """A decision of a build."""

    at: str
    what: str
    chosen: str
    why: str
    expected: str
    got: str


@dataclass(frozen=True)
class Branch:
    """A run of a lineage, and those it was made from."""

    path: str
    made: str
    figures: str
    parents: tuple[Branch, ...]


@dataclass(frozen=True)
class View:
    """Everything that stands on the page of one receipt."""

    anchor: str
    path: str
    subtitle: str
    cards: tuple[Card, ...]
    items: tuple[Item, ...]
    reasons: tuple[tuple[str, str, str], ...]
    budget: Timeline | None
    choices: tuple[Choice, ...]
    lineage: Branch | None
    curves: tuple[Figure, ...]
    front: tuple[Figure, ...]
    front_rows: tuple[tuple[str, ...], ...]
    front_columns: tuple[str, ...]
    scores: tuple[tuple[str, str, str], ...]
    scores_of: str
    signature: str
    trials: tuple[Shown, ...]
    exhibits: tuple[Shown, ...]
    missing: str
    findings: tuple[Finding, ...]
    looks: tuple[tuple[str, str, str], ...]
    command: str
    recipe: str
    environment: tuple[tuple[str, str], ...]


def view(sheet: Sheet, folder: Path, number: int) -> View:
    """The receipt in a folder; `sheet` is what was read of it, made harmless."""
    scores = sheet.scores or Scores()
    found, missing = answers(folder, silent) if sheet.kind == "run" else ([], "")
    trials = [] if sheet.trials is None else map(shown, page_trials.exhibits(sheet.trials))
    points = [front.point(sheet), *front.ancestors(sheet.lineage), *_steps(sheet), *_tried(sheet)]
    points = points if len(points) > 1 else []
    return View(
        anchor=f"run-{number}",
        path=sheet.path,
        subtitle=_subtitle(sheet),
        cards=tuple(_cards(sheet)),
        items=tuple(items(sheet.lines)),
        reasons=tuple(reasons(sheet.lines)),
        budget=timeline(sheet) if sheet.kind == "run" else None,
        choices=tuple(
            Choice(duration(d.at_seconds), d.what, _spaced(d.chosen), d.why, d.expected, d.got)
            for d in sheet.decisions
        ),
        lineage=_branch(sheet.lineage) if sheet.lineage else None,
        curves=tuple(_curves(sheet)),
        front=tuple(page_front.pictures(points, scores.metric, front.limits([sheet]))),
        front_rows=tuple(tuple(row) for row in page_front.table(points, scores.metric)),
        front_columns=page_front.COLUMNS,
        scores=tuple(score_rows(scores)),
        scores_of=_scores_of(scores),
        signature=scores.signature.replace("|", ", "),
        trials=tuple(one for one in trials if one is not None),
        exhibits=tuple(found),
        missing=harmless(missing),
        findings=sheet.findings,
        looks=tuple(_looks(sheet.looks)),
        command=commands(sheet),
        recipe=_recipe(folder) if sheet.kind == "run" else "",
        environment=tuple(
            (name.replace("_", " "), str(value)) for name, value in sheet.environment.items()
        ),
    )


def _spaced(words: str) -> str:
    """Options of a network with room after each, where a narrow line may end."""
    return re.sub(r",(?=[a-z_]+=)", ", ", words)


def _subtitle(sheet: Sheet) -> str:
    recipe, scores = sheet.recipe, sheet.scores or Scores()
    said = [sheet.task, "" if recipe is None else recipe.source]
    said.append(f"{sheet.network} network" if sheet.network else "")
    said.append(counted(scores.parameters, "parameter") if scores.parameters else "")
    if recipe is not None:
        said += [f"seed {recipe.seed}", recipe.precision or ""]
        if recipe.total_steps is not None:
            said.append(f"{counted(recipe.total_steps, 'step')} of {recipe.batch_size}")
    return ", ".join(filter(None, said))


def _cards(sheet: Sheet) -> list[Card]:
    """The four figures that everybody asks for first."""
    scores, found = sheet.scores or Scores(), list[Card]()
    limit = front.limits([sheet])
    if scores.quality is not None:
        bounds = scores.interval
        note = "" if bounds is None else interval_words(bounds, scores.metric)
        on = f" on {scores.split}" if scores.split else ""
        value = quality_words(scores.quality, scores.metric)
        if limit.quality is not None:
            least = f"at least {short(quality_words(limit.quality, scores.metric))} asked"
            note = "; ".join(filter(None, (least, note)))
        missed = limit.quality is not None and scores.quality < limit.quality
        found.append(Card(f"{scores.metric}{on}", value, note, missed))
    if scores.size_bytes is not None:
        most = limit.size_bytes
        note = "" if scores.model_bytes is None else f"{size_words(scores.model_bytes)} the model"
        note = note if most is None else f"at most {short(size_words(most))} asked"
        missed = most is not None and scores.size_bytes > most
        found.append(Card("size", size_words(scores.size_bytes), note, missed))
    for name, timing in list(scores.latency_ms.items())[:1]:
        took, most = float(timing["median"]), limit.latency_ms
        note = f"p95 {milliseconds(float(timing['p95']))}" if "p95" in timing else ""
        note = note if most is None else f"at most {short(milliseconds(most))} asked"
        missed = most is not None and took > most
        found.append(Card(f"latency, {name}", milliseconds(took), note, missed))
    if sheet.kind == "run":
        asked, used = sheet.asked_seconds, sheet.used_seconds
        note = "no budget asked" if asked is None else f"of {duration(asked)} asked"
        found.append(Card("time used", duration(used), note, asked is not None and used > asked))
    return found


def _branch(plain: Plain) -> Branch:
    return Branch(
        str(plain["path"]),
        str(plain["technique"]).replace(",", ", "),
        ", ".join(lineage.figures(plain)),
        tuple(_branch(parent) for parent in plain["parents"]),
    )


def _steps(sheet: Sheet) -> list[front.Point]:
    """What techniques found before them, where no run of the lineage tells it."""
    if sheet.lineage or sheet.decisions:
        return []
    return [
        front.Point(f"before {line.technique.partition(':')[0]}", before.quality, before.interval,
                    before.size_bytes, _median(before))
        for line in sheet.lines
        if (before := line.before) is not None and before != line.after
    ]  # fmt: skip


def _tried(sheet: Sheet) -> list[front.Point]:
    """What other steps of a build came to."""
    names = {decision.what for decision in sheet.decisions}
    known = {branch.name for branch in front.ancestors(sheet.lineage)}
    return [
        front.Point(line.technique, after.quality, after.interval, after.size_bytes, _median(after),
                    line.cost.wall_seconds, str(line.options.get("words", "")))
        for line in sheet.lines
        if line.technique in names and (after := line.after) is not None
        and line.technique not in known and line.status == "applied" and after != sheet.scores
    ]  # fmt: skip


def _median(scores: Scores) -> float | None:
    found = scores.latency_ms.get("model")
    return None if not found else float(found["median"])


def _curves(sheet: Sheet) -> list[Figure]:
    """Losses, and the quality, over the steps of the fit, with the changes of its plan."""
    lines = sheet.curve
    if not lines:
        return []
    metric = sheet.scores.metric if sheet.scores is not None else "quality"
    plan = sheet.recipe.plan[1:] if sheet.recipe is not None and not sheet.lineage else ()
    marks = [(float(change.at_step), _reason(change.reason, change.total_steps)) for change in plan]
    losses = Chart(
        "Loss",
        "step",
        "loss",
        (
            Line("training", *_points(lines, "train_loss"), dashed=True),
            Line("validation", *_points(lines, "validation_loss")),
        ),
        x_from_zero=True,
        y_from_zero=False,
    )
    qualities = Chart(
        f"{metric[:1].upper()}{metric[1:]} in the fit",
        "step",
        f"{metric} on validation",
        (Line(metric, *_points(lines, "quality")),),
        y_share=is_share(metric),
        x_from_zero=True,
        y_from_zero=False,
    )
    drawn = [figure(chart, marks) for chart in (losses, qualities)]
    found = [one for one in drawn if one is not None]
    return [*found[:1], *(replace(one, note="") for one in found[1:])]  # they are the same marks


def _points(lines: Sequence[Plain], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the lines that hold numbers of both."""
    pairs: list[tuple[Any, Any]] = [(line.get("step"), line.get(name)) for line in lines]
    whole = [pair for pair in pairs if all(isinstance(value, (int, float)) for value in pair)]
    return [float(x) for x, _ in whole], [float(y) for _, y in whole]


def _reason(reason: str, total: int) -> str:
    return f"{reason}, now {count(total)} steps"


def _scores_of(scores: Scores) -> str:
    examples = counted(scores.examples, "example") if scores.examples else ""
    where = f"measured on the {scores.where}" if scores.where else ""
    return ", ".join(filter(None, (scores.split, examples, where)))


def _looks(looks: Sequence[Plain]) -> list[tuple[str, str, str]]:
    found = []
    for look in all_visible(tuple(looks)):
        metric, value = str(look.get("metric", "")), look.get("quality")
        result = "" if value is None else f"{metric} {quality_words(float(value), metric)}"
        if look.get("interval") is not None:
            bounds = from_plain(Interval, look["interval"])
            result += f", {interval_words(bounds, metric)}"
        found.append((minute(str(look.get("at", ""))), str(look.get("source", "")), result))
    return found


def _recipe(folder: Path) -> str:
    """The recipe as the file has it, line by line harmless."""
    try:
        text = (folder / store.RECIPE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(map(harmless, text.splitlines()))
