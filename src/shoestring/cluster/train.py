"""train: one fit by workers on the nodes of a cluster, who may come and go in the middle, on Ray
Train.

What goes on from worker to worker is the run's folder: the checkpoint, the record of the plan, the
curve. It stays on the host of whoever asked, on a shelf that all reach, so that nodes need no
folder of their own; and a fit that lost everybody goes on from there like any unfinished run. The
order of batches hangs on seed and epoch alone, and a checkpoint says how far it was taken, so in
the steps behind the final weights no example of an epoch is left out or seen twice, whatever the
number of workers was.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoestring.cluster.session import Session, Surroundings
from shoestring.core.budget import Meter
from shoestring.core.errors import RunError, UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Listener, Quiet
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.engine import device, fit, pacing, parallel_fit, store
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.parallel import Parallel
from shoestring.engine.parallel_job import FITTED, Fitted, Job, pass_on, plain_error, resumable
from shoestring.engine.parallel_worker import loaded

if TYPE_CHECKING:
    from ray.actor import ActorHandle

STORAGE = ".ray"  # in the run's folder: what Ray Train keeps of its own
LEDGER = "SHOESTRING_LEDGER"  # a folder where workers note which examples they took, for a check
RESIZE_SECONDS = 15.0  # between two looks at whether more workers could join
START_SECONDS = "30"  # for a group of workers to start, before it is tried with fewer
CHECKPOINT_SECONDS = 10.0  # workers that come and go lose what was done since
POLL_SECONDS = 0.3
Way = Callable[[], Any]


@dataclass(frozen=True)
class Workers:
    """How many there may be."""

    least: int
    most: int

    @staticmethod
    def parsed(words: str) -> Workers:
        low, _, high = words.partition("-")
        return Workers(int(low), int(high or low))


class Shelf:
    """Holds what goes from worker to worker, on the host of the run's folder. An actor of Ray."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._said: list[bytes] = []
        self._asked = False
        self._ended = ""  # why nobody is to begin any more

    def files(self) -> dict[str, bytes]:
        """The files of the run's folder, from which a fit goes on."""
        return {p.name: p.read_bytes() for p in sorted(self._folder.iterdir()) if p.is_file()}

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


class OnRay(Parallel):
    """One of the workers of a fit on a cluster: what it saves goes to the shelf as well."""

    def __init__(self, layout: Layout, device_name: str, shelf: ActorHandle[Shelf]) -> None:
        super().__init__(layout, device_name)
        self._shelf = shelf
        self._ledger = Ledger.of(self)

    def shard(self, ids: torch.Tensor) -> torch.Tensor:
        own = super().shard(ids)
        if self._ledger is not None:
            self._ledger.note(own)
        return own

    def save(self, tensors: Mapping[str, torch.Tensor], values: Plain, path: Path) -> None:
        super().save(tensors, values, path)
        if self.lead:
            import ray

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

    def note(self, ids: torch.Tensor) -> None:
        line = {
            "began": self.began,
            "workers": self.workers,
            "step": self.taken,
            "ids": ids.tolist(),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.taken += 1


# --- who asks ------------------------------------------------------------------------------------


def fitted(
    job: Job,
    workers: Workers,
    session: Session,
    meter: Meter,
    listener: Listener,
    asked: Callable[[], bool],
) -> tuple[Run, Mapping[str, torch.Tensor]]:
    """The fit of a run by workers of the cluster. Raises UserError where there is no place for the
    least number of them, RunError where the cluster is lost, Interrupted after saving where
    somebody asked; what was saved is in the run's folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    recipe = job.run.recipe
    threads, gpus = recipe.threads or 1, int(recipe.device.startswith("cuda"))
    session.wait_for(workers.least, threads, gpus)
    folder = job.run.path.resolve()
    session.look_at_nodes(writes=[folder / STORAGE])
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    shelf = ray.remote(Shelf).options(num_cpus=0, scheduling_strategy=here).remote(str(folder))
    given = {
        "job": to_plain(replace(job, run=replace(job.run, path=Path()))),
        "shelf": shelf,
        "surroundings": Surroundings.here(),
        "checkpoint_seconds": min(CHECKPOINT_SECONDS, pacing.CHECKPOINT_SECONDS),
    }
    began = time.time()
    training = _Training(_trainer(given, workers, threads, gpus, folder))
    training.start()
    told, error = False, None
    try:
        while training.is_alive():
            training.join(POLL_SECONDS)
            session.pulse.check()
            if asked() and not told:
                told = True
                shelf.ask.remote()
            for line in ray.get(shelf.said.remote()):
                error = pass_on(line, listener) or error
        for line in ray.get(shelf.said.remote()):
            error = pass_on(line, listener) or error
    except ray.exceptions.RayError as lost:
        raise RunError(f"the cluster was lost: {lost}; {resumable(job.run)}") from lost
    if error is not None:
        raise error
    if training.error or not (folder / FITTED).exists():
        why = training.error or "no worker brought anything back"
        raise RunError(f"the fit did not end: {why}; {resumable(job.run)}")
    weights, plain = store.load_tensors(folder / FITTED)
    found = from_plain(Fitted, plain, FITTED)
    (folder / FITTED).unlink()
    store.remove(folder / STORAGE)
    meter.cost += replace(found.cost, wall_seconds=0.0, cpu_seconds=0.0)
    run = replace(found.run, path=job.run.path)
    layout = replace(job.layout, data=workers.most)
    return parallel_fit.remarked(run, layout, found, max(0.0, found.began - began)), weights


class _Training(threading.Thread):
    """Ray Train's own loop, beside the one that listens."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(daemon=True)
        self._trainer, self.error = trainer, ""

    def run(self) -> None:
        import ray
        from ray.train import TrainingFailedError

        try:
            self._trainer.fit()
        except (TrainingFailedError, ray.exceptions.RayError, RuntimeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            self.error = (lines or [type(error).__name__])[-1]


def _trainer(given: Plain, workers: Workers, threads: int, gpus: int, folder: Path) -> Any:
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_SECONDS)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    number: Any = workers.most
    if workers.least < workers.most:
        number = (workers.least, workers.most)
    return TorchTrainer(
        _worked,
        train_loop_config=dict(given),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=number,
            use_gpu=bool(gpus),
            resources_per_worker={"CPU": threads, **({"GPU": gpus} if gpus else {})},
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        # Workers and nodes may be lost any number of times; what a worker itself cannot do ends
        # the fit through the shelf.
        run_config=RunConfig(
            name="fit",
            storage_path=str(folder / STORAGE),
            failure_config=FailureConfig(max_failures=-1),
        ),
    )


# --- a worker ------------------------------------------------------------------------------------


def _worked(given: dict[str, Any]) -> None:
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
            store.write_atomically(folder / file, data)
        run = replace(job.run, path=folder)
        if (folder / store.STARTED).exists():
            started = store.read_started(folder)
            run = started if started.recipe.plan else run
        # Every one of them has the whole model, so that their number may be any.
        job = replace(job, run=run, layout=Layout(data=context.get_world_size()))
        try:
            found, weights = _fit(job, shelf, interrupt, _Teller(shelf) if lead else Quiet())
        except UserError as error:
            _tell(shelf, "error", plain_error(error))
            ray.get(shelf.end.remote(str(error)))
            return
        if lead:
            kept = replace(found, run=replace(found.run, path=Path()))
            files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
            files[FITTED] = store.tensor_bytes(weights, to_plain(kept))
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
    place, began, meter = OnRay(job.layout, name, shelf), time.time(), Meter()
    with device.settled(recipe.threads or 1):
        run, weights = fit.fit(
            job.run, dataset, job.budget(), place, meter, listener, interrupt, job.log_every
        )
    cost = replace(meter.cost, wall_seconds=0.0, cpu_seconds=0.0)
    ideal = 2 * (job.layout.parts - 1) * place.reduced_bytes
    return Fitted(run, cost, began, None, float(ideal)), weights


def _listens(shelf: ActorHandle[Shelf], interrupt: Interrupt) -> None:
    import ray

    while not interrupt.asked:
        time.sleep(1.0)
        try:
            if ray.get(shelf.asked.remote()):
                interrupt.ask()
        except ray.exceptions.RayError:  # who asked is gone, and this worker with it
            return


def _tell(shelf: ActorHandle[Shelf], what: str, value: Any) -> None:
    shelf.tell.remote(json.dumps([what, value]).encode())


class _Teller(Quiet):
    """A listener whose words go to the shelf."""

    def __init__(self, shelf: ActorHandle[Shelf]) -> None:
        self._shelf = shelf

    def step(
        self, step: int, total: int, seconds_left: float, loss: float, accuracy: float, rate: float
    ) -> None:
        _tell(self._shelf, "step", [step, total, seconds_left, loss, accuracy, rate])

    def evaluation(self, look: Any) -> None:
        _tell(self._shelf, "evaluation", to_plain(look))

    def say(self, text: str) -> None:
        _tell(self._shelf, "say", text)
