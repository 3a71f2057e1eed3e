"""tiny: a small, learnable source of this task, for the contract that all tasks share."""

from __future__ import annotations

from pathlib import Path

from tests import tiny

NETWORKS = {"compact": {"width": 4, "dropout": 0.2}, "classic": {}}  # and small options for each


def write(folder: Path) -> Path:
    """A source with train and validation that some tens of steps learn."""
    return tiny.write_npz(folder / "bars.npz")
