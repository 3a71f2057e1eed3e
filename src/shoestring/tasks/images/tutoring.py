"""tutoring: what a bundle, or a file of outputs, thinks of a batch of pictures.

Shapes: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from shoestring.core.errors import BundleError
from shoestring.core.protocols import Answering, Batch
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.tasks.images import answered
from shoestring.tasks.images.feed import prepared
from shoestring.tasks.images.predict import ImagePredictor

FLOOR = 1e-9  # of a probability, so that it has a logarithm


def tutor(run: Run, opened: Answering | None, key: str) -> Callable[[Batch], torch.Tensor] | None:
    """(B, K) logarithms of probabilities. A bundle sees the very pixels that the student sees,
    rounded; a file knows the pictures as they were before any change."""
    if opened is not None:
        predictor = getattr(opened, "predictor", None)
        if not isinstance(predictor, ImagePredictor):
            raise BundleError("the teacher's bundle does not answer pictures")
        return _asking(predictor, run.facts)
    if not key or answered.has_pictures(key):
        return None
    logs_BK = torch.from_numpy(np.log(np.maximum(answered.read_shares(key), FLOOR)))
    return lambda batch: logs_BK.to(batch.ids.device).index_select(0, batch.ids)


def _asking(predictor: ImagePredictor, facts: Plain) -> Callable[[Batch], torch.Tensor]:
    mean, std = (torch.tensor(facts[name])[:, None, None] for name in ("mean", "std"))

    def asked(batch: Batch) -> torch.Tensor:
        x_BCHW = batch.inputs.float().cpu() * std + mean
        pixels_BHWC = x_BCHW.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        shares_BK = predictor.probabilities(pixels_BHWC.contiguous().numpy())
        return torch.from_numpy(np.log(np.maximum(shares_BK, FLOOR))).to(batch.inputs.device)

    return asked


def seen(x_BCHW: torch.Tensor, facts: Plain, theirs: Plain) -> torch.Tensor:
    """Pictures that were normalised as one set wants it, as another one does."""
    if all(facts[name] == theirs[name] for name in ("mean", "std")):
        return x_BCHW
    mean, std = (
        torch.tensor(facts[name], device=x_BCHW.device)[:, None, None] for name in ("mean", "std")
    )
    return prepared((x_BCHW * std + mean).permute(0, 2, 3, 1), theirs)
