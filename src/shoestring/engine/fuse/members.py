"""members: the trained networks that an ensemble is made of, named or trained for it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import plugins
from shoestring.core import jobs
from shoestring.core.budget import Budget
from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.jobs import Job
from shoestring.core.plain import to_plain
from shoestring.core.quantizing import LAYERS
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.engine import derive, store, tensorfile, unseen

if TYPE_CHECKING:
    import torch

GROWING = 0.85  # of the seconds, for training members; the rest is for what is made of them
SNAPSHOT_WARM_UP = 0.05  # of a cycle
_SHORT = 60  # characters of a value in a message


@dataclass(frozen=True)
class Member:
    """A trained network."""

    name: str  # for the receipt: its folder, or how it was trained
    architecture: Plain
    weights: Mapping[str, torch.Tensor]
    quantization: Plain


def opened(runs: Sequence[Run]) -> list[Member]:
    """The networks of these runs. Raises UserError where they do not go together: another task,
    other labels or the same in another order, another vocabulary, the same weights twice, or
    validation examples of the first that another one was trained on."""
    first = runs[0]
    facts, files = derive.dataset_of(first).facts, store.kept(first.path)
    seen: dict[str, Run] = {}
    for run in runs:
        if not run.trained:
            raise UserError(f"{run.path} has no weights yet: train it first")
        if run.task != first.task:
            raise UserError(
                f"{first.path} is of {first.task} and {run.path} of {run.task}: members of an "
                "ensemble are of one task"
            )
        _alike(facts, first, run, measured=False)
        _unseen(first, run)
        _alike(facts, first, run, measured=True)
        for name, data in files.items():
            if store.kept(run.path).get(name) != data:
                raise UserError(
                    f"{run.path} has another {name} than {first.path}: members of an ensemble "
                    "share it; train them on the same data with the same options"
                )
        digest = hashlib.sha256((run.path / store.WEIGHTS).read_bytes()).hexdigest()
        if digest in seen:
            raise UserError(
                f"{run.path} has the same weights as {seen[digest].path}; name each network once"
            )
        seen[digest] = run
    return [
        Member(str(run.path), run.architecture or {}, _weights(run), run.quantization)
        for run in runs
    ]


def _alike(facts: Plain, first: Run, run: Run, measured: bool) -> None:
    """Refuses a run whose data fixed something else, of what was measured (numbers with a
    fraction: how inputs are normalised) or of the rest. A mapping says how to search, which is
    decided for each run."""
    for name, value in facts.items():
        if isinstance(value, Mapping) or measured != isinstance(_first(value), float):
            continue
        if run.facts.get(name) != value:
            _differ(name, value, run.facts.get(name), first, run)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _differ(name: str, value: Any, other: Any, first: Run, run: Run) -> None:
    how = f"differ in {name}: {_shown(value)} and {_shown(other)}"
    if isinstance(value, list) and isinstance(other, list):
        if len(value) != len(other):
            how = f"differ in {name}: {len(value)} and {len(other)} of them"
        elif value and all(one in value for one in other) and all(one in other for one in value):
            at = next(i for i, one in enumerate(value) if one != other[i])
            pair = f"number {at + 1} is {_shown(value[at])} and {_shown(other[at])}"
            how = f"have the same {name} in another order: {pair}"
    raise UserError(f"{first.path} and {run.path} {how}; members of an ensemble answer alike")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _unseen(first: Run, run: Run) -> None:
    """Refuses a member that learned from what the ensemble is to be judged on."""
    if run.recipe.fingerprint == first.recipe.fingerprint:
        return
    judged = derive.dataset_of(first).validation.hashes
    learned = derive.dataset_of(run).train.hashes
    unseen.refuse(str(run.path), learned, judged, str(first.path), "what they gain together")


def _weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(derive.model_of(run).state_dict())


def grown(
    child: Run,
    begin: Member,
    count: int,
    budget: Budget,
    cycle: float | None,
    epochs: float | None,
) -> tuple[Run, list[Member]]:
    """The child with what is to be said of the fits, and so many more networks of its
    architecture: trained from the beginning with other seeds; or, where a `cycle` is said, each
    from the one before it in a cycle of so large a share of the run's steps, at whose end a
    snapshot is taken (Huang et al. 2017). `epochs` says how long they learn instead."""
    steps = max(1, round((cycle or 1.0) * (child.recipe.total_steps or 1)))
    length: dict[str, Any] = {} if epochs is not None else {"steps": steps}
    if cycle is not None:
        length |= {"schedule": "cosine", "warm_up": SNAPSHOT_WARM_UP}
    elif epochs is None:  # looks where the run had them: it is the same fit with another seed
        length["evaluate_every"] = child.recipe.evaluate_every
    where = jobs.pool()
    if where is not None and cycle is None:
        return child, _side_by_side(where, child, begin, count, budget, epochs, length)
    made: list[Member] = []
    for number in range(1, count + 1):
        seed = child.recipe.seed + number
        name = f"seed {seed}" if cycle is None else f"snapshot {number}"
        derive.listener().say(f"ensemble: training {name}, {number} of {count}")
        weights = None if cycle is None else (made[-1] if made else begin).weights
        clock = budget.part(GROWING / (count + 1 - number))
        went_on, best, _ = derive.tuned(child, weights, clock, epochs, seed=seed, **length)
        child = replace(child, receipts=went_on.receipts)
        own = {name_: tensor.detach().cpu() for name_, tensor in best.items()}
        quantization = requantized(child, own, begin.quantization)
        made.append(Member(name, begin.architecture, own, quantization))
    return child, made


def _side_by_side(
    where: jobs.Pool,
    child: Run,
    begin: Member,
    count: int,
    budget: Budget,
    epochs: float | None,
    length: Plain,
) -> list[Member]:
    """The same with other seeds, in a pool. RunError where one of them fails."""
    from shoestring.engine import fits

    threads = child.recipe.threads or 1
    rounds = ceil(count / where.size(threads))
    seconds = None
    if budget.seconds is not None:
        seconds = max(1.0, GROWING * budget.remaining() / rounds)
    bare = replace(child, path=Path(), receipts=(), findings=(), lineage=(), curve=())
    waiting = deque(
        Job(
            f"member-{seed}",
            fits.MEMBER,
            to_plain(fits.Member(bare, {**length, "seed": seed}, epochs, seconds)),
            cpus=threads,
            gpus=int(child.recipe.device.startswith("cuda")),
        )
        for seed in range(child.recipe.seed + 1, child.recipe.seed + 1 + count)
    )
    order = [job.name for job in waiting]
    made: dict[str, Member] = {}
    try:
        while len(made) < count:
            if derive.desk().interrupt.asked:
                raise Interrupted("asked to stop while members were trained")
            while waiting and where.room(threads):
                where.submit(waiting.popleft())
            for done in where.results():
                name = f"seed {done.job.name.rpartition('-')[2]}"
                if done.error or done.stopped:
                    raise RunError(f"ensemble: {name} was not trained: {done.error or 'stopped'}")
                derive.listener().say(f"ensemble: {name} is trained, {len(made) + 1} of {count}")
                path = child.path / f".{done.job.name}"
                store.write_atomically(path, done.files[store.WEIGHTS])
                own, _ = tensorfile.load(path)
                path.unlink()
                quantization = requantized(child, own, begin.quantization)
                made[done.job.name] = Member(name, begin.architecture, own, quantization)
    finally:
        where.stop()
    return [made[name] for name in order]


def requantized(child: Run, weights: Mapping[str, torch.Tensor], quantization: Plain) -> Plain:
    """A quantization with the ranges of other weights of the child's architecture, measured on
    the examples that decisions are made on."""
    if LAYERS not in quantization:
        return quantization
    assert child.architecture is not None
    network = plugins.task(child.task).network(child.architecture["kind"])
    model = network.build(child.architecture)
    model.load_state_dict(dict(weights))
    wanted = {name: value for name, value in quantization.items() if name != LAYERS}
    examples = derive.deciding(derive.dataset_of(child))
    return network.calibrated(model.eval(), child, examples, wanted)
