"""launched: a fit by processes that something else has started, as torchrun does. The first of them
leads: it reads, decides, writes and speaks; the others wait for its word. Loads without torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.errors import UserError
from shoestring.core.listener import Listener, Quiet
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.protocols import Dataset
from shoestring.core.techniques import Interrupting
from shoestring.engine.spread.parallel_job import Fitted, Job

if TYPE_CHECKING:
    import torch

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun says to each


def count() -> int | None:
    """How many processes were started together; None where this one was started alone."""
    if not all(name in os.environ for name in NAMES):
        return None
    return int(os.environ["WORLD_SIZE"])


def follows() -> bool:
    """Whether this process waits for the word of another."""
    return (count() or 1) > 1 and int(os.environ["RANK"]) > 0


def beside() -> int | None:
    """How many of them are on this machine."""
    here = os.environ.get("LOCAL_WORLD_SIZE")
    return int(here) if here and count() else None


def led(
    job: Job, dataset: Dataset, listener: Listener, interrupt: Interrupting
) -> tuple[Fitted, Mapping[str, torch.Tensor]]:
    """The fit, by the first process. UserError where another number of them was asked for."""
    if job.layout.workers != count():
        raise UserError(
            f"{job.layout.workers} workers were asked for ({job.layout.words}), and {count()} "
            "processes were started; start as many, or leave workers out"
        )
    from shoestring.engine.spread import parallel_worker

    _meet()
    _word(to_plain(job))
    return parallel_worker.work(job, dataset, listener, interrupt)


def ended(path: Path) -> None:
    """Tells the others that the run in this folder is finished, where there are any who wait."""
    if (count() or 1) > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            _word(str(path.resolve()))
            dist.destroy_process_group()


def followed() -> Path:
    """Takes part in the fit that the first process leads, and waits until its run is finished."""
    import torch.distributed as dist

    from shoestring.engine import interrupt
    from shoestring.engine.spread import parallel_worker

    _meet()
    job = from_plain(Job, _word(None))
    with interrupt.listening() as asked:
        parallel_worker.work(job, parallel_worker.loaded(job.run), Quiet(), asked)
    path = Path(_word(None))
    dist.destroy_process_group()
    return path


def _meet() -> None:
    """Under a name of its own for each restart: new processes would otherwise dial the addresses
    of dead ones (3 of 10 restarts failed so)."""
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from shoestring.engine.spread import parallel_worker

    store, rank, workers = next(rendezvous("env://"))
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    parallel_worker.begin(PrefixStore(f"shoestring-{restart}", store), rank, workers)


def _word(value: Any) -> Any:
    """The lead's plain value, in all processes."""
    import torch
    import torch.distributed as dist

    held = [json.dumps(value)]
    dist.broadcast_object_list(held, 0, device=torch.device("cpu"))
    return json.loads(held[0])
