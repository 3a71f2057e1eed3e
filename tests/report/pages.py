"""pages: run folders for the tests of what draws them, with names and words that mean harm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from shoestring import plugins
from shoestring.bundle.grade import write_outcomes
from shoestring.core.listener import Quiet
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Finding, Interval, Plain, Receipt
from shoestring.core.run import PlanChange, Recipe, Run
from shoestring.engine import store
from tests import tiny
from tests.report.sheets import FINDINGS, RECEIPTS, SCORES

HARM = "<script>alert('x')</script>\"'>&amp;"
CURVE = tuple(
    {"step": step, "epoch": step / 400, "train_loss": 900 / step, "validation_loss": 800 / step,
     "quality": 1 - 20 / step}
    for step in range(200, 2001, 200)
)  # fmt: skip


def lineage(path: str, *parents: Plain, **changes: object) -> Plain:
    """A branch of a lineage."""
    figures = {"quality": 0.99, "size_bytes": 400_000, "latency_ms": {"median": 0.04, "p95": 0.05}}
    made = {"technique": "train", "network": "compact", "metric": "accuracy", "seconds": 60.0}
    return {"path": path, **figures, **made, "parents": list(parents), **changes}


def write(folder: Path, source: Path, **changes: object) -> Path:
    """A finished run of pictures: its receipt, and answers to its validation split of which some
    are wrong. It has no bundle."""
    folder.mkdir(parents=True)
    recipe = replace(tiny.recipe(source), budget_seconds=60.0, plan=_PLAN)
    task = plugins.task(recipe.task)
    dataset = task.load(recipe, Quiet().stage)
    labels = [HARM, "b", "c"]
    run = Run(
        Path("."),
        recipe.task,
        recipe,
        architecture={"kind": "compact"},
        facts={**dataset.facts, "labels": labels},
        scores=SCORES,
        curve=CURVE,
        receipts=(Receipt(f"augment:{HARM}", reason=HARM), *RECEIPTS),
        findings=(Finding("leak", 2, HARM, (HARM,)), *FINDINGS),
        environment={"processor": HARM},
    )
    run = replace(run, **changes)  # type: ignore[arg-type]
    (folder / store.RUN).write_text(json.dumps(to_plain(run)), encoding="utf-8")
    (folder / store.RECIPE).write_text(f'source = "{HARM}"\n', encoding="utf-8")
    truth = np.asarray(dataset.validation.labels)  # type: ignore[attr-defined]
    answers = np.where(np.arange(len(truth)) % 5 == 0, (truth + 1) % 3, truth)
    outcomes = {
        "hashes": np.asarray(dataset.validation.hashes),
        "labels": truth,
        "probabilities": np.eye(3, dtype=np.float32)[answers] * 0.8 + 0.2 / 3,
        "right": answers == truth,
    }
    write_outcomes(folder / store.OUTCOMES, outcomes)
    return folder


_PLAN = (PlanChange(0, 2400, "as asked"), PlanChange(800, 2000, "slower than planned"))


def sentences(folder: Path) -> Path:
    """A finished run of sentences, some of which are written from right to left, and some harm."""
    folder.mkdir(parents=True)
    source = folder / "pairs.tsv"
    words = [f"number {n} {'dog ' * (n % 9)}" for n in range(60)]
    pairs = [(f"{text}a", f"{text}b") for text in words] + [(HARM, HARM), ("שלום עולם", "مرحبا")]
    source.write_text("en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    task = plugins.task_for(str(source))
    recipe = Recipe(task.name, str(source), options=to_plain(task.options()))
    dataset = task.load(recipe, Quiet().stage)
    from shoestring.tasks.translation.scores import sentence_statistics

    references = task.truths(dataset.validation, dataset.facts)
    hypotheses = [HARM if n == 0 else text for n, text in enumerate(references)]
    outcomes = {
        "hashes": np.asarray(dataset.validation.hashes),
        "hypotheses": np.array(hypotheses, np.str_),
        **sentence_statistics(hypotheses, list(references), dataset.facts),
    }
    bounds = Interval(38.1, 36.9, 39.4, method="bootstrap")
    scores = replace(SCORES, quality=38.1, metric="BLEU", interval=bounds, details={})
    run = Run(Path("."), task.name, recipe, facts=dataset.facts, scores=scores, curve=CURVE)
    (folder / store.RUN).write_text(json.dumps(to_plain(run)), encoding="utf-8")
    write_outcomes(folder / store.OUTCOMES, outcomes)
    return folder
