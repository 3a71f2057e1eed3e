"""shipping: small translators as bundles, made without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoestring.bundle import bundle, card
from shoestring.bundle.session import open_graph
from shoestring.core.run import Recipe, Run
from shoestring.tasks.translation import graph
from shoestring.tasks.translation.examples import TranslationExamples
from shoestring.tasks.translation.hypotheses import Ids
from shoestring.tasks.translation.model import TranslationNetwork, Translator
from shoestring.tasks.translation.rows import hashes
from shoestring.tasks.translation.special import BOS, EOS, PAD
from shoestring.tasks.translation.steps import GraphSteps
from shoestring.tasks.translation.tokenizer import train
from tests.tasks.translation.tiny import NETWORKS, pairs

SOURCES = [f"{one} {other}" for one, _ in pairs(30) for other in ("now", "")]
TOKENIZER = train([side for pair in pairs() for side in pair], 300)
FACTS: dict[str, Any] = {
    "source": "en",
    "target": "de",
    "pieces": TOKENIZER.size,
    "bleu_tokenizer": "13a",
    "search": {"beam": 3, "longest": [1.0, 6.0]},
}


def sessions(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Graphs opened as a bundle opens them; other files as they are."""
    shared = files[graph.WEIGHTS]
    return {
        name: open_graph(data, name, shared=shared, threads=1) if name.endswith(".onnx") else data
        for name, data in files.items()
    }


def steps(model: Translator, int8: bool = False) -> GraphSteps:
    return GraphSteps(sessions(graph.graphs(model, int8)))


def some(lengths: Sequence[int], pieces: int, seed: int = 0) -> list[Ids]:
    """Random rows of these lengths, without an end."""
    draws = np.random.default_rng(seed)
    return [draws.integers(4, pieces, length) for length in lengths]


def ended(rows: Sequence[Ids]) -> list[Ids]:
    return [np.append(row, EOS) for row in rows]


@cache
def model(kind: str = "lstm", seed: int = 0) -> Translator:
    """A small one that has learned some of the words of `tiny`."""
    network = TranslationNetwork(kind)
    torch.manual_seed(seed)
    made = network.build(network.architecture(NETWORKS[kind], FACTS))
    rows = [(TOKENIZER.encode(one), TOKENIZER.encode(other)) for one, other in pairs(120)]
    source_BS, lengths_B = table([[*one, EOS] for one, _ in rows])
    before_BT, _ = table([[BOS, *other] for _, other in rows])
    wanted = table([[*other, EOS] for _, other in rows])[0].T.flatten()
    here = (wanted != PAD).nonzero().squeeze(1)
    steps = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(60):
        logits = made(source_BS, lengths_B, before_BT, here)
        steps.zero_grad()
        torch.nn.functional.cross_entropy(logits, wanted[here]).backward()
        steps.step()
    return made.eval()


def table(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    padded = [[*row, *[PAD] * (longest - len(row))] for row in rows]
    return torch.tensor(padded), torch.tensor([len(row) for row in rows])


def run(folder: Path, quantization: dict[str, Any] | None = None) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(TOKENIZER.model)
    recipe = Recipe("translation", "words")
    return Run(folder, "translation", recipe, facts=FACTS, quantization=quantization or {})


def made(
    folder: Path,
    kind: str = "lstm",
    quantization: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> bundle.Bundle:
    """A bundle at `folder`, opened."""
    files = graph.to_onnx(model(kind), run(folder / "run", quantization))
    known = {**FACTS, **(facts or {})}
    manifest = {"task": "translation", "facts": known}
    golden = bundle.predictor(manifest, files).golden()
    text = card.card(manifest)
    bundle.write(folder / "bundle", "translation", known, files, golden, text, {})
    return bundle.load(folder / "bundle", threads=1)


def examples(count: int = 40) -> TranslationExamples:
    """As `load_for` gives them: without a tokenizer."""
    sources, targets = [one for one, _ in pairs(count)], [other for _, other in pairs(count)]
    return TranslationExamples(sources, targets, hashes(sources, targets), "validation")
