"""batches: answers of a bundle to many inputs, in shards that are written whole, over Ray Data.

A shard's file appears when all of its answers are there, so one that was begun twice is written
once, and what is done is not done again. Nodes need neither the bundle nor the folder of answers:
both stay with whoever asks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shoestring import plugins
from shoestring.bundle import bundle as bundles
from shoestring.cluster.session import Session
from shoestring.core.errors import DataError, RunError, UserError
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Progress, silent
from shoestring.core.receipt import Plain
from shoestring.data.names import counted, natural_key
from shoestring.engine import store

PLAN = "plan.json"
SHARD = 500  # inputs in a file of answers
MOST_BLOCKS = 4000  # of Ray Data; above it one holds several shards
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Input:
    """One input, and how it is told apart from all others."""

    number: int  # from 0, over all
    file: str
    line: int  # from 1, of a file of lines; 0: the file is the input
    given: str | None  # what the bundle is asked; None: it cannot be read
    error: str = ""

    @property
    def id(self) -> Plain:
        line = {"line": self.line} if self.line else {}
        return {"number": self.number, "file": self.file, **line}


@dataclass(frozen=True)
class Shard:
    number: int
    inputs: tuple[Input, ...]

    @property
    def file(self) -> str:
        return f"part-{self.number:05d}.jsonl"


@dataclass(frozen=True)
class Answered:
    """What was written."""

    folder: Path
    inputs: int
    errors: int  # of them, that could not be read
    shards: int
    before: int  # shards that were there already


def answered(
    bundle: str | os.PathLike[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: Mapping[str, Any] | None = None,
    session: Session | None = None,
    shard: int = SHARD,
    progress: Progress = silent,
) -> Answered:
    """Answers each file of a folder, or each line of a file where the task takes lines, into
    `out`: files `part-00000.jsonl` with a line an input, in order, that holds its number, its file
    and line, and the answer. Over the nodes of a session, or in this process without one.

    A folder that holds a part of the same answers is gone on with. UserError where it holds
    others, or cannot be written; RunError where the cluster fails."""
    opened = bundles.load(bundle)
    task = plugins.task(opened.manifest["task"])
    wanted = plugins.options_from(task.answer_options, dict(options or {}), "predict")
    if shard < 1:
        raise UserError(f"a shard has at least one input, not {shard}")
    folder, path = Path(out), Path(source)
    inputs = list(_inputs(path, lambda file: task.parse_inputs([str(file)])))
    if not inputs:
        raise DataError(f"{path} holds nothing to answer")
    _planned(folder, opened, inputs, to_plain(wanted), shard)
    numbers = range(-(-len(inputs) // shard))
    shards = [Shard(n, tuple(inputs[n * shard : (n + 1) * shard])) for n in numbers]
    pending = [one for one in shards if not (folder / one.file).exists()]
    before = len(shards) - len(pending)
    progress("answering", min(len(inputs), before * shard), len(inputs))
    done = before * shard
    by_number = {one.number: one for one in pending}
    made = _here(opened, wanted, pending)
    if session is not None and pending:
        if any(not one.line for one in inputs):
            session.look_at_nodes(reads=[Path(inputs[0].file)])
        else:
            session.look_at_nodes()
        made = _spread(session, opened, wanted, pending)
    for number, text in made:
        one = by_number[number]
        if text.count("\n") != len(one.inputs):
            raise RunError(
                f"shard {number} came back with {text.count(chr(10))} answers to "
                f"{len(one.inputs)} inputs; the bundle answers otherwise than one by one"
            )
        store.write_atomically(folder / one.file, text)
        done += len(one.inputs)
        progress("answering", min(done, len(inputs)), len(inputs))
    missing = [one.file for one in shards if not (folder / one.file).exists()]
    if missing:
        raise RunError(f"{folder} lacks {counted(len(missing), 'shard')}; ask again to go on")
    errors = sum(_errors(folder / one.file) for one in shards)
    return Answered(folder, len(inputs), errors, len(shards), before)


# --- inputs --------------------------------------------------------------------------------------


def _inputs(path: Path, parsed: Callable[[Path], Iterable[Any]]) -> Iterator[Input]:
    """Every input of a file or of the files of a folder, in an order that stays. What a file
    stands for, itself or its lines, its task knows."""
    if not path.exists():
        raise DataError(f"there is no file or folder {path} to answer")
    files = [path]
    if path.is_dir():
        found = [Path(at) / name for at, _, names in os.walk(path) for name in names]
        hidden = {f for f in found if any(p.startswith(".") for p in f.relative_to(path).parts)}
        files = sorted({*found} - hidden, key=lambda file: natural_key(str(file)))
    number = 0
    for file in files:
        for line, given in enumerate(parsed(file), 1):
            if given == str(file):
                yield Input(number, str(file.resolve()), 0, str(file.resolve()))
            elif isinstance(given, str):
                yield Input(number, str(file), line, given)
            else:
                yield Input(number, str(file), line, None, str(getattr(given, "error", given)))
            number += 1


def _planned(
    folder: Path, opened: bundles.Bundle, inputs: Sequence[Input], options: Plain, shard: int
) -> None:
    """Notes what these answers are of, or finds it noted so."""
    digest = hashlib.sha256()
    for one in inputs:
        digest.update(repr((one.id, one.given, one.error)).encode())
    plan = {
        "bundle": hashlib.sha256((opened.path / bundles.MANIFEST).read_bytes()).hexdigest(),
        "inputs": len(inputs),
        "inputs_sha256": digest.hexdigest(),
        "options": options,
        "shard": shard,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / PLAN).exists():
            before = json.loads((folder / PLAN).read_text(encoding="utf-8"))
            other = [name for name in plan if before.get(name) != plan[name]]
            if other:
                raise UserError(
                    f"{folder} holds answers with another {' and '.join(other)}; name another "
                    "folder, or remove it"
                )
        elif any(folder.iterdir()):
            raise UserError(f"{folder} is not empty; name another folder with --out")
    except OSError as error:
        raise UserError(f"cannot write answers to {folder}: {error.strerror or error}") from error
    store.write_atomically(folder / PLAN, json.dumps(plan, indent=1) + "\n")


def _errors(path: Path) -> int:
    with path.open(encoding="utf-8") as file:
        return sum("error" in json.loads(line) for line in file)


# --- answers -------------------------------------------------------------------------------------


def _here(
    opened: bundles.Bundle, options: Any, shards: Iterable[Shard]
) -> Iterator[tuple[int, str]]:
    for shard in shards:
        yield shard.number, _text(opened, options, shard)


def _text(opened: bundles.Bundle, options: Any, shard: Shard) -> str:
    """A line of JSON for each input of a shard, in order."""
    readable = [one.given for one in shard.inputs if one.given is not None]
    answers = opened.answers(readable, options) if readable else iter(())
    lines = []
    for one in shard.inputs:
        answer = {"error": one.error} if one.given is None else to_plain(next(answers))
        lines.append(json.dumps({**one.id, **answer}, ensure_ascii=False) + "\n")
    return "".join(lines)


def _spread(
    session: Session, opened: bundles.Bundle, options: Any, shards: Sequence[Shard]
) -> Iterator[tuple[int, str]]:
    """The same over the cluster: a stream of shards as they are done, in any order."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    packed = ray.put(_Packed.of(opened))
    rows = [{"number": s.number, "inputs": json.dumps([*map(asdict, s.inputs)])} for s in shards]
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS))
    made = data.map_batches(
        partial(_answer, packed=packed, options=options),
        batch_size=1,
        num_cpus=1,
    )
    try:
        for row in _watched(session, made.iter_rows()):
            yield int(row["number"]), str(row["text"])
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RunError(
            f"the cluster did not finish the answers: {lines[-1]}; those that are written stay: "
            "ask again to go on"
        ) from error


def _watched(session: Session, rows: Iterable[Any]) -> Iterator[Any]:
    """The same, with a look at whether the cluster answers while there is none."""
    import ray

    waiting: queue.Queue[tuple[Any, bool, ray.exceptions.RayError | None]] = queue.Queue(2)

    def feed() -> None:
        try:
            for row in rows:
                waiting.put((row, False, None))
            waiting.put((None, True, None))
        except ray.exceptions.RayError as error:
            waiting.put((None, True, error))

    threading.Thread(target=feed, daemon=True).start()
    while True:
        try:
            row, ended, error = waiting.get(timeout=POLL_SECONDS)
        except queue.Empty:
            session.pulse.check()
            continue
        if error is not None:
            raise error
        if ended:
            return
        yield row


@dataclass(frozen=True)
class _Packed:
    """A bundle's bytes, for workers that see nothing of its folder."""

    name: str
    manifest: Plain
    files: Mapping[str, bytes]

    @staticmethod
    def of(opened: bundles.Bundle) -> _Packed:
        names = [name for name in opened.manifest["files"] if name not in bundles.NOT_NEEDED]
        files = {name: bundles.read_file(opened.path, name, opened.manifest) for name in names}
        return _Packed(opened.path.name, opened.manifest, files)


_OPENED: dict[str, bundles.Bundle] = {}  # of a worker, by the reference it came with


def _answer(batch: Mapping[str, Any], packed: Any, options: Any) -> dict[str, list[Any]]:
    """A block of shards, in a worker of Ray, which opens the bundle once. One thread: there are as
    many workers as cores."""
    import ray

    key = str(packed)
    if key not in _OPENED:
        one: _Packed = ray.get(packed)
        predictor = bundles.predictor(one.manifest, one.files, threads=1)
        _OPENED[key] = bundles.Bundle(Path(one.name), one.manifest, predictor)
    found: dict[str, list[Any]] = {"number": [], "text": []}
    for number, inputs in zip(batch["number"], batch["inputs"], strict=True):
        shard = Shard(int(number), tuple(Input(**plain) for plain in json.loads(inputs)))
        found["number"].append(shard.number)
        found["text"].append(_text(_OPENED[key], options, shard))
    return found
