"""agreement: whether a graph answers as the float32 network it was made from.

Shapes: B pictures, H height, W width, C channels, K labels.
"""

from __future__ import annotations

from collections.abc import Callable
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
# Of a network in whole steps only clear answers must be the same, and nearly all of them.
ROUNDED_LEAD, ROUNDED_SAME = 0.5, 0.98


def agreement(
    model: torch.nn.Module,
    predictor: Predictor,
    examples: Examples,
    leads: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> str:
    """Runs both over all examples on the CPU in float32. Returns one sentence with the largest
    difference; raises BundleError where they differ by more than `TOLERANCE`, or name different
    labels although one leads by more than `CLEAR_LEAD`. `leads` gives (B,) leads of a network whose
    probabilities jump where another lead turns, as votes do: only clear ones are compared."""
    import torch

    assert isinstance(predictor, ImagePredictor)
    pictures = cast("ImageExamples", examples)  # a task gets its own back
    if not len(pictures):
        raise BundleError("there is no example to compare the graph with its network on")
    shipped_BK = predictor.outcomes(examples, silent)["probabilities"]
    trained_BK, lead_B = np.zeros_like(shipped_BK), np.zeros(len(pictures), np.float32)
    reference = deepcopy(model).float().cpu().eval()
    with torch.inference_mode():
        for positions, pixels_BHWC in pictures.chunks(256):
            floats_BCHW = _floats(pixels_BHWC, predictor.facts)
            shares_BK = torch.softmax(reference(floats_BCHW), dim=1)
            trained_BK[positions] = shares_BK.numpy()
            lead_B[positions] = (
                lead_of(shares_BK) if leads is None else leads(floats_BCHW)
            ).numpy()
    clear_B = lead_B > CLEAR_LEAD
    apart_BK = np.abs(shipped_BK - trained_BK)
    difference = float((apart_BK if leads is None else apart_BK[clear_B]).max(initial=0.0))
    unlike_B = shipped_BK.argmax(axis=1) != trained_BK.argmax(axis=1)
    if predictor.quantization:
        return _rounded(difference, unlike_B, lead_B)
    other_B = clear_B & unlike_B
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


def _rounded(difference: float, unlike_B: NDArray[np.bool_], lead_B: NDArray[np.float32]) -> str:
    """The sentence for a network in whole steps. What that costs in quality is measured apart; here
    it is held to be the same network."""
    clear_B = lead_B > ROUNDED_LEAD
    clear, other = int(clear_B.sum()), int((clear_B & unlike_B).sum())
    if not np.isfinite(difference) or other > (1 - ROUNDED_SAME) * clear:
        raise BundleError(
            f"the rounded graph names another label than its network for {other} of {clear} "
            f"validation pictures on which that is sure by {ROUNDED_LEAD} (allowed: "
            f"{1 - ROUNDED_SAME:.0%}). The bundle was not written; take more bits, or method=qat"
        )
    return (
        f"the rounded graph follows the float32 network on {len(lead_B)} validation pictures: "
        f"{clear - other} of {clear} sure answers the same, {int(unlike_B.sum())} of all differ, "
        f"probabilities by up to {difference:.1g}"
    )


def lead_of(shares_BK: torch.Tensor) -> torch.Tensor:
    """(B,) by how much the best label is more probable than the next."""
    best_B2 = shares_BK.topk(2, dim=1).values
    return best_B2[:, 0] - best_B2[:, 1]


def _floats(pixels_BHWC: NDArray[np.uint8], facts: Plain) -> torch.Tensor:
    """(B, C, H, W), normalised."""
    import torch

    if list(pixels_BHWC.shape[1:3]) != list(facts["size"]):
        raise BundleError("the validation pictures were not resized to the network's input size")
    floats_BHWC = torch.from_numpy(np.ascontiguousarray(pixels_BHWC)).float()
    floats_BHWC = (floats_BHWC - torch.tensor(facts["mean"])) / torch.tensor(facts["std"])
    return floats_BHWC.permute(0, 3, 1, 2)
