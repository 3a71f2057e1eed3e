"""unseen: that a run did not learn from the examples that another one is judged on. No torch."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from shoestring import plugins
from shoestring.core.errors import DataError, RunError, UserError
from shoestring.core.protocols import silent
from shoestring.core.run import Run

Hashes = NDArray[np.uint64]


def by_start(start: str, parent: Run, run: Run) -> None:
    """Raises UserError where the run that another begins with learned from that one's validation
    examples: what it gains could not be measured, for it knows the answers. Only one of the same
    source can be asked without reading other data, and only while they are there."""
    own, other = parent.recipe, run.recipe
    if not other.fingerprint or own.fingerprint == other.fingerprint:
        return
    if os.path.realpath(own.source) != os.path.realpath(other.source):
        return
    task = plugins.task(run.task)
    try:
        learned = task.load(own, silent).train.hashes
        judged = task.load(other, silent).validation.hashes
    except (DataError, RunError):
        return
    refuse(start, learned, judged, "this run", "what it is worth as a start")


def refuse(name: str, learned: Hashes, judged: Hashes, whose: str, measured: str) -> None:
    """Raises UserError where the examples that `name` learned from (their hashes) hold some of the
    validation examples that `measured` is to be measured on."""
    count = int(np.isin(judged, learned).sum())
    if count:
        raise UserError(
            f"{name} was trained on {count} of the {len(judged)} validation examples of {whose}, "
            f"so {measured} could not be measured; train both on the same split (split_seed, "
            "fold, shares)"
        )
