"""worker: one of the workers of a fit on a cluster, as Ray Train starts it."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from shoestring.cluster.nodes import interface_of
from shoestring.cluster.shelf import Shelf, ShelfTeller, packed, tell
from shoestring.core.budget import Meter
from shoestring.core.errors import UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Listener, Quiet
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.engine import device, fit, pacing, store, tensorfile
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.spread.parallel import Parallel
from shoestring.engine.spread.parallel_job import FITTED, Fitted, Job, plain_error
from shoestring.engine.spread.parallel_worker import loaded

if TYPE_CHECKING:
    from ray.actor import ActorHandle

LEDGER = "SHOESTRING_LEDGER"  # a folder where workers note which examples they took, for a check
BROUGHT = f".{FITTED}"  # in the run's folder: what came of the fit
LISTENS_SECONDS = 1.0  # between two looks at whether it is to stop


def speaks_from_its_address() -> None:
    """Has this worker speak to the others from the address that its node has in the cluster."""
    import ray

    name = interface_of(ray.util.get_node_ip_address())
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def worked(given: dict[str, Any]) -> None:
    """The fit, or what is left of it, by this worker among those that are there now."""
    import ray
    import ray.train

    shelf, context = given["shelf"], ray.train.get_context()
    if ray.get(shelf.ended.remote()):
        return
    given["surroundings"].enter()
    pacing.CHECKPOINT_SECONDS = given["checkpoint_seconds"]
    job = from_plain(Job, given["job"], "the job of a worker")
    lead = context.get_world_rank() == 0
    interrupt = Interrupt()
    threading.Thread(target=_listens, args=(shelf, interrupt), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="shoestring-") as name:
        folder = Path(name)
        for file, data in ray.get(shelf.files.remote()).items():
            (folder / file).parent.mkdir(exist_ok=True)
            store.write_atomically(folder / file, data)
        run = replace(job.run, path=folder)
        if (folder / store.STARTED).exists():
            started = store.read_started(folder)
            run = started if started.recipe.plan else run
        job = replace(job, run=run)
        if job.layout.uncut:  # each has the whole model, so that their number may be any
            job = replace(job, layout=Layout(data=context.get_world_size()))
        try:
            found, weights = _fit(job, shelf, interrupt, ShelfTeller(shelf) if lead else Quiet())
        except UserError as error:
            tell(shelf, "error", plain_error(error))
            ray.get(shelf.end.remote(str(error)))
            return
        if lead:
            kept = replace(found, run=replace(found.run, path=Path()))
            files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
            files[BROUGHT] = tensorfile.packed(weights, to_plain(kept))
            ray.get(shelf.keep.remote(files))
            ray.get(shelf.end.remote("it is done"))


def _fit(
    job: Job, shelf: ActorHandle[Shelf], interrupt: Interrupt, listener: Listener
) -> tuple[Fitted, Mapping[str, torch.Tensor]]:
    import ray.train.torch

    dataset, recipe = loaded(job.run), job.run.recipe
    name = recipe.device
    if name.startswith("cuda"):
        name = str(ray.train.torch.get_device())
    store.keep(job.run.path, dataset.files)
    place, began, meter = OnRay(job, name, shelf), time.time(), Meter()
    with device.settled(recipe.threads or 1, recipe.device):
        run, weights = fit.fit(
            job.run, dataset, job.budget(), place, meter, listener, interrupt, job.log_every
        )
    cost = replace(meter.cost, wall_seconds=0.0, cpu_seconds=0.0)
    ideal = 2 * (job.layout.data - 1) * place.reduced_bytes if job.layout.uncut else 0.0
    return Fitted(run, cost, began, None, float(ideal)), weights


def _listens(shelf: ActorHandle[Shelf], interrupt: Interrupt) -> None:
    import ray

    while not interrupt.asked:
        time.sleep(LISTENS_SECONDS)
        try:
            if ray.get(shelf.asked.remote()):
                interrupt.ask()
        except ray.exceptions.RayError:  # who asked is gone, and this worker with it
            return


class OnRay(Parallel):
    """One of the workers of a fit on a cluster: what it saves goes to the shelf as well."""

    def __init__(self, job: Job, device_name: str, shelf: ActorHandle[Shelf]) -> None:
        super().__init__(job.layout, device_name, job.microbatches)
        self._shelf = shelf
        self._ledger = Ledger.of(self)

    def shares(self, ids: torch.Tensor) -> Sequence[torch.Tensor]:
        own = super().shares(ids)
        if self._ledger is not None:
            self._ledger.note([n for piece in own for n in piece.tolist()])
        return own

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        import ray

        super().save(tensors, values, path)
        if not self.layout.uncut:  # each has its parts on its own host
            (own,) = path.parent.glob(f"{path.stem}-*")
            ray.get(self._shelf.keep.remote(packed(own)))
            if not self.lead:
                store.remove(own)
            dist.barrier(self.groups.everyone)  # the lead's word makes them count
        if self.lead:
            files = {p.name: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
            ray.get(self._shelf.keep.remote(files))

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, values = super().load(path)
        if self._ledger is not None and path.name == store.CHECKPOINT:
            self._ledger.taken = int(values["progress"]["step"])
        return tensors, values


@dataclass
class Ledger:
    """Which examples a worker took at which step, a line each."""

    path: Path
    began: float
    workers: int
    taken: int = 0  # batches

    @staticmethod
    def of(place: Parallel) -> Ledger | None:
        folder = os.environ.get(LEDGER)
        if not folder:
            return None
        began = float(place.told(time.time()))  # the same for all that began together
        return Ledger(Path(folder) / f"{began:.6f}-{os.getpid()}.jsonl", began, place.workers)

    def note(self, ids: Sequence[int]) -> None:
        line = {
            "began": self.began,
            "workers": self.workers,
            "step": self.taken,
            "ids": list(ids),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.taken += 1
