"""overfitting: writes the figures of overfitting.md: 500 digits, learnt by heart, and what helps.

    python docs/handbook/overfitting.py        # about 20 minutes on one core

Fits are kept in --folder, so that one that was stopped goes on. Every number of the page comes from
here; its words do not change.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shoestring
from shoestring.autopilot.ablation import PLAN, Ablation
from shoestring.core.run import Run
from shoestring.report import plot
from shoestring.report.words import gain

HERE = Path(__file__).resolve().parent
PAGE, PICTURE = HERE / "overfitting.md", HERE / "overfitting.svg"
SOURCE, A_CLASS, STEPS, SEEDS = "mnist", 50, 400, 3
REMEDIES = (
    "augment",
    "regularize:l1=0.001",
    "regularize:l2=0.05",
    "regularize:dropout=0.3",
    "regularize:label_smoothing=0.2",
    "early_stop",
    "average",
)
Blocks = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the figures of overfitting.md.")
    parser.add_argument("--folder", type=Path, default=Path("runs/handbook"))
    parser.add_argument("--threads", type=int, default=1, help="of each fit")
    given = parser.parse_args()
    bare = [_trained(given, A_CLASS, seed) for seed in range(SEEDS)]
    blocks = _by_heart(bare[0]) | _remedies(given) | _more(given, bare) | _ensemble(given, bare)
    text = PAGE.read_text(encoding="utf-8")
    for name, block in blocks.items():
        marks = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{marks[0]}.*?{marks[1]}", re.DOTALL)
        text, count = pattern.subn(lambda _, b=block, m=marks: f"{m[0]}\n{b}\n{m[1]}", text)  # type: ignore[misc]
        assert count == 1, name
    PAGE.write_text(text, encoding="utf-8")


def _trained(given: Any, a_class: int, seed: int) -> Run:
    """The bare recipe on so many digits of each class."""
    out = given.folder / f"bare-{a_class}-{seed}"
    if (out / "run.json").is_file():
        return _read(out)
    shutil.rmtree(out, ignore_errors=True)
    return shoestring.train(
        SOURCE,
        without=["augment"],
        steps=STEPS,
        seed=seed,
        options={"per_class": a_class},
        threads=given.threads,
        out=out,
    )


def _read(path: Path) -> Run:
    from shoestring.engine import store

    return store.read(path)


def _by_heart(run: Run) -> Blocks:
    """Quality on training and on validation pictures, and both over the fit."""
    fitness = shoestring.diagnose(run.path).fitness
    assert fitness is not None
    rows = [
        "| | pictures | accuracy | loss |",
        "|---|---|---|---|",
        *(
            f"| {one.split} | {one.examples:,} | {one.quality:.2%} | {one.loss:.4f} |"
            for one in (fitness.training, fitness.validation)
        ),
    ]
    epochs = [float(point["epoch"]) for point in run.curve]
    lines = [
        plot.Line("training", epochs, [100 * float(p["train_accuracy"]) for p in run.curve]),
        plot.Line("validation", epochs, [100 * float(p["quality"]) for p in run.curve]),
    ]
    marks = [(x, f"{x:.0f}") for x in epochs[:: max(1, len(epochs) // 6)]]
    picture = plot.Plot("500 digits, learnt by heart", "epochs", "accuracy", lines, marks, "%")
    PICTURE.write_text(plot.svg(picture), encoding="utf-8")
    said = f"`shoestring diagnose`: {fitness.sentence}. {_gap(fitness.gap)}"
    return {"by heart": "\n".join([*rows, "", said])}


def _gap(interval: Any) -> str:
    return f"The gap: {gain(interval, 'accuracy')} (95% interval)."


def _remedies(given: Any) -> Blocks:
    path = given.folder / "remedies"
    if (path / PLAN).is_file():
        found = shoestring.ablate(out=path, resume=True)
    else:
        found = shoestring.ablate(
            SOURCE,
            techniques=REMEDIES,
            without=["augment"],
            steps=STEPS,
            seeds=SEEDS,
            options={"per_class": A_CLASS},
            threads=given.threads,
            out=path,
        )
    return {"remedies": _table(found)}


def _table(found: Ablation) -> str:
    rows = ["| technique | gain | on corrupted pictures | seconds more | verdict |"]
    rows.append("|---|---|---|---|---|")
    for line in found.lines:
        if line.kind in ("alone", "together"):
            told = ["-" if g is None else gain(g, found.metric) for g in (line.gain, line.shifted)]
            name = f"`{line.technique}`" if line.kind == "alone" else "all of them"
            rows.append(
                f"| {name} | {' | '.join(told)} | {line.more_seconds:+.1f} | "
                f"{line.statement or line.reason} |"
            )
    base = next(one for one in found.results if not one.techniques)
    qualities = ", ".join(f"{quality:.2%}" for quality in base.qualities)
    told = f"Without any of them, seed by seed: {qualities}, of {found.examples:,} pictures."
    return "\n".join([*rows, "", told])


def _more(given: Any, bare: Sequence[Run]) -> Blocks:
    """What twice the digits were said to buy, and what they bought."""
    kept = given.folder / "more.json"
    if not kept.is_file():
        options = {"per_class": A_CLASS}
        found = shoestring.diagnose(
            SOURCE,
            labels=False,
            more_data=True,
            budget="3m",
            without=["augment"],
            options=options,
            threads=given.threads,
        )
        assert found.more_data is not None
        kept.write_text(json.dumps(found.more_data.sentence), encoding="utf-8")
    twice = [_trained(given, 2 * A_CLASS, seed) for seed in range(SEEDS)]
    rows = ["| digits | accuracy, seed by seed |", "|---|---|"]
    for count, runs in ((10 * A_CLASS, bare), (20 * A_CLASS, twice)):
        rows.append(f"| {count:,} | {', '.join(f'{_quality(run):.2%}' for run in runs)} |")
    said = json.loads(kept.read_text(encoding="utf-8"))
    return {"more": "\n".join([f"`shoestring diagnose`: {said}.", "", *rows])}


def _quality(run: Run) -> float:
    assert run.scores is not None
    return run.scores.quality


def _ensemble(given: Any, bare: Sequence[Run]) -> Blocks:
    out = given.folder / "ensemble"
    if not (out / "run.json").is_file():
        shutil.rmtree(out, ignore_errors=True)
        shoestring.apply("ensemble:vote=soft", *(run.path for run in bare), out=out)
    run = _read(out)
    line = next(r for r in reversed(run.receipts) if r.technique.startswith("ensemble"))
    told = "not measured" if line.gain is None else gain(line.gain, "accuracy")
    rows = [
        "| | accuracy | gain over the first | verdict |",
        "|---|---|---|---|",
        *(f"| seed {i} | {_quality(one):.2%} | | |" for i, one in enumerate(bare)),
        f"| the three together | {_quality(run):.2%} | {told} | {line.verdict} |",
    ]
    return {"ensemble": "\n".join(rows)}


if __name__ == "__main__":
    main()
