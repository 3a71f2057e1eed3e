"""teacher: the model that another one learns from, and what it thinks of a batch.

What it thinks of examples that are never changed is computed once, and kept in the cache.
Shapes: N labels, K likeliest classes or pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import manifest as manifests
from shoestring.core.errors import BundleError, DataError, RunError, UserError
from shoestring.core.protocols import Batch, Feed
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.teaching import Opinion, Tutor
from shoestring.core.techniques import Hook
from shoestring.data import cache
from shoestring.engine import derive, seal, store, unseen
from shoestring.engine.device import autocast
from shoestring.engine.fuse import imitation

ONCE_EPOCHS = 2.0  # of a fit, from which it pays to ask about every example once
MOST_BYTES = 1 << 30  # of what is kept; more is asked again each time

Kind = Literal["run", "bundle", "file", "elsewhere"]


@dataclass(frozen=True)
class Named:
    """Whom some words name."""

    words: str
    kind: Kind
    digest: str = ""  # of its content
    facts: Plain = field(default_factory=dict)  # of the data that it learned from
    files: Mapping[str, bytes] = field(default_factory=dict)  # that these brought along
    fingerprint: str = ""  # of them, where it is known


def named(words: str, task: str) -> Named:
    """A run, a bundle, a file of outputs, or a model from elsewhere, which its task knows by such
    words. UserError where there is nothing by that name, or it is for another task."""
    path = Path(words)
    if (path / store.RUN).exists() or (path / store.STARTED).exists():
        run = store.read(path)
        _of_task(words, run.task, task)
        digest = _digest((path / store.WEIGHTS).read_bytes())
        return Named(words, "run", f"run-{digest}", run.facts, store.kept(path))
    if path.is_dir() and not words.startswith(tuple(_prefixes(task))):
        place = bundles.find(path) / bundles.MANIFEST
        manifest = manifests.read(place)
        _of_task(words, manifest["task"], task)
        digest = _digest(place.read_bytes())
        data = manifest.get("data") or {}
        fingerprint = str(data.get("fingerprint", ""))
        return Named(words, "bundle", f"bundle-{digest}", manifest["facts"], {}, fingerprint)
    if path.is_file():
        return Named(words, "file", f"file-{_digest(path.read_bytes())}")
    if words.startswith(tuple(_prefixes(task))):
        plugins.task(task).pretrained(words)
        return Named(words, "elsewhere")
    raise UserError(
        f"there is no teacher {words!r}: name a run, a bundle, a file of outputs, or "
        f"{' or '.join(plugins.task(task).starts)}"
    )


def _prefixes(task: str) -> Iterator[str]:
    """How names of models from elsewhere begin."""
    for start in plugins.task(task).starts:
        head, colon, _ = start.partition(":")
        yield head + colon


def _of_task(words: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise UserError(f"{words} was trained for {found}, and can be no teacher for {wanted}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def checked(words: str, recorded: str, task: str) -> Named:
    """The same where it still is what it was when a recipe recorded its digest."""
    found = named(words, task)
    if recorded and found.digest != recorded:
        raise UserError(
            f"{words} is not what it was when this recipe was recorded; put it back, or name the "
            "teacher without the recorded digest"
        )
    return found


def doubtful(teacher: Named, run: Run) -> str:
    """Raises UserError for a teacher that learned from what the student is judged on: it would
    tell the answers. Where that cannot be told, because its data are gone or, of a bundle, were
    others than the student's, a sentence that says so."""
    doubt = (
        f"it cannot be told whether {teacher.words} learned from the validation examples here; "
        "where it did, quality on them says too much"
    )
    if teacher.kind == "bundle":
        return "" if teacher.fingerprint == run.recipe.fingerprint else doubt
    parent = store.read(teacher.words)
    if parent.recipe.fingerprint == run.recipe.fingerprint:
        return ""
    try:
        learned = derive.dataset_of(parent).train.hashes
    except (DataError, RunError):
        return doubt
    judged = derive.dataset_of(run).validation.hashes
    unseen.refuse(teacher.words, learned, judged, "the student", "what it teaches")
    return ""


# --- what it thinks ------------------------------------------------------------------------------


def tutor(teacher: Named, run: Run, feed: Feed, device: str, key: str) -> Tutor:
    """What the teacher thinks of batches of a feed. UserError where it says no probabilities.
    `key` is that of the answers it gave before the fit."""
    if teacher.kind == "run":
        asked: Callable[[Batch], torch.Tensor] | None = _model(teacher, run, device)
    else:
        task = plugins.task(run.task)
        opened = _opened(teacher.words, teacher.digest) if teacher.kind == "bundle" else None
        asked = task.tutor(run, opened, key)
    if asked is None:
        raise UserError(
            f"{teacher.words} answers whole inputs, and says no probabilities of single labels: "
            "take level=sequence"
        )
    known = asked

    def thinks(batch: Batch) -> Opinion:
        return imitation.opinion(known(batch))

    if teacher.kind != "file" and _pays(run, feed):
        return _Remembered(_table(teacher, run, feed, device, key, thinks), feed)
    return thinks


def _model(teacher: Named, run: Run, device: str) -> Callable[[Batch], torch.Tensor]:
    parent, model = _loaded(teacher.words, teacher.digest, device)
    task = plugins.task(run.task)
    network = task.network(str((parent.architecture or {})["kind"]))

    def asked(batch: Batch) -> torch.Tensor:
        inputs = task.seen(batch.inputs, run.facts, parent.facts)
        return network.logits(model, inputs, batch.targets)[0]

    return asked


# A fit is begun several times, on throw-away steps first: the teacher is read once.
@lru_cache(maxsize=1)
def _loaded(words: str, digest: str, device: str) -> tuple[Run, torch.nn.Module]:
    run = store.read(words)
    if not run.trained:
        raise RunError(f"{words} has no weights yet: train it first")
    model = seal.load_model(run).to(device)
    for weight in model.parameters():
        weight.requires_grad_(False)
    return run, model


@lru_cache(maxsize=1)
def _opened(words: str, digest: str) -> bundles.Bundle:
    return bundles.load(words)


# --- what it thought -----------------------------------------------------------------------------


def _pays(run: Run, feed: Feed) -> bool:
    """Whether the same examples come often enough, unchanged, and not too many of them. Decided
    by what is recorded, so that a repeat does the same."""
    recipe = run.recipe
    if not recipe.plan:  # throw-away steps
        return False
    for words in recipe.hooks:
        hook = plugins.technique(words)
        if isinstance(hook, Hook) and type(hook).change_batch is not Hook.change_batch:
            return False
    if feed.label_count * imitation.TOP * 6 > MOST_BYTES:
        return False
    epoch = len(feed.order(recipe.batch_size or 1, recipe.seed, 0)) / (recipe.accumulate or 1)
    return recipe.plan[0].total_steps >= ONCE_EPOCHS * epoch


@dataclass(frozen=True)
class _Table:
    """An opinion of every label of a feed."""

    logs_NK: torch.Tensor  # float16
    classes_NK: torch.Tensor | None  # int32


class _Remembered:
    """Looks up what the teacher thought."""

    def __init__(self, table: _Table, feed: Feed) -> None:
        self._table, self._feed = table, feed

    def __call__(self, batch: Batch) -> Opinion:
        places_N = self._feed.places(batch).cpu()
        device = batch.ids.device
        logs_NK = self._table.logs_NK.index_select(0, places_N).to(device).float()
        classes = self._table.classes_NK
        if classes is None:
            return Opinion(logs_NK)
        return Opinion(logs_NK, classes.index_select(0, places_N).to(device))


def _table(teacher: Named, run: Run, feed: Feed, device: str, key: str, thinks: Tutor) -> _Table:
    """From the cache, or made now: the examples in batches that hang on nothing but the data."""
    recipe = run.recipe
    what = f"{recipe.fingerprint} {recipe.options} {key} {feed.label_count} {imitation.TOP}"
    what += f" {recipe.precision} {recipe.batch_size} {device}"
    entry = f"teaching/{teacher.digest}-{_digest(what.encode())}"
    folder = cache.existing(entry)
    if folder is None:
        with cache.writing(entry) as writing:
            _fill(writing, feed, recipe.precision, recipe.batch_size or 1, device, thinks)
        folder = cache.existing(entry)
        if folder is None:
            raise BundleError(
                f"what was written to {cache.cache_folder()} cannot be read back; set "
                "SHOESTRING_CACHE to a folder on a sound disk"
            )
    classes = folder / "classes.npy"
    return _Table(
        torch.from_numpy(np.load(folder / "logs.npy")),
        torch.from_numpy(np.load(classes)) if classes.exists() else None,
    )


def _fill(
    folder: Path, feed: Feed, precision: str | None, batch_size: int, device: str, thinks: Tutor
) -> None:
    logs_NK: np.ndarray[Any, Any] | None = None
    classes_NK: np.ndarray[Any, Any] | None = None
    for ids in _every(feed, batch_size):
        batch = feed.batch(ids)
        places_N = feed.places(batch).cpu().numpy()
        batch = replace(batch, inputs=feed.prepare(batch.inputs))
        with torch.no_grad(), autocast(device, precision):
            found = thinks(batch)
        if logs_NK is None:
            shape = feed.label_count, found.logs_NK.shape[1]
            logs_NK = np.zeros(shape, np.float16)
            classes_NK = None if found.classes_NK is None else np.zeros(shape, np.int32)
        # Up to a constant: the best at zero, so that the short numbers keep its neighbours apart.
        best_N1 = found.logs_NK.max(1, keepdim=True).values
        logs_NK[places_N] = (found.logs_NK - best_N1).clamp_min(-6e4).cpu().numpy()
        if classes_NK is not None and found.classes_NK is not None:
            classes_NK[places_N] = found.classes_NK.cpu().numpy()
    assert logs_NK is not None, "a feed has examples"
    np.save(folder / "logs.npy", logs_NK)
    if classes_NK is not None:
        np.save(folder / "classes.npy", classes_NK)


def _every(feed: Feed, batch_size: int) -> Iterator[torch.Tensor]:
    """The batches of an epoch, and those examples that it leaves out."""
    left = np.ones(len(feed), np.bool_)
    for ids in feed.order(batch_size, 0, 0):
        left[ids.numpy()] = False
        yield ids
    rest = torch.from_numpy(np.flatnonzero(left))
    yield from (ids for ids in torch.split(rest, batch_size) if len(ids))
