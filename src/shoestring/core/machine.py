"""machine: what this process may use of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, where Linux has cgroups of version 2


def cores() -> int:
    """Processor cores that this process may use: those it was bound to, where it was, and no more
    than a container's share of time comes to."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    share = _share()
    return count if share is None else max(1, min(count, math.ceil(share)))


def _share() -> float | None:
    """Of processor time, in cores; None where there is no limit or none can be read."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
