"""A download goes on where it broke off, and says what went wrong."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shoestring.core.errors import DataError
from shoestring.core.protocols import silent
from shoestring.data import download

CONTENT = bytes(range(256)) * 1000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; breaks off after `break_after` bytes; may not know ranges."""

    break_after: int | None = None
    knows_ranges = True
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        words = self.headers.get("Range")
        self.server.asked.append(words)
        if self.path != "/file.gz":
            self.send_error(404)
            return
        start = int(words[6:-1]) if words and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT) if self.server.break_after is None else start + self.server.break_after
        self.wfile.write(CONTENT[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download.fetch(
        server.url, tmp_path / "deep" / "part", lambda what, done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.break_after = 100_000
    for _ in range(2):
        with pytest.raises(DataError, match=r"broke off|IncompleteRead"):
            download.fetch(server.url, tmp_path / "part", silent)
    assert (tmp_path / "part").read_bytes() == CONTENT[:200_000]
    download.fetch(server.url, tmp_path / "part", silent)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"old" * 100)
    server.knows_ranges = False
    download.fetch(server.url, tmp_path / "part", silent)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_file_that_is_whole_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    download.fetch(server.url, tmp_path / "part", silent)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_what_went_wrong_is_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="answered 404"):
        download.fetch(server.url + "x", tmp_path / "part", silent)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DataError, match=f"127.0.0.1:{port}/x: .*refused"):
        download.fetch(f"http://127.0.0.1:{port}/x", tmp_path / "part", silent)

    def no_names(*_: object, **__: object) -> None:
        raise urllib.request.URLError(socket.gaierror(socket.EAI_AGAIN, "try again"))

    monkeypatch.setattr(urllib.request, "urlopen", no_names)
    with pytest.raises(download.Offline, match="offline"):
        download.fetch("https://example.invalid/x", tmp_path / "part", silent)
