"""Weights of few bits answer as the rounded network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from shoestring import plugins
from shoestring.core.quantizing import BITS, METHOD
from shoestring.core.run import Recipe, Run
from shoestring.techniques.quantize import on_levels

FACTS = {"size": [16, 16], "channels": 1, "resize": None,
         "mean": [0.5], "std": [0.25]}  # fmt: skip


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("classes", [10, 12, 7])
def test_a_dense_layer_of_any_width_answers_as_the_rounded_network(
    tmp_path: Path, bits: int, classes: int
) -> None:
    """onnxruntime 1.32 has a product of few bits of its own that answers otherwise."""
    facts = {**FACTS, "labels": [str(n) for n in range(classes)]}
    network = plugins.task("images").network("compact")
    torch.manual_seed(0)
    architecture = network.architecture({"kind": "compact", "width": 8}, facts)
    model = network.build(architecture).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.copy_(on_levels(weight, bits))
    run = Run(tmp_path, "images", Recipe("images", "x"), architecture=architecture, facts=facts)
    asked = {METHOD: "weights", BITS: bits} if bits < 8 else {METHOD: "weights"}
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1)).astype(np.uint8)
    given = []
    for quantization in ({}, asked):
        whole = Run(**{**vars(run), "quantization": quantization})
        files = network.graphs(model, whole)
        session = onnxruntime.InferenceSession(files["model.onnx"])
        (name,) = [one.name for one in session.get_inputs()]
        given.append(np.asarray(session.run(None, {name: pixels})[0]))
    np.testing.assert_allclose(given[1], given[0], atol=2e-4 if bits < 8 else 2e-2)
