"""bundle: the folder that ships: written in one move, checked when opened, asked for answers.

bundle.json names every other file with its size and sha256. Opening a bundle reads each file
once, checks it, and hands those very bytes on; nothing in a bundle is executed but its graphs,
and these only use the operators of `session.OPERATORS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.bundle import card
from shoestring.bundle import manifest as manifests
from shoestring.bundle.session import CAP_BYTES, open_graph
from shoestring.core.errors import BundleError, UserError
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Predictor
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Golden = tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]

MANIFEST, GOLDEN, CARD = "bundle.json", "golden.npz", "README.md"
WEIGHTS = "weights.bin"  # what the graphs of a bundle share, where there is more than one
BESIDE = ("openings.jsonl", "receipt.json", "receipt.txt", "receipt.html")  # allowed, unlisted
NOT_NEEDED = (GOLDEN, CARD)  # to predict
STARTED = "started.json"  # in the folder of a run that has not finished


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Everything was checked; the predictor is ready."""

    path: Path
    manifest: Plain
    predictor: Predictor

    def predict(self, inputs: Any, options: Any = None) -> list[Plain]:
        """One answer for each input, in order. `inputs` is one input or a sequence of them, as
        the task takes them; `options` the task's answer options, or a mapping of them.

            bundle.predict("cat.jpg", {"top": 2})
            bundle.predict(["cat.jpg", "dog.jpg"], {"top": 2, "reject": 0.5})
        """
        if options is None:
            return self.predictor.predict(inputs, self._default_options)
        return self.predictor.predict(inputs, self._options(options))

    def answers(self, inputs: Any, options: Any = None) -> Iterator[Plain]:
        """The same, one by one: memory stays flat however many inputs there are."""
        return self.predictor.answers(inputs, self._options(options))

    @cached_property
    def _default_options(self) -> Any:
        return self._options({})

    def _options(self, options: Any) -> Any:
        if options is None:
            return self._default_options
        if isinstance(options, Mapping):
            kind = plugins.task(self.manifest["task"]).answer_options
            return plugins.options_from(kind, dict(options), "predict")
        return options


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> Bundle:
    """Opens a bundle folder, or the bundle inside a run folder. `threads` of each graph; None:
    all cores. Raises BundleError naming the first thing that is wrong. Files that the manifest
    does not list are not looked at (`verify` refuses them)."""
    folder = find(path)
    manifest = manifests.read(folder / MANIFEST)
    files = {n: read_file(folder, n, manifest) for n in _in_cap(folder, manifest)}
    return Bundle(folder, manifest, predictor(manifest, files, threads=threads))


def predict(path: str | os.PathLike[str], inputs: Any, options: Any = None) -> list[Plain]:
    """The verb: opens a bundle or a run and answers."""
    return load(path).predict(inputs, options)


def find(path: str | os.PathLike[str]) -> Path:
    """The bundle folder at `path`, which may be a run's folder."""
    folder = Path(path)
    for candidate in (folder, folder / "bundle"):
        if os.path.lexists(candidate / MANIFEST):
            return candidate
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a bundle: there is no such folder")
    if (folder / STARTED).is_file():
        raise BundleError(
            f"{folder} is a run that has not finished, and has no bundle yet; go on with: "
            f"shoestring train --resume {folder}"
        )
    raise BundleError(f"{folder} is neither a bundle (it has no {MANIFEST}) nor a finished run")


def predictor(
    manifest: Plain, files: Mapping[str, bytes], *, threads: int | None = None
) -> Predictor:
    """The task's predictor over checked bytes; graphs become sessions."""
    opened: dict[str, Any] = {}
    shared = files.get(WEIGHTS, b"")
    for name, data in files.items():
        graph = name.endswith(".onnx")
        opened[name] = open_graph(data, name, shared=shared, threads=threads) if graph else data
    if manifest["task"] not in plugins.task_names():
        raise BundleError(
            f"the bundle is for the task {manifest['task']!r}, which this shoestring does not "
            f"have; it has: {', '.join(plugins.task_names())}"
        )
    return plugins.task(manifest["task"]).predictor(manifest, opened)


def read_file(folder: Path, name: str, manifest: Plain) -> bytes:
    """The bytes of one listed file, checked against the manifest's size and hash."""
    listed = manifest["files"][name]
    data = manifests.read_regular(folder / name, listed["size_bytes"])
    if len(data) != listed["size_bytes"]:
        raise BundleError(
            f"{folder / name} has {len(data)} bytes or more, not the {listed['size_bytes']} that "
            f"{MANIFEST} says; copy the bundle again"
        )
    if sha256(data).hexdigest() != listed["sha256"]:
        raise BundleError(
            f"{folder / name} was changed: its sha256 is not the one in {MANIFEST}; "
            "copy the bundle again"
        )
    return data


def sizes(folder: Path, manifest: Plain) -> tuple[int, int]:
    """(bytes of every file needed to predict, bytes of graphs and weights alone)."""
    listed: Mapping[str, Plain] = manifest["files"]
    model = sum(int(f["size_bytes"]) for name, f in listed.items() if name not in NOT_NEEDED)
    return model + (folder / MANIFEST).stat().st_size, model


def write(
    folder: Path,
    task_name: str,
    facts: Plain,
    graphs: Mapping[str, bytes],
    golden: Golden,
    text: str,
    extra: Plain,
    *,
    over: bool = False,
) -> Path:
    """Writes a bundle in one move: all of it appears at `folder`, or nothing does. A folder that
    holds something is refused, but for a bundle where `over` allows it. `text` is the card."""
    free = not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (over and (folder / MANIFEST).is_file()):
        raise UserError(f"{folder} is not empty; name another folder")
    files = {**graphs, GOLDEN: golden_bytes(golden), CARD: text.encode()}
    manifest = manifests.compose(task_name, to_plain(facts), files, GOLDEN, to_plain(extra))
    _place(folder, {**files, MANIFEST: manifests.to_bytes(manifest)})
    return folder


def record_scores(
    folder: Path,
    scores: Scores,
    recipe: Recipe | None = None,
    findings: Sequence[Finding] = (),
    test: Scores | None = None,
    decided: Sequence[str] = (),
) -> Scores:
    """Writes scores into the manifest and the card of a bundle, in one move. Returns them with
    the final `size_bytes`: the manifest ships, and it has grown by the scores. The card tells of
    the recipe and the findings as well, of an opened test split, and of what was decided."""
    manifest = manifests.read(folder / MANIFEST)
    files = {name: read_file(folder, name, manifest) for name in _in_cap(folder, manifest)}
    model_bytes = sum(len(data) for name, data in files.items() if name not in NOT_NEEDED)
    size_bytes = 0
    while True:  # the size stands in the manifest whose size it is; two or three rounds
        scores = replace(scores, size_bytes=size_bytes, model_bytes=model_bytes)
        own = {k: v for k, v in manifest.items() if k not in manifests.OWN}
        extra = {**own, "scores": manifests.headline(scores)}
        files[CARD] = card.card(
            {**manifest, **extra}, scores, recipe, findings, test, decided
        ).encode()
        written = manifests.compose(manifest["task"], manifest["facts"], files, GOLDEN, extra)
        data = manifests.to_bytes(written)
        if size_bytes >= model_bytes + len(data):
            break
        size_bytes = model_bytes + len(data)
    beside = {n: (folder / n).read_bytes() for n in BESIDE if (folder / n).is_file()}
    _place(folder, {**files, **beside, MANIFEST: data})
    return scores


def _place(folder: Path, files: Mapping[str, bytes]) -> None:
    """Puts a folder with these files in place of what is there."""
    parts = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.replaced")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir()
        for name, data in files.items():
            with open(parts / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.rename(folder, aside)
        os.rename(parts, folder)
    except OSError as error:
        if aside.exists() and not folder.exists():
            os.rename(aside, folder)
        raise UserError(f"cannot write the bundle {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def golden_bytes(golden: Golden) -> bytes:
    """golden.npz: `input.NAME` and `output.NAME` arrays; the same arrays give the same bytes."""
    import io

    import numpy as np

    inputs, outputs = golden
    arrays: dict[str, np.ndarray[Any, Any]] = {f"input.{k}": v for k, v in inputs.items()}
    arrays |= {f"output.{k}": v for k, v in outputs.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _in_cap(folder: Path, manifest: Plain) -> Iterable[str]:
    listed: Mapping[str, Plain] = manifest["files"]
    total = sum(int(f["size_bytes"]) for f in listed.values())
    if total > CAP_BYTES:
        raise BundleError(f"{folder} holds {total:,} bytes; at most {CAP_BYTES:,} are opened")
    return listed
