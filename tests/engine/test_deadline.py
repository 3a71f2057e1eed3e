from __future__ import annotations

import signal
import threading
from threading import Event

import pytest

from shoestring.engine.deadline import OutOfTime, within


def test_work_that_takes_too_long_is_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTime, match="would have overrun the budget"), within(0.02):
        Event().wait(30.0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_work_in_time_is_left_alone() -> None:
    with within(60.0):
        found = 1 + 1
    with within(None):
        found += 1
    assert found == 3 and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_another_thread_has_no_deadline() -> None:
    done: list[str] = []

    def work() -> None:
        with within(0.001):
            Event().wait(0.01)
        done.append("whole")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["whole"]
