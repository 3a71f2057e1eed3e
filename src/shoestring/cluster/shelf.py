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
        """The files of the run's folder, from which a fit goes on, and the parts of its
        checkpoint, where several workers wrote it."""
        own = [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]
        return {path.name: path.read_bytes() for path in own if path.is_file()} | self._parts()

    def _parts(self) -> dict[str, bytes]:
        where = store.parts(self._folder / store.CHECKPOINT)
        return {} if where is None else packed(where)

    def keep(self, files: Mapping[str, bytes]) -> None:
        checkpoint = self._folder / store.CHECKPOINT
        last = (store.CHECKPOINT, store.pointer(checkpoint).name)
        for name in sorted(files, key=last.__contains__):  # what makes the others count
            path = self._folder / name
            path.parent.mkdir(exist_ok=True)
            store.write_atomically(path, files[name])
        if last[0] in files:
            store.drop_parts(checkpoint)
        elif last[1] in files:
            where = store.parts(checkpoint)
            store.drop_parts(checkpoint, but=where.name if where else "")
            checkpoint.unlink(missing_ok=True)

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


def packed(folder: Path) -> dict[str, bytes]:
    """The files of a folder of parts, by the names that they have on the shelf."""
    return {f"{folder.name}/{p.name}": p.read_bytes() for p in folder.iterdir() if p.is_file()}


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
