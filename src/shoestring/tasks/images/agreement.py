"""agreement: whether a graph answers as the float32 network it was made from.

Shapes: B pictures, H height, W width, C channels, K labels.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Examples, Predictor, silent
from shoestring.core.receipt import Plain
from shoestring.tasks.images.predict import ImagePredictor

if TYPE_CHECKING:
    import torch

    from shoestring.tasks.images.data import ImageExamples

TOLERANCE = 1e-4  # of every probability
CLEAR_LEAD = 2e-4  # where the best label leads by more, both must name the same


def agreement(model: torch.nn.Module, predictor: Predictor, examples: Examples) -> str:
    """Runs both over all examples on the CPU in float32. Returns one sentence with the largest
    difference; raises BundleError where they differ by more than `TOLERANCE`, or name different
    labels although one leads by more than `CLEAR_LEAD`."""
    import torch

    assert isinstance(predictor, ImagePredictor)
    pictures = cast("ImageExamples", examples)  # a task gets its own back
    if not len(pictures):
        raise BundleError("there is no example to compare the graph with its network on")
    shipped_BK = predictor.outcomes(examples, silent)["probabilities"]
    trained_BK = np.zeros_like(shipped_BK)
    reference = deepcopy(model).float().cpu().eval()
    with torch.inference_mode():
        for positions, pixels_BHWC in pictures.chunks(256):
            trained_BK[positions] = _probabilities(reference, pixels_BHWC, predictor.facts)
    difference = float(np.abs(shipped_BK - trained_BK).max())
    ordered_BK = np.sort(trained_BK, axis=1)
    clear_B = ordered_BK[:, -1] - ordered_BK[:, -2] > CLEAR_LEAD
    other_B = clear_B & (shipped_BK.argmax(axis=1) != trained_BK.argmax(axis=1))
    if not difference <= TOLERANCE or bool(other_B.any()):  # a NaN disagrees as well
        raise BundleError(
            f"the exported graph disagrees with its network on {len(pictures)} validation "
            f"pictures: probabilities by up to {difference:.2g} (allowed: {TOLERANCE:.0e}), "
            f"{int(other_B.sum())} clear answers differ. The bundle was not written; "
            "please report this with the run's folder"
        )
    return (
        f"the graph agrees with the float32 network on {len(pictures)} validation pictures: "
        f"probabilities within {difference:.1g}, every clear answer the same"
    )


def _probabilities(
    model: torch.nn.Module, pixels_BHWC: NDArray[np.uint8], facts: Plain
) -> NDArray[np.float32]:
    import torch

    if list(pixels_BHWC.shape[1:3]) != list(facts["size"]):
        raise BundleError("the validation pictures were not resized to the network's input size")
    floats_BHWC = torch.from_numpy(np.ascontiguousarray(pixels_BHWC)).float()
    floats_BHWC = (floats_BHWC - torch.tensor(facts["mean"])) / torch.tensor(facts["std"])
    logits_BK = model(floats_BHWC.permute(0, 3, 1, 2))
    rows: NDArray[np.float32] = torch.softmax(logits_BK, dim=1).numpy()
    return rows
