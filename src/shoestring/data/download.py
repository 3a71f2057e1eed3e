"""download: one file from the web, resumed where it broke off."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request
from pathlib import Path

from shoestring.core.errors import DataError
from shoestring.core.protocols import Progress

_PIECE_BYTES = 1 << 16


class Offline(DataError):
    """No name can be looked up: there is no use in asking for another address."""


def fetch(url: str, partial: Path, progress: Progress, timeout_seconds: float = 5.0) -> Path:
    """Brings `partial` up to the whole of `url` and returns it; what an earlier call had fetched
    is kept and only the rest asked for. The caller checks the content before it is used.

    Raises DataError, Offline among them, with the address and the reason.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "shoestring", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
            if have and not _continues(answer, have):
                have = 0  # the server sends the whole file again
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else 0
            with partial.open("ab" if have else "wb") as file:
                while piece := answer.read(_PIECE_BYTES):
                    file.write(piece)
                    have += len(piece)
                    progress(f"downloading {url.rpartition('/')[2]}", have, max(total, have))
            if total and have < total:
                raise DataError(f"{url} broke off after {have:,} of {total:,} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is left to send: the file is whole, or not this file
            return partial
        raise DataError(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_AGAIN:
            raise Offline(f"{url}: no name can be looked up (offline?)") from error
        raise DataError(f"{url}: {reason}") from error
    return partial


def _continues(answer: http.client.HTTPResponse, have: int) -> bool:
    words = answer.headers.get("Content-Range") or ""
    return answer.status == 206 and words.startswith(f"bytes {have}-")
