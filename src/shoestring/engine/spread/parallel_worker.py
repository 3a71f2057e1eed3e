"""parallel_worker: one of the processes of a fit, as `parallel_crew` starts them.

    python -m shoestring.engine.spread.parallel_worker FOLDER RANK

FOLDER holds the job and the place where the processes meet. The lead's words go to its standard
output; standard input tells to stop, and closes with whoever started it, with whom it ends.
"""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, Store

from shoestring import plugins
from shoestring.core.budget import Meter
from shoestring.core.errors import RunError, UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Dataset, silent
from shoestring.core.run import Run
from shoestring.core.techniques import Interrupting
from shoestring.engine import device, fit, offspring, tensorfile
from shoestring.engine.interrupt import Interrupt
from shoestring.engine.spread import traffic
from shoestring.engine.spread.parallel import Parallel
from shoestring.engine.spread.parallel_job import (
    ENDED,
    FITTED,
    RENDEZVOUS,
    Fitted,
    Job,
    Teller,
    plain_error,
)

PATIENCE = datetime.timedelta(hours=2)  # with a lead that measures, and with slow processes


def main(arguments: Sequence[str]) -> int:
    folder, rank = Path(arguments[0]), int(arguments[1])
    interrupt = Interrupt()
    threading.Thread(target=_listens, args=(interrupt,), daemon=True).start()
    teller = Teller(sys.stdout.buffer)
    listener: Listener = teller if not rank else Quiet()
    job = Job.read(folder)
    try:
        meeting = FileStore(str(folder / RENDEZVOUS), job.layout.workers)
        begin(meeting, rank, job.layout.workers)
        fitted, weights = work(job, loaded(job.run), listener, interrupt)
        if not rank:
            tensorfile.save(folder / FITTED, weights, to_plain(fitted))
        dist.barrier()  # nobody hangs up while others still speak
        teller.tell(ENDED, rank)
    except UserError as error:
        teller.tell("error", plain_error(error))
        return error.exit_code
    return 0


def begin(meeting: Store, rank: int, workers: int) -> None:
    """Meets the other processes, who need not know yet on which device they will work."""
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(_local(rank) % torch.cuda.device_count())
    dist.init_process_group(backend, store=meeting, rank=rank, world_size=workers, timeout=PATIENCE)


def _local(rank: int) -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", rank))


def loaded(run: Run) -> Dataset:
    dataset = plugins.task(run.task).load(run.recipe, silent)
    if dataset.fingerprint != run.recipe.fingerprint:
        raise RunError(f"the data of {run.recipe.source} changed since the run began")
    return dataset


def work(
    job: Job, dataset: Dataset, listener: Listener, interrupt: Interrupting
) -> tuple[Fitted, Mapping[str, torch.Tensor]]:
    """The fit, by this process among those that have met. What the lead returns counts."""
    name = job.run.recipe.device
    name = f"cuda:{_local(dist.get_rank())}" if name == "cuda" else name
    place = Parallel(job.layout, name, job.microbatches)
    began, meter, before = time.time(), Meter(), traffic.sent_bytes()
    threads = job.run.recipe.threads or 1
    with device.settled(threads, name):
        run, weights = fit.fit(
            job.run, dataset, job.budget(), place, meter, listener, interrupt, job.log_every
        )
    after = traffic.sent_bytes()
    counted = -1 if before is None or after is None else after - before
    sent = torch.tensor([counted, counted < 0], dtype=torch.int64)
    dist.all_reduce(sent, group=place.groups.everyone)
    cost = replace(meter.cost, wall_seconds=0.0, cpu_seconds=0.0)  # the crew's clock counts these
    ideal = 2 * (job.layout.data - 1) * place.reduced_bytes if job.layout.uncut else 0.0
    total = None if int(sent[1]) else int(sent[0])
    return Fitted(run, cost, began, total, float(ideal)), weights


def _listens(interrupt: Interrupt) -> None:
    # Not by sys.stdin, whose lock a process that ends could not take from this thread.
    while os.read(0, 64):
        if not interrupt.asked:
            interrupt.ask()
    os._exit(offspring.ALONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
