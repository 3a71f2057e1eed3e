"""card: the model card, README.md of a bundle, from the same values as its manifest."""

from __future__ import annotations

from collections.abc import Iterator

from shoestring import plugins
from shoestring.core.receipt import Plain, Scores


def card(manifest: Plain, scores: Scores | None = None) -> str:
    """Markdown: what it predicts, how well, how large and fast it is, from what it was made and
    how to use it. `manifest` needs task and facts; what else it holds is told as well."""
    return "\n".join(_lines(manifest, scores)) + "\n"


def _lines(manifest: Plain, scores: Scores | None) -> Iterator[str]:
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
        yield ""
    yield "## From what it was made"
    yield ""
    data = manifest.get("data") or {}
    if data:
        fingerprint = f", fingerprint `{data['fingerprint']}`" if data.get("fingerprint") else ""
        yield f"- data: `{data.get('source', 'unknown')}`{fingerprint}"
    for step in manifest.get("lineage") or ():
        yield f"- {step}"
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
    quality = f"- {scores.metric} {scores.quality:.4f}"
    if scores.interval is not None:
        low, high, method = scores.interval.low, scores.interval.high, scores.interval.method
        share = f"{scores.interval.confidence:.0%}"
        quality += f" ({share} interval {low:.4f} to {high:.4f}, {method})"
    yield f"{quality} on {scores.examples} examples, split: {scores.split}"
    if scores.loss is not None:
        yield f"- loss {scores.loss:.4f}"
    if scores.parameters is not None:
        macs = f", {scores.macs:,} multiply-accumulates an input" if scores.macs else ""
        yield f"- {scores.parameters:,} parameters{macs}"
    if scores.size_bytes is not None:
        model = f", {scores.model_bytes:,} of them the model" if scores.model_bytes else ""
        yield f"- {scores.size_bytes:,} bytes needed to predict{model}"
    for name, timing in scores.latency_ms.items():
        yield (
            f"- latency from {name}, one thread: median {timing['median']:.3f} ms, "
            f"95th percentile {timing['p95']:.3f} ms"
        )
    if scores.signature:
        yield f"- signature: `{scores.signature}`"
