"""card: the model card, README.md of a bundle, from the same values as its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from shoestring import plugins
from shoestring.core.quantity import plain_quality
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe
from shoestring.data.names import code, printable

LONGEST_TABLE = 50  # rows; a longer one stands on the receipt alone
TRAINED = (  # fields of the recipe that say how the training went
    "network", "optimizer", "learning_rate", "weight_decay", "batch_size", "label_smoothing",
    "schedule", "precision", "seed",
)  # fmt: skip


def card(
    manifest: Plain,
    scores: Scores | None = None,
    recipe: Recipe | None = None,
    findings: Sequence[Finding] = (),
    test: Scores | None = None,
    decided: Sequence[str] = (),
) -> str:
    """Markdown: what it predicts, how well, how large and fast it is, where it may fail, from what
    and how it was made, and how to use it. `manifest` needs task and facts; what else is known is
    told as well: scores on a test split that was opened, what a build decided."""
    return "\n".join(_lines(manifest, scores, recipe, findings, test, decided)) + "\n"


def _lines(
    manifest: Plain,
    scores: Scores | None,
    recipe: Recipe | None,
    findings: Sequence[Finding],
    test: Scores | None,
    decided: Sequence[str],
) -> Iterator[str]:
    kind = manifest.get("network")
    network = f"a network of the kind `{kind}`" if kind else "a network"
    yield f"# A model for {manifest['task']}"
    yield ""
    yield f"Made with shoestring: {network} for the task `{manifest['task']}`."
    yield ""
    yield "## What it answers"
    yield ""
    said = plugins.task(manifest["task"]).describe(manifest["facts"])
    yield from said.answers
    yield ""
    if scores is not None and scores.quality is not None:
        yield "## How well, how large, how fast"
        yield ""
        yield from _scores(scores)
        if test is not None and test.quality is not None:
            yield f"- on the test split, opened once for this bundle: {_quality(test)}"
        yield ""
        yield from _tables(scores)
        yield "## Where to be careful"
        yield ""
        yield from _limits(scores, findings, test is not None)
        yield ""
    yield "## From what it was made"
    yield ""
    data = manifest.get("data") or {}
    if data:
        fingerprint = f", fingerprint `{data['fingerprint']}`" if data.get("fingerprint") else ""
        yield f"- data: {code(str(data.get('source', 'unknown')))}{fingerprint}"
    for step in manifest.get("lineage") or ():
        yield f"- {_cell(step)}"
    if recipe is not None:
        yield from _training(recipe)
    for line in decided:
        yield f"- {_cell(line)}"
    versions = manifest.get("versions") or {}
    if versions:
        yield "- versions: " + ", ".join(f"{name} {value}" for name, value in versions.items())
    yield ""
    yield "## How to use it"
    yield ""
    yield "```"
    yield "pip install shoestring"
    yield "shoestring verify FOLDER"
    yield said.command
    yield "```"
    yield ""
    yield "```python"
    yield "import shoestring"
    yield ""
    yield said.call
    yield "```"
    yield ""
    yield "No PyTorch is needed. The hashes in `bundle.json` show that the files are whole, not who"
    yield "made them: open bundles of people you trust."
    yield ""
    yield "## Licence"
    yield ""
    yield "Whoever trained this model says under which licence it may be used. The licence of the"
    yield "data it was made from may bind it as well; shoestring adds no condition of its own."


def _scores(scores: Scores) -> Iterator[str]:
    yield f"- {_quality(scores)}, split: {scores.split}"
    if scores.loss is not None:
        yield f"- loss {scores.loss:.4f}"
    if scores.parameters is not None:
        macs = f", {scores.macs:,} multiply-accumulates an input" if scores.macs else ""
        yield f"- {scores.parameters:,} parameters{macs}"
    if scores.size_bytes is not None:
        model = f", {scores.model_bytes:,} of them the model" if scores.model_bytes else ""
        yield f"- {scores.size_bytes:,} bytes needed to predict{model}"
    for name, timing in scores.latency_ms.items():
        threads = int(timing.get("threads", 1))
        on = "one thread" if threads == 1 else f"{threads} threads"
        yield (
            f"- latency from {name}, {on}: median {timing['median']:.3f} ms, "
            f"95th percentile {timing['p95']:.3f} ms"
        )
    if scores.signature:
        yield f"- signature: `{scores.signature}`"


def _quality(scores: Scores) -> str:
    quality = f"{scores.metric} {plain_quality(scores.quality or 0.0, scores.metric)}"
    if scores.interval is not None:
        ends = (scores.interval.low, scores.interval.high)
        low, high = (plain_quality(end, scores.metric) for end in ends)
        share = f"{scores.interval.confidence:.0%}"
        quality += f" ({share} interval {low} to {high}, {scores.interval.method})"
    return f"{quality} on {scores.examples} examples"


def _tables(scores: Scores) -> Iterator[str]:
    """Those details that are rows of values: labels, lengths."""
    for name, rows in scores.details.items():
        fits = isinstance(rows, list | tuple) and 0 < len(rows) <= LONGEST_TABLE
        if not fits or not all(isinstance(row, Mapping) for row in rows):
            continue
        columns = list(rows[0])
        yield f"### {_words(name).capitalize()}"
        yield ""
        yield f"| {' | '.join(map(_words, columns))} |"
        yield "|" + "---|" * len(columns)
        for row in rows:
            yield f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |"
        yield ""


def _limits(scores: Scores, findings: Sequence[Finding], tested: bool) -> Iterator[str]:
    yield f"- The figures hold for data like those of the {scores.split or 'measured'} split. For"
    yield "  others: `shoestring evaluate FOLDER SOURCE`, and `--shift` for corrupted inputs."
    if scores.split == "validation":
        yield "- The validation split helped to choose this model, so the figures on it are a"
        yield "  little kind." + " A test split was not opened when this was written." * (
            not tested
        )
    error = scores.details.get("calibration_error")
    if isinstance(error, float):
        yield f"- Its probabilities are off by {100 * error:.1f} points on average."
    for finding in findings:
        yield f"- Seen in the data ({_cell(finding.kind)}): {_cell(finding.message)}"


def _training(recipe: Recipe) -> Iterator[str]:
    plain = {name: getattr(recipe, name) for name in TRAINED}
    said = [f"{_words(name)} {_cell(value)}" for name, value in plain.items() if value is not None]
    yield f"- training: {', '.join(said)}"
    if recipe.total_steps is not None:
        asked = "" if recipe.budget_seconds is None else f", of {recipe.budget_seconds:g} s asked"
        yield f"- length: {recipe.total_steps:,} steps{asked}"


def _words(name: str) -> str:
    return _cell(name.replace("_", " "))


def _cell(value: Any) -> str:
    """A value as text that is no markup, whatever a label holds."""
    if isinstance(value, Mapping):
        return " ".join(f"{_words(str(name))} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = escape(printable(str(value)), quote=False)
    return "".join(f"\\{letter}" if letter in "|`*_[]\\" else letter for letter in text)
