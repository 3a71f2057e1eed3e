"""shelf: what goes from worker to worker of a fit, and to whoever asked; on that one's host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.listener import Look, Quiet
from shoestring.core.plain import to_plain
from shoestring.engine import store

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class Shelf:
    """Holds what goes from worker to worker, on the host of the run's folder. An actor of Ray."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._said: list[bytes] = []
        self._asked = False
        self._ended = ""  # why nobody is to begin any more

    def files(self) -> dict[str, bytes]:
        """The files of the run's folder, from which a fit goes on."""
        own = [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]
        return {path.name: path.read_bytes() for path in own if path.is_file()}

    def keep(self, files: Mapping[str, bytes]) -> None:
        for name in sorted(files, key=lambda name: name == store.CHECKPOINT):  # it comes last
            store.write_atomically(self._folder / name, files[name])

    def tell(self, line: bytes) -> None:
        self._said.append(line)

    def said(self) -> list[bytes]:
        said, self._said = self._said, []
        return said

    def ask(self) -> None:
        self._asked = True

    def asked(self) -> bool:
        return self._asked

    def end(self, why: str) -> None:
        self._ended = self._ended or why

    def ended(self) -> str:
        return self._ended


def tell(shelf: ActorHandle[Shelf], what: str, value: Any) -> None:
    shelf.tell.remote(json.dumps([what, value]).encode())


class ShelfTeller(Quiet):
    """A listener whose words go to the shelf."""

    def __init__(self, shelf: ActorHandle[Shelf]) -> None:
        self._shelf = shelf

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        tell(self._shelf, "step", [step, total, seconds_left, loss, accuracy, rate])

    def evaluation(self, look: Look) -> None:
        tell(self._shelf, "evaluation", to_plain(look))

    def say(self, text: str) -> None:
        tell(self._shelf, "say", text)
