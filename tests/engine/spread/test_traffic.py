"""Bytes are counted by the system, of this process alone."""

from __future__ import annotations

import socket
import time

from shoestring.engine.spread import traffic


def test_what_was_sent_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            before = traffic.sent_bytes()
            near.sendall(b"x" * 100_000)
            far.recv(100_000, socket.MSG_WAITALL)
            assert before is not None
            until = time.monotonic() + 5
            while (traffic.sent_bytes() or 0) < before + 100_000 and time.monotonic() < until:
                time.sleep(0.001)  # for the receipt to come back
            assert traffic.sent_bytes() == before + 100_000
