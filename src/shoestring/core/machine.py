"""machine: what this process may use of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Processor cores that this process may use: those it was bound to, where it was."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
