"""deadline: ends work that takes far longer than it may, where there is something to fall back on.

Work plans its own seconds and ends by itself. This is for a machine that became many times slower
in the middle of what cannot be cut short, as an export or a grading.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shoestring.core.errors import UserError


class OutOfTime(UserError):
    """Raised inside the work, wherever it is."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raises OutOfTime in the block after so many seconds of wall clock. Only the main thread of a
    system with interval timers can; elsewhere, and for None, the block takes as long as it
    takes."""
    timed = hasattr(signal, "setitimer") and seconds is not None
    if not timed or threading.current_thread() is not threading.main_thread():
        yield
        return
    assert seconds is not None

    def late(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"it was ended after {seconds:.0f} s, for it would have overrun the budget")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
