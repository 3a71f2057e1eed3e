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

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoestring.cluster.nodes import Surroundings
from shoestring.cluster.session import Session
from shoestring.cluster.shelf import Shelf
from shoestring.cluster.worker import BROUGHT, speaks_from_its_address, worked
from shoestring.core.budget import Meter
from shoestring.core.errors import Interrupted, RunError, UserError
from shoestring.core.listener import Listener
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.engine import pacing, store, tensorfile
from shoestring.engine.spread import parallel_fit
from shoestring.engine.spread.parallel_job import FITTED, Fitted, Job, pass_on, resumable

if TYPE_CHECKING:
    pass

STORAGE = ".ray"  # in the run's folder: what Ray Train keeps of its own
RESIZE_SECONDS = 15.0  # between two looks at whether more workers could join
START_SECONDS = "90"  # for a group of workers to start, before it is tried with fewer
CHECKPOINT_SECONDS = 10.0  # workers that come and go lose what was done since
POLL_SECONDS = 0.3
STOP_SECONDS = 60.0  # for workers to save, once somebody asked to stop
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
    told: float | None = None
    error: UserError | None = None
    try:
        while training.is_alive():
            training.join(POLL_SECONDS)
            session.pulse.check()
            if asked() and told is None:
                told = time.monotonic()
                shelf.ask.remote()
            if told is not None and time.monotonic() - told > STOP_SECONDS:
                # There are no workers that could save: they are waited for, or were lost.
                raise Interrupted(f"stopped while workers were awaited; {resumable(job.run)}")
            for line in ray.get(shelf.said.remote()):
                error = pass_on(line, listener) or error
        for line in ray.get(shelf.said.remote()):
            error = pass_on(line, listener) or error
    except ray.exceptions.RayError as lost:
        raise RunError(f"the cluster was lost: {lost}; {resumable(job.run)}") from lost
    if error is not None:
        raise error
    if training.error or not (folder / BROUGHT).exists():
        why = training.error or "no worker brought anything back"
        raise RunError(f"the fit did not end: {why}; {resumable(job.run)}")
    weights, plain = tensorfile.load(folder / BROUGHT)
    found = from_plain(Fitted, plain, FITTED)
    (folder / BROUGHT).unlink()
    store.remove(folder / STORAGE)
    meter.cost += replace(found.cost, wall_seconds=0.0, cpu_seconds=0.0)
    run = replace(found.run, path=job.run.path)
    layout = replace(job.layout, data=workers.most) if job.layout.uncut else job.layout
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
    from ray.train.torch import TorchTrainer

    number: Any = workers.most
    if workers.least < workers.most:
        number = (workers.least, workers.most)
    return TorchTrainer(
        worked,
        train_loop_config=dict(given),
        torch_config=_meeting("nccl" if gpus else "gloo"),
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


def _meeting(backend: str) -> Any:
    """How workers meet: as Ray has it, each from the address that its node has in the cluster."""
    from ray.train.torch import TorchConfig

    usual: Any = TorchConfig().backend_cls

    class Meeting(usual):  # type: ignore[misc]  # Ray's are without types
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(speaks_from_its_address)
            super().on_start(worker_group, backend_config)

    class Config(TorchConfig):  # type: ignore[misc]  # the same
        @property
        def backend_cls(self) -> type:
            return Meeting

    return Config(backend=backend)
